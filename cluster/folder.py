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
from .metrics import METRICS_NAME
from .worker import SNAPSHOT_FOLDER

_LOCK_NAME = ".lock"
_RUN_FILES = (METRICS_NAME, SNAPSHOT_FOLDER, "loss.png", "memory.png", "sample.txt", RESULT_NAME)


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


def set_aside(out: Path) -> None:
    """Moves an earlier run's files in ``out`` to ``out/earlier-N``."""
    _move_aside(out, [out / name for name in _RUN_FILES if (out / name).exists()])


def set_aside_newer(out: Path, resume_from: Path) -> None:
    """Moves the snapshots in ``out`` that are newer than ``resume_from`` to ``out/earlier-N``: what they hold is done anew.

    Left there, they would pass for the newest of the run that goes on from ``resume_from``.
    """
    newer = snapshots.after(out / SNAPSHOT_FOLDER, snapshots.read(resume_from)["step"])
    _move_aside(out, newer)


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


def find_snapshot(out: Path, resume: bool | str | Path | None) -> tuple[Path | None, list[SnapshotError]]:
    """The snapshot to resume from, and errors for newer ones that are damaged.

    ``resume`` is a snapshot file, a folder of snapshots or of a run, or ``True`` for the newest in ``out``. A
    file that is damaged raises ``SnapshotError``; in a folder the one before it is taken.
    """
    if not resume:
        return None, []
    place = out if resume is True else Path(resume).absolute()
    if place.is_file():
        snapshots.read(place)
        return place, []
    if (place / SNAPSHOT_FOLDER).is_dir():
        place = place / SNAPSHOT_FOLDER
    return snapshots.latest(place)


def newest_good(out: Path) -> Path | None:
    """The newest good snapshot of the run in ``out``, if there is one."""
    try:
        return snapshots.latest(out / SNAPSHOT_FOLDER)[0]
    except SnapshotError:
        return None


def last_good(out: Path) -> str:
    """A sentence that names the newest good snapshot of the run in ``out``."""
    path = newest_good(out)
    return "no snapshot had been written yet" if path is None else f"the last good snapshot is {path}"


def _unwritable(out: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the output folder {out} cannot be written: {error.strerror or error}; choose another with out (--out)"
    )
