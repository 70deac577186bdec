"""Which retape runs: the checkout's own for a script in it, and the driver's on the workers of a cluster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import retape
from retape.cluster import MismatchError, sgd, train
from retape.cluster.engine import own_code

PACKAGE = Path(retape.__file__).resolve().parent


def python(*words, path="", **more):
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=os.environ | {"PYTHONPATH": str(path)}, capture_output=True, text=True, **more
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_is_sent_to_workers_is_the_package_and_nothing_else(tmp_path):
    assert own_code(tmp_path) == {"py_modules": [str(tmp_path / "retape")]}
    sent = {file.relative_to(tmp_path / "retape") for file in (tmp_path / "retape").rglob("*") if file.is_file()}
    floors = {file.relative_to(PACKAGE) for floor in ("runtime", "checkpoint", "scheduler", "cluster")
              for file in (PACKAGE / floor).rglob("*.py")}  # fmt: skip
    assert sent == floors | {Path("__init__.py")}
    where = python("-P", "-c", "import retape.cluster; print(retape.__file__)", path=tmp_path, cwd=tmp_path)
    assert Path(where) == tmp_path / "retape" / "__init__.py"


@pytest.mark.parametrize(
    ("job", "is_sent"),
    [({"runtime_env": {"py_modules": ["gcs://mine.zip"]}}, False), ({"runtime_env": {"working_dir": "gcs://dir.zip"}}, True)],
)
def test_a_job_that_sends_modules_of_its_own_is_left_alone(tmp_path, monkeypatch, job, is_sent):
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(job))
    assert bool(own_code(tmp_path)) == (tmp_path / "retape").exists() == is_sent


@pytest.fixture
def checkout(tmp_path):
    """A checkout by another name than the package's, whose command says that it is this one."""
    own_code(tmp_path)
    root = (tmp_path / "retape").rename(tmp_path / "my clone")
    with open(root / "cluster" / "command.py", "a", encoding="utf-8") as file:
        file.write("\n\ndef main(argv=None):\n    import sys\n    print(__file__, sys.path[0])\n    return 0\n")
    return root


def test_a_script_in_a_checkout_runs_its_own_package_whatever_is_installed(checkout, tmp_path):
    file, first = python(checkout / "cluster" / "train.py", path=os.environ.get("PYTHONPATH", "")).split()
    assert Path(file).name == "command.py" and Path(first) in Path(file).parents
    assert not Path(first).exists()  # the link is gone with the process


def test_a_script_that_stands_alone_takes_the_retape_beside_it(checkout):
    home = checkout.parent
    (home / "train.py").write_bytes((checkout / "cluster" / "train.py").read_bytes())
    checkout.rename(home / "retape")
    assert python(home / "train.py").split() == [str(home / "retape" / "cluster" / "command.py"), str(home)]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_workers_that_run_other_code_than_the_driver_are_refused(ray, tmp_path, monkeypatch):
    monkeypatch.setattr("retape.cluster.leading.source_digest", lambda: "another")
    with pytest.raises(
        MismatchError, match=r"the driver and worker \d on .* \(retape: another and \w+\): install the same code"
    ):
        train(
            loss=lambda params, batch: np.mean(batch @ params["w"]),
            init=lambda seed: {"w": np.ones(3)},
            data=np.ones((8, 3)),
            optimizer=sgd(),
            steps=1,
            global_batch=2,
            out=tmp_path,
        )
