"""Makes a folder that keeps the last few snapshots and the best one, each file there whole or not at all."""

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, SnapshotError
from .format import Packed, Snapshot, pack, peek_scores, read

BEST_NAME = "best.snapshot"
_NAME = re.compile(r"step-(\d{9})\.snapshot")
_PARTIAL = re.compile(r"\.step-(\d{9})\.snapshot\.\d+\.partial")


@dataclass(frozen=True)
class Best:
    """Which snapshot is the best: that with the ``"lowest"`` or ``"highest"`` score ``name``."""

    sense: str
    name: str

    @staticmethod
    def of(text: str) -> "Best":
        """What "lowest val_loss" or "highest val_accuracy" says. Raises ``ConfigError`` for anything else."""
        words = text.split()
        if len(words) != 2 or words[0] not in ("lowest", "highest"):
            raise ConfigError(
                f"the best snapshot is {text!r}; write lowest or highest and the name of a validation figure, for example "
                "'lowest val_loss'"
            )
        return Best(*words)

    def prefers(self, new: float, old: float | None) -> bool:
        """Whether ``new`` is better than ``old``; NaN never is."""
        if old is None or old != old:
            return new == new
        return new < old if self.sense == "lowest" else new > old


def save(folder: str | Path, snapshot: Snapshot | Packed, *, keep: int = 3, best: Best | None = None) -> Path:
    """Writes ``snapshot`` into ``folder`` and removes all but the last ``keep``; returns the file's path.

    It is written under another name, flushed to the disk and renamed, so that a process killed at any moment leaves the
    snapshots before it whole. With ``best``, the best of all that were saved stays beside them as ``best.snapshot``;
    snapshots without that score do not count. Raises ``SnapshotError`` when the folder cannot be written or the disk is
    full, and ``ValueError`` unless ``keep >= 1``.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; at least 1 snapshot must be kept")
    packed = pack(snapshot) if isinstance(snapshot, Snapshot) else snapshot
    folder = Path(folder)
    path = folder / f"step-{packed.step:09d}.snapshot"
    temporary = folder / f".{path.name}.{os.getpid()}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(packed.header())
            file.write(packed.payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(folder)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise SnapshotError(
            f"the snapshot of step {packed.step} ({len(packed.payload)} bytes) could not be written to {folder}: "
            f"{error.strerror or error}; earlier snapshots are untouched"
        ) from error
    try:
        if best is not None and best.name in packed.scores:
            _keep_best(folder, path, packed.scores[best.name], best)
        for old in _files(folder)[:-keep]:
            old.unlink(missing_ok=True)
        remove_partial(folder, before=packed.step)
    except OSError as error:
        raise SnapshotError(
            f"the snapshot {path} was written, but {folder} could not be tidied: {error.strerror or error}"
        ) from error
    return path


def latest(folder: str | Path) -> tuple[Path, list[SnapshotError]]:
    """The newest good snapshot in ``folder``, and an error for each newer one that is damaged.

    Raises ``SnapshotError`` when there is no good one.
    """
    folder = Path(folder)
    damaged: list[SnapshotError] = []
    for path in reversed(_files(folder)):
        try:
            read(path)
        except SnapshotError as error:
            damaged.append(error)
        else:
            return path, damaged
    if damaged:
        raise SnapshotError(f"no good snapshot in {folder}: " + "; ".join(map(str, damaged)))
    raise SnapshotError(f"there is no snapshot in {folder}; start without resuming, or name another folder")


def after(folder: Path, step: int) -> list[Path]:
    """The snapshots of steps after ``step``, good or damaged, oldest first."""
    return [path for path in _files(folder) if int(path.name[5:14]) > step]


def remove_partial(folder: Path, *, before: int | None = None) -> None:
    """Removes what killed writers left half-written, of steps before ``before`` where that is given.

    Another worker's writer may still be at work on a later step: only who has the folder to itself leaves ``before`` out.
    """
    for leftover in folder.glob(".step-*.partial"):
        found = _PARTIAL.fullmatch(leftover.name)
        if found and (before is None or int(found[1]) < before):
            leftover.unlink(missing_ok=True)


def _keep_best(folder: Path, path: Path, score: float, best: Best) -> None:
    place = folder / BEST_NAME
    if not best.prefers(score, peek_scores(place).get(best.name)):
        return
    temporary = folder / f".{path.name}.{os.getpid()}.partial"
    try:
        os.link(path, temporary)
    except OSError:
        # Some file systems have no hard links.
        shutil.copyfile(path, temporary)
    os.replace(temporary, place)
    _sync_folder(folder)


def _files(folder: Path) -> list[Path]:
    """The snapshots in ``folder``, oldest first."""
    return sorted(path for path in folder.glob("step-*.snapshot") if _NAME.fullmatch(path.name))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
