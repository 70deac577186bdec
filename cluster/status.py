"""Makes the status of a run, going on or over, from what its driver writes into its folder every second."""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.units import format_bytes
from .ending import RESULT_NAME, examples_per_second, replace_text
from .errors import ConfigError
from .job import SNAPSHOT_FOLDER, Pulse, TrainConfig
from .metrics import METRICS_NAME, read_tail
from .processes import Process, own_process
from .supervisor import State

STATUS_NAME = "status.json"
_WRITE_SECONDS = 1.0
# Silence after which a run whose driver is on another machine counts as lost; starting Ray may take minutes.
_LOST_SECONDS, _LOST_STARTING_SECONDS = 15.0, 180.0


@dataclass(frozen=True)
class WorkerStatus:
    """A worker: its ``rank`` (``None`` for one that waits or starts), its process, and what it does.

    ``phase`` is "gradients", "reducing", "updating", "validating" or "saving"; of one that is not at work "starting", "idle"
    or "taking over". ``silent_seconds`` is the age of its last sign of life.
    """

    number: int
    rank: int | None
    pid: int | None
    host: str
    phase: str
    step: int
    silent_seconds: float | None


@dataclass(frozen=True)
class RunStatus:
    """A run: ``state`` is "starting", "running", "regrouping", "stopping" or "lost" (its driver is gone), or how it ended.

    Figures that are unknown are ``None``. Sizes are in bytes, times in seconds; ``driver`` is the process that leads it.
    """

    folder: str
    state: str
    step: int | None
    steps: int | None
    loss: float | None
    examples_per_second: float | None
    peak_bytes: int | None
    budget_bytes: int | None
    snapshot: str | None
    snapshot_age_seconds: float | None
    driver: str
    silent_seconds: float | None
    error: str | None
    workers: tuple[WorkerStatus, ...]

    @property
    def is_over(self) -> bool:
        """Whether nobody works on it any more."""
        return self.state not in ("starting", "running", "regrouping", "stopping")

    def __str__(self) -> str:
        return "\n".join(_lines(self))


class StatusFile:
    """The driver's end: writes ``status.json`` into a run's folder, at most once a second."""

    def __init__(self, folder: Path, config: TrainConfig, snapshot_folder: object) -> None:
        """Writes that the run starts."""
        self._path = folder / STATUS_NAME
        self._config, self._snapshots = config, str(snapshot_folder)
        self._written = 0.0
        self._write("starting", -1, [])

    def show(self, state: State, pulses: Mapping[int, tuple[Pulse, float]]) -> None:
        """Writes the supervisor's ``state``; ``pulses`` holds each worker's last sign of life, and its age in seconds."""
        if time.monotonic() - self._written < _WRITE_SECONDS:
            return
        workers = []
        for number, member in state.workers.items():
            pulse, silent_seconds = pulses.get(number, (None, None))
            workers.append(
                {
                    "number": number,
                    "rank": state.formed.index(number) if number in state.formed else None,
                    "pid": member.ready.process.number if member.ready else None,
                    "host": member.ready.host if member.ready else "",
                    "phase": pulse.phase if pulse is not None and member.status == "running" else member.status,
                    "step": max(member.step, 0),
                    "silent_seconds": silent_seconds,
                }
            )
        going = "running" if state.is_running else "regrouping" if state.formed else "starting"
        self._write("stopping" if state.is_stopping else going, state.step, workers)

    def _write(self, state: str, step: int, workers: list[dict[str, Any]]) -> None:
        self._written = time.monotonic()
        driver = own_process()
        text = json.dumps(
            {
                "state": state,
                "step": max(step, 0),
                "steps": self._config.steps,
                "global_batch": self._config.global_batch,
                "budget_bytes": self._config.memory_budget,
                "snapshots": self._snapshots,
                "driver": {"pid": driver.number, "born": driver.born, "host": socket.gethostname()},
                "written": time.time(),
                "workers": workers,
            }
        )
        try:
            replace_text(self._path, text)
        except OSError:
            return  # a full disk is no reason to end a run; the next second tries again


