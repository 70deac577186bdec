"""Makes a folder that keeps the last few snapshots and the best one, each there whole or not at all."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import ConfigError, SnapshotError
from .format import HEADER, Packed, Snapshot, pack, part_digest, peek
from .places import Place, Where, open_place, place_of
from .reading import verify

BEST_NAME = "best.snapshot"
_NAME = re.compile(r"step-(\d{9})\.snapshot")
_OWN = re.compile(r"step-(\d{9})(\.snapshot|-\w+-\d{4}-\d{4}\.part)")


class MissingPartsError(SnapshotError):
    """Other workers have not written their parts of a snapshot yet."""


@dataclass(frozen=True)
class Best:
    """Which snapshot is the best: that with the ``"lowest"`` or ``"highest"`` score ``name``."""

    sense: str
    name: str

    @staticmethod
    def of(text: str) -> "Best":
        """What "lowest val_loss" or "highest val_accuracy" says. Raises ``ConfigError`` for anything else."""
        words = text.split() if isinstance(text, str) else ()
        if len(words) != 2 or words[0] not in ("lowest", "highest"):
            raise ConfigError(
                f"the best snapshot is {text!r}; write lowest or highest and the name of a validation figure, for example "
                "'lowest val_loss'"
            )
        return Best(*words)

    def prefers(self, new: float, old: float | None, *, by: float = 0.0) -> bool:
        """Whether ``new`` is better than ``old`` by more than ``by``; NaN never is."""
        if old is None or old != old:
            return new == new
        return new < old - by if self.sense == "lowest" else new > old + by


def save(where: Where, snapshot: Snapshot, *, keep: int = 3, best: Best | None = None) -> Where:
    """Writes ``snapshot`` into ``where``, a folder or the URL of one, and removes all but the last ``keep``; returns the
    path or URL of its file.

    A file is written under another name, flushed to the disk and renamed (or is one object of a store), and the one that
    names the parts comes last, so that a process killed at any moment leaves the snapshots before it whole. With ``best``,
    the best of all that were saved stays beside them as ``best.snapshot``; snapshots without that score do not count.
    Raises ``SnapshotError`` when the folder cannot be written or the disk is full, ``ConfigError`` for a URL whose library
    is missing, and ``ValueError`` unless ``keep >= 1``.
    """
    place, packed = open_place(where), pack(snapshot)
    write_parts(place, packed, set())
    return commit(place, packed, keep=keep, best=best)


def write_parts(place: Place, packed: Packed, written: set[str]) -> None:
    """Writes the parts that are this worker's own, but for those named in ``written``, to which they are added."""
    for part in packed.parts:
        if part.payload is not None and part.name not in written:
            with _naming(packed):
                place.write(part.name, part.pieces())
            written.add(part.name)


