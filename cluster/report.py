"""Makes report.html, a run on one page, from the files in its folder: how it ended, its pictures, and what went wrong."""

import argparse
import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint.units import format_bytes
from . import pictures
from .ending import RESULT_NAME, replace_text
from .errors import ConfigError
from .metrics import METRICS_NAME, read_rows
from .phases import by_rank, mean_phases

REPORT_NAME = "report.html"
_PICTURES = (
    ("Loss", pictures.loss),
    ("Validation", pictures.validation),
    ("Memory of a worker's gradients against the budget", pictures.memory),
    ("Time of a step by phase", pictures.time_per_phase),
    ("Workers", pictures.stragglers),
)
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } img { width: 100%; }
table { border-collapse: collapse; } td, th { padding: .15rem 1rem .15rem 0; text-align: left; vertical-align: top; }
"""


def write_report(folder: str | Path) -> Path:
    """Writes ``report.html`` of the run in ``folder``, one that goes on, has ended or failed; returns its path.

    The page needs no other file. Raises ``ConfigError`` where there is no run, or without matplotlib.
    """
    folder = Path(folder)
    rows = read_rows(folder / METRICS_NAME)
    if not rows:
        raise ConfigError(f"there is no run in {folder}: it has no rows in {METRICS_NAME}")
    try:
        result = json.loads((folder / RESULT_NAME).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        result = {"status": "not ended"}
    path = folder / REPORT_NAME
    replace_text(path, _page(folder.resolve().name, result, rows))
    return path


def show_report(argv: Sequence[str]) -> int:
    """Writes the report that the words after ``retape-train report`` ask for, says where, and returns the exit status 0."""
    parser = argparse.ArgumentParser(
        prog="retape-train report",
        description="Writes report.html, a run on one page, from the files in its folder.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", help="a run's output folder")
    print(f"wrote {write_report(parser.parse_args(argv).folder)}")
    return 0


def _page(name: str, result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    steps = [row for row in rows if "step_seconds" in row]
    parts = [f"<h1>{html.escape(name)}: {html.escape(str(result['status']))} after step {rows[-1]['step']}</h1>"]
    parts.append(
        _table([], [[key.replace("_", " "), _text(key, value)] for key, value in result.items() if value is not None])
    )
    for title, kind in _PICTURES:
        if kind is not pictures.validation or any("examples" in row for row in rows):
            data = base64.b64encode(pictures.draw(kind, rows)).decode()
            parts.append(
                f'<h2>{html.escape(title)}</h2>\n<img alt="{html.escape(title)}" src="data:image/png;base64,{data}">'
            )
    if steps:
        shares = mean_phases(steps).shares()
        seconds = vars(mean_phases(steps))
        parts.append(
            _table(
                ["phase", "seconds of a step", "share"],
                [[phase, f"{seconds[phase]:.4f}", f"{share:.1%}"] for phase, share in shares.items()],
            )
        )
        parts.append(
            _table(
                ["worker", "gradients, seconds", "waits, seconds", "last in"],
                [
                    [str(rank.rank), f"{rank.gradient_seconds:.4f}", f"{rank.wait_seconds:.4f}", f"{rank.slowest_share:.0%}"]
                    for rank in by_rank(steps)
                ],
            )
        )
    warnings = [[str(row["step"]), row["warning"]] for row in rows if "warning" in row]
    if warnings:
        parts += ["<h2>Warnings</h2>", _table(["step", "what happened"], warnings)]
    title = html.escape(name)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head>\n'
        "<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in head) + "</tr>"] if head else []
    lines += ["<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>\n" + "\n".join(lines) + "\n</table>"


def _text(key: str, value: Any) -> str:
    if key.endswith("_bytes") and isinstance(value, int):
        return f"{format_bytes(value)} ({value} bytes)"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(name, each)}" for name, each in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