def read_status(folder: str | Path) -> RunStatus:
    """The status of the run in ``folder``, or of the newest run in a folder of runs.

    Raises ``ConfigError`` where there is no run.
    """
    folder = _run_folder(Path(folder))
    live, result = _read(folder / STATUS_NAME), _read(folder / RESULT_NAME)
    rows = [row for row in read_tail(folder / METRICS_NAME) if "loss" in row]
    newest = rows[-1] if rows else {}
    age = max(0.0, time.time() - live["written"]) if live else None
    snapshot = _newest_file(Path(live.get("snapshots", folder / SNAPSHOT_FOLDER)))
    driver = live.get("driver", {})
    return RunStatus(
        folder=str(folder),
        state=result.get("status") or _state(live, age or 0.0),
        step=result.get("step") or newest.get("step", live.get("step")),
        steps=live.get("steps", result.get("steps")),
        loss=newest.get("loss"),
        examples_per_second=examples_per_second(rows, live["global_batch"]) if live else None,
        peak_bytes=max((row["peak_bytes"] for row in rows if row["peak_bytes"]), default=None),
        budget_bytes=live.get("budget_bytes"),
        snapshot=result.get("snapshot") or (str(snapshot) if snapshot else None),
        snapshot_age_seconds=max(0.0, time.time() - snapshot.stat().st_mtime) if snapshot else None,
        driver=f"process {driver['pid']} on {driver['host']}" if driver else "",
        silent_seconds=age,
        error="{class}: {message}".format_map(result["error"]) if result.get("error") else None,
        workers=() if result else tuple(WorkerStatus(**_aged(each, age or 0.0)) for each in live.get("workers", ())),
    )


def _state(live: Mapping[str, Any], age: float) -> str:
    driver = live["driver"]
    if driver["host"] == socket.gethostname():
        is_there = Process(driver["pid"], driver["born"]).is_alive
    else:
        is_there = age < (_LOST_STARTING_SECONDS if live["state"] == "starting" else _LOST_SECONDS)
    return live["state"] if is_there else "lost"


def _aged(worker: dict[str, Any], age: float) -> dict[str, Any]:
    silent = worker["silent_seconds"]
    return {**worker, "silent_seconds": None if silent is None else silent + age}


def _run_folder(folder: Path) -> Path:
    names = (STATUS_NAME, RESULT_NAME)
    if any((folder / name).exists() for name in names):
        return folder
    inner = [path for name in names for path in folder.glob(f"*/{name}")]
    if not inner:
        raise ConfigError(f"there is no run in {folder}: it holds neither {' nor '.join(names)}, and nor does a folder in it")
    return max(inner, key=lambda path: path.stat().st_mtime).parent


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _newest_file(folder: Path) -> Path | None:
    # By name alone, for a look must not read gigabytes; in an object store it is the result that tells.
    return max(folder.glob("step-*.snapshot"), default=None)


def _lines(run: RunStatus) -> Iterator[str]:
    yield f"{run.folder}: {run.state}" + (f", led by {run.driver}" if run.driver and not run.is_over else "")
    if run.state == "lost":
        yield "  its driver is gone: the same command with --resume auto goes on from the last snapshot"
    if run.error:
        yield f"  {run.error}"
    figures = [f"step {run.step} of {run.steps}"]
    if run.loss is not None:
        figures.append(f"loss {run.loss:.4f}")
    if run.examples_per_second is not None:
        figures.append(f"{run.examples_per_second:,.1f} examples/s")
    if run.peak_bytes is not None and run.budget_bytes is not None:
        figures.append(f"peak {format_bytes(run.peak_bytes)} of {format_bytes(run.budget_bytes)}")
    yield "  " + ", ".join(figures)
    age = f" ({run.snapshot_age_seconds:.0f} s ago)" if run.snapshot_age_seconds is not None else ""
    yield f"  last snapshot: {run.snapshot}{age}" if run.snapshot else "  no snapshot yet"
    if not run.is_over:
        yield f"  last sign of life: {run.silent_seconds:.1f} s ago"
    for worker in run.workers:
        rank = "  - " if worker.rank is None else f"{worker.rank:4d}"
        heard = "" if worker.silent_seconds is None else f", heard of {worker.silent_seconds:.1f} s ago"
        where = f"process {worker.pid} on {worker.host}" if worker.pid is not None else "no process yet"
        yield f"  rank {rank}  step {worker.step}  {worker.phase:<11}  {where}{heard}"
