"""Makes result.json, which says how a run ended and with which figures, from its rows and what it raised."""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .job import TrainConfig
from .rows import Row
from .stopping import Preempted

RESULT_NAME = "result.json"
_NEWEST_ROWS = 20


def ending(
    config: TrainConfig,
    rows: Sequence[Row],
    *,
    status: str,
    snapshot: object,
    wall_seconds: float,
    error: BaseException | None = None,
) -> dict[str, Any]:
    """The figures of a run that ended: its ``status``, step and loss, its memory, its last good ``snapshot``, its ``error``.

    ``rows`` are those of this call, and what is a maximum is one over them. A figure that is unknown is ``None``.
    """
    steps = [row for row in rows if "loss" in row]
    newest = steps[-1] if steps else {}
    scores = [row for row in rows if "examples" in row]
    return {
        "status": status,
        "error": None if error is None else {"class": type(error).__name__, "message": str(error)},
        "step": newest.get("step"),
        "steps": config.steps,
        "loss": newest.get("loss"),
        "validation": {name: value for name, value in scores[-1].items() if name != "examples"} if scores else None,
        "skipped_steps": sum(1 for row in steps if row.get("skipped")),
        "examples_per_second": examples_per_second(steps, config.global_batch),
        "workers": newest.get("workers"),
        "budget_bytes": config.memory_budget,
        "projected_bytes": max((row["projected_bytes"] for row in steps if row["projected_bytes"]), default=None),
        "peak_bytes": max((row["peak_bytes"] for row in steps if row["peak_bytes"]), default=None),
        "host_bytes": max((row["host_bytes"] for row in steps if row.get("host_bytes")), default=None),
        "snapshot": None if snapshot is None else str(snapshot),
        "wall_seconds": round(wall_seconds, 2),
        "ended_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def status_of(error: BaseException) -> str:
    """How a run ended that raised ``error``."""
    if isinstance(error, Preempted):
        return "preempted"
    return "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"


def examples_per_second(rows: Sequence[Row], global_batch: int) -> float | None:
    """The median over the newest steps, for a step that waited for a replaced worker says nothing."""
    seconds = [row["step_seconds"] for row in rows[-_NEWEST_ROWS:] if row.get("step_seconds")]
    return global_batch / median(seconds) if seconds else None


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes ``value`` whole or not at all; NaN and infinities become null."""
    replace_text(path, json.dumps(_plain(value), indent=2) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Writes a file so that whoever reads it sees all of ``text`` or what was there before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
