"""Makes an output folder ready for a run, so that nothing of another run is overwritten."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import snapshot as snapshots
from .ending import RESULT_NAME
from .errors import ConfigError, SnapshotError
from .exports import EVENTS_FOLDER
from .job import SNAPSHOT_FOLDER
from .metrics import METRICS_NAME
from .report import REPORT_NAME
from .snapshot import Where, is_url, join, local_path
from .status import STATUS_NAME

_LOCK_NAME = ".lock"
_RUN_FILES = (
    METRICS_NAME,
    SNAPSHOT_FOLDER,
    "loss.png",
    "memory.png",
    "sample.txt",
    STATUS_NAME,
    RESULT_NAME,
    REPORT_NAME,
    EVENTS_FOLDER,
)


@contextmanager
def held(out: str | Path) -> Iterator[Path]:
    """Makes ``out`` if needed and holds it for this process until the end of the block; yields it as an absolute path.

    The system lets go of it when the process ends, however that happens. Raises ``ConfigError`` when another job holds the
    folder (the text says which) or it cannot be written.
    """
    out = Path(out).absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = open(out / _LOCK_NAME, "a+", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _unwritable(out, error) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ConfigError(
                f"another job ({lock.read().strip() or 'unknown'}) is training into {out}: wait for its end, or choose "
                "another folder with out (--out)"
            ) from None
        except OSError as error:
            raise _unwritable(out, error) from error
        try:
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()
        except OSError as error:
            raise _unwritable(out, error) from error
        snapshots.remove_partial(out / SNAPSHOT_FOLDER)
        yield out


def set_aside(out: Path, folder: Where | None = None) -> None:
    """Moves an earlier run's files in ``out`` to ``out/earlier-N``, and snapshots in another ``folder`` to one there."""
    _move_aside(out, [out / name for name in _RUN_FILES if (out / name).exists()])
    if folder is not None:
        _move_snapshots(out, folder, -1)


def set_aside_newer(out: Path, folder: Where, resume_from: Where) -> None:
    """Moves the snapshots in ``folder`` that are newer than ``resume_from`` to ``earlier-N``: what they hold is done anew.

    Left there, they would pass for the newest of the run that goes on from ``resume_from``.
    """
    _move_snapshots(out, folder, snapshots.step_of(resume_from))


def _move_snapshots(out: Path, folder: Where, step: int) -> None:
    names = snapshots.after(folder, step)
    if folder == out / SNAPSHOT_FOLDER:
        _move_aside(out, [out / SNAPSHOT_FOLDER / name for name in names])
    elif names:
        snapshots.move_aside(folder, names)


def _move_aside(out: Path, present: list[Path]) -> None:
    if not present:
        return
    number = 1
    while (out / f"earlier-{number}").exists():
        number += 1
    aside = out / f"earlier-{number}"
    aside.mkdir()
    for path in present:
        path.rename(aside / path.name)


def find_snapshot(folder: Where, resume: bool | Where | None) -> tuple[Where | None, list[SnapshotError]]:
    """The snapshot to resume from, and errors for newer ones that are damaged.

    ``resume`` is a snapshot file, a folder of snapshots or of a run (a path, or a URL), ``True`` for the newest in
    ``folder``, or ``"auto"`` for that if there is one. A file that is damaged raises ``SnapshotError``; in a folder the one
    before it is taken.
    """
    if resume == "auto":
        # Not whether one is good: where all are damaged, starting anew must be somebody's decision.
        resume = any(name.endswith(".snapshot") for name in snapshots.after(folder, -1))
    if not resume:
        return None, []
    place = folder if resume is True else resume if is_url(resume) else local_path(resume).absolute()
    is_file = str(place).endswith(".snapshot") if is_url(place) else local_path(place).is_file()
    if is_file:
        snapshots.verify(place)
        return place, []
    inner = join(place, SNAPSHOT_FOLDER)
    if not is_url(inner) and local_path(inner).is_dir():
        place = inner
    return snapshots.latest(place)


def newest_good(folder: Where) -> Where | None:
    """The newest good snapshot in ``folder``, if there is one."""
    try:
        return snapshots.latest(folder)[0]
    except SnapshotError:
        return None


def last_good(folder: Where) -> str:
    """A sentence that names the newest good snapshot in ``folder``."""
    path = newest_good(folder)
    return "no snapshot had been written yet" if path is None else f"the last good snapshot is {path}"


def _unwritable(out: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the output folder {out} cannot be written: {error.strerror or error}; choose another with out (--out)"
    )
