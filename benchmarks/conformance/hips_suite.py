"""Makes the score of HIPS autograd's own test suite, run on retape through the shim in ``hips/``.

The suite comes from the sdist on PyPI (the wheel holds no tests) into a cache folder; nothing of it stands in this
repository. The checker against finite differences is the suite's too. Two tests assert what retape does not want:
that an assignment raises, and that one Fourier transform is missing; they are left out.
"""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from judging import shorten

VERSION = "1.9.1"
_EXCLUDED = ("test_graphs.py::test_assignment_raises_error", "test_fft.py::test_rfftn_odd_not_implemented")
# Where every test runs forward first, those that read the reverse checker's words have nothing to read.
_EXCLUDED_FORWARD = ("test_tests.py::test_check_vjp_1st_order_fail", "test_tests.py::test_check_vjp_2nd_order_fail")
_HERE = Path(__file__).parent


def cache() -> Path:
    """The folder of what is downloaded."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "retape-conformance"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def suite() -> Path:
    """Return the folder of the suite, downloaded where it is not there yet."""
    folder = cache() / f"autograd-{VERSION}"
    if not (folder / "tests").is_dir():
        wanted = ["--no-deps", "--no-binary", ":all:", f"autograd=={VERSION}"]
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", *wanted, "-d", str(cache())], check=True)
        with tarfile.open(cache() / f"autograd-{VERSION}.tar.gz") as archive:
            archive.extractall(cache(), filter="data")
    return folder


def run(modes: str) -> dict[str, Any]:
    """Run the suite and return the counts by file and what did not pass, with its reason.

    `modes` is "suite" (each test in the modes it names), "reverse" or "both" (all in these, whatever they name).
    """
    folder = suite()
    report, settings = cache() / f"report-{os.getpid()}.xml", cache() / "pytest.ini"
    settings.write_text("[pytest]\n")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(_HERE / "hips"), str(folder / "tests"), os.environ.get("PYTHONPATH", "")]),
        "CONFORMANCE_SUITE": str(folder),
        "CONFORMANCE_MODES": {"suite": "", "reverse": "rev", "both": "fwd,rev"}[modes],
    }
    options = [
        "-q",
        "-c",
        str(settings),
        f"--rootdir={folder / 'tests'}",
        "-p",
        "no:cacheprovider",
        "--tb=short",
        f"--junitxml={report}",
    ]
    excluded = _EXCLUDED + (_EXCLUDED_FORWARD if modes == "both" else ())
    options += [f"--deselect={name}" for name in excluded]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", *options, "."],
        cwd=folder / "tests", env=environment, capture_output=True, text=True,
    )  # fmt: skip
    if not report.exists():
        raise RuntimeError(f"the suite did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    counts: dict[str, dict[str, int]] = collections.defaultdict(
        lambda: dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    )
    reasons = []
    for case in ElementTree.parse(report).iter("testcase"):
        file = (case.get("classname") or "").rpartition(".")[2] or case.get("name", "").rpartition(".")[2]
        found = next((child for child in case if child.tag in ("failure", "error", "skipped")), None)
        outcome = "passed" if found is None else {"failure": "failed"}.get(found.tag, found.tag)
        counts[file][outcome] += 1
        if found is not None and outcome != "skipped":
            reasons.append((f"{file}::{case.get('name')}", outcome, _last_error(found)))
    report.unlink()
    return {"counts": dict(counts), "reasons": reasons, "excluded": excluded}


def _last_error(failure: ElementTree.Element) -> str:
    """The last exception of a traceback, on one line, numbers of arrays left out."""
    lines = [line[4:] for line in (failure.text or "").splitlines() if line.startswith("E   ")]
    starts = [line for line in lines if line[:1].isalpha() and ": " in line]
    message = (starts or [failure.get("message") or ""])[-1]
    values = [line.strip() for line in lines if line.strip().startswith(("analytic:", "numeric:"))]
    if values:
        message = f"{next(line for line in lines if 'check of' in line).partition(' with arg')[0]}: {', '.join(values)}"
    return shorten(message)


def table(modes: str, say: Any, make_table: Any) -> dict[str, Any]:
    """Run, print and return the figures."""
    result = run(modes)
    rows = []
    sums = dict.fromkeys(("passed", "failed", "error", "skipped"), 0)
    for file, count in sorted(result["counts"].items()):
        rows.append([file, *(str(count[key]) for key in sums)])
        for key in sums:
            sums[key] += count[key]
    asked = sums["passed"] + sums["failed"] + sums["error"]
    rows.append(["all", *(str(value) for value in sums.values())])
    result["share"] = sums["passed"] / max(asked, 1)
    wording = {"suite": "the suite's own modes", "reverse": "reverse mode only", "both": "forward and reverse everywhere"}
    make_table(
        f"HIPS autograd {VERSION}'s test suite on retape ({wording[modes]})",
        ["file", *sums],
        rows,
        notes=[
            f"{sums['passed']} of {asked} pass: {100 * result['share']:.1f} %. Left out: {', '.join(result['excluded'])}.",
            "Skipped are the tests that need xarray, where it is not installed.",
        ],
    )
    for name, outcome, reason in result["reasons"]:
        say(f"  {outcome}  {name}: {reason}")
    return result
