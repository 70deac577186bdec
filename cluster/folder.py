"""Makes an output folder ready for a run, so that nothing of an earlier run is overwritten."""

import os
from pathlib import Path

from . import snapshot as snapshots
from .errors import ConfigError, SnapshotError
from .metrics import METRICS_NAME
from .worker import SNAPSHOT_FOLDER

_RUN_FILES = (METRICS_NAME, SNAPSHOT_FOLDER, "loss.png", "memory.png", "sample.txt", "result.json")


def prepare_folder(out: str | Path, *, resume: bool) -> Path:
    """Makes ``out`` if needed and checks that it can be written; returns it as an absolute path.

    Unless the run resumes, an earlier run's files move to ``out/earlier-N``. Raises ``ConfigError`` when the
    folder cannot be made or written.
    """
    out = Path(out).absolute()
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"the output folder {out} cannot be written: {error.strerror or error}; choose another with out (--out)"
        ) from error
    if not resume:
        _set_aside(out)
    return out


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


def last_good(out: Path) -> str:
    """A sentence that names the newest good snapshot of the run in ``out``."""
    try:
        path, _ = snapshots.latest(out / SNAPSHOT_FOLDER)
    except SnapshotError:
        return "no snapshot had been written yet"
    return f"the last good snapshot is {path}"


def _set_aside(out: Path) -> None:
    present = [out / name for name in _RUN_FILES if (out / name).exists()]
    if not present:
        return
    number = 1
    while (out / f"earlier-{number}").exists():
        number += 1
    aside = out / f"earlier-{number}"
    aside.mkdir()
    for path in present:
        path.rename(aside / path.name)