def commit(
    place: Place, packed: Packed, *, keep: int, best: Best | None = None, check: Callable[[], None] = lambda: None
) -> Where:
    """Makes a snapshot of parts that are written, and tidies the folder; returns the path or URL of its file.

    Raises ``MissingPartsError`` while other workers' parts are not there, and whatever ``check`` raises, just before the
    snapshot becomes one.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; at least 1 snapshot must be kept")
    name = f"step-{packed.step:09d}.snapshot"
    with _naming(packed):
        pieces = packed.manifest(_digests(place, packed))
        check()
        place.write(name, pieces)
    try:
        if best is not None and best.name in packed.fields["scores"]:
            old = peek(place, BEST_NAME).get("scores", {}).get(best.name)
            if best.prefers(packed.fields["scores"][best.name], old):
                place.copy(name, BEST_NAME)
        _tidy(place, packed.step, keep)
    except (SnapshotError, FileNotFoundError) as error:
        raise SnapshotError(
            f"the snapshot {place.file(name)} was written, but {place} could not be tidied: {error}"
        ) from error
    return place.file(name)


def latest(where: Where) -> tuple[Where, list[SnapshotError]]:
    """The newest good snapshot in ``where``, a folder or the URL of one, and an error for each newer one that is damaged.

    Raises ``SnapshotError`` when there is no good one.
    """
    place = open_place(where)
    damaged: list[SnapshotError] = []
    for name in reversed(_snapshots(place)):
        try:
            verify(place.file(name))
        except SnapshotError as error:
            damaged.append(error)
        else:
            return place.file(name), damaged
    if damaged:
        raise SnapshotError(f"no good snapshot in {where}: " + "; ".join(map(str, damaged)))
    raise SnapshotError(f"there is no snapshot in {where}; start without resuming, or name another folder")


def best_of(where: Where) -> Where | None:
    """The best snapshot in ``where``, if there is one."""
    place = open_place(where)
    return place.file(BEST_NAME) if BEST_NAME in place.names() else None


def after(where: Where, step: int) -> list[str]:
    """The names of all files of snapshots after ``step``, good or damaged, the best one among them."""
    place = open_place(where)
    names = place.names()
    found = [name for name in names if (match := _OWN.fullmatch(name)) and int(match[1]) > step]
    return found + [BEST_NAME] * (BEST_NAME in names and peek(place, BEST_NAME).get("step", 0) > step)


def move_aside(where: Where, names: Sequence[str]) -> None:
    """Moves files of ``where`` into a new folder ``earlier-N`` there."""
    place = open_place(where)
    taken, number = set(place.names()), 1
    while f"earlier-{number}" in taken:
        number += 1
    for name in names:
        place.move(name, f"earlier-{number}")


def of_step(where: Where, step: int) -> Where:
    """The path or URL of the snapshot of ``step`` in ``where``, whether it is there or not."""
    return open_place(where).file(f"step-{step:09d}.snapshot")


def step_of(file: Where) -> int:
    """The step of a snapshot that is known to be good."""
    place, name = place_of(file)
    return peek(place, name)["step"]


def remove_partial(where: Where, *, before: int | None = None) -> None:
    """Removes what killed writers left half-written, of steps before ``before`` where that is given.

    Another worker's writer may still be at work on a later step: only who has the folder to itself leaves ``before`` out.
    """
    _remove_partial(open_place(where), before)


def _remove_partial(place: Place, before: int | None) -> None:
    def is_old(name: str) -> bool:
        found = _OWN.fullmatch(name)
        return found is not None and (before is None or int(found[1]) < before)

    place.remove_leftovers(is_old)
    names = place.names()
    whole = {int(found[1]) for name in names if (found := _NAME.fullmatch(name))} | {peek(place, BEST_NAME).get("step")}
    for name in names:
        found = _OWN.fullmatch(name)
        if found and int(found[1]) not in whole and is_old(name):
            place.remove(name)


def _tidy(place: Place, step: int, keep: int) -> None:
    """Removes all but the last ``keep`` snapshots, and the parts of none."""
    for old in _snapshots(place)[:-keep]:
        place.remove(old)
    _remove_partial(place, step)


def _snapshots(place: Place) -> list[str]:
    """The names of the snapshots, oldest first."""
    return [name for name in place.names() if _NAME.fullmatch(name)]


def _digests(place: Place, packed: Packed) -> dict[str, bytes]:
    """The digests of all parts by name, read from their files."""
    found: dict[str, bytes] = {}
    for part in packed.parts:
        try:
            found[part.name] = part_digest(place.read(part.name, HEADER.size))
        except FileNotFoundError:
            continue
    missing = sorted({int(part.name.split("-")[3]) for part in packed.parts if part.name not in found})
    if missing:
        raise MissingPartsError(f"workers {missing} have not written their parts")
    return found


@contextmanager
def _naming(packed: Packed) -> Iterator[None]:
    """Says which snapshot it is that could not be written."""
    try:
        yield
    except MissingPartsError:
        raise
    except SnapshotError as error:
        raise SnapshotError(
            f"the snapshot of step {packed.step} ({packed.size_bytes} bytes) is not saved: {error}; earlier snapshots are "
            "untouched"
        ) from error
