"""Makes stamps of data files, by which every worker knows that it sees the files that the run began with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError


@dataclass(frozen=True)
class Stamp:
    """A file as it was when the run began: its name below the data's folder, its size and its time."""

    name: str
    size_bytes: int
    modified_ns: int


def stamp(folder: Path, file: Path) -> Stamp:
    """The stamp of a file. Raises ``DataError`` when it cannot be looked at."""
    try:
        state = file.stat()
    except OSError as error:
        raise DataError(f"the data at {file} cannot be read: {error.strerror or error}") from error
    return Stamp(file.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns)


def check_unchanged(folder: Path, then: Sequence[Stamp]) -> None:
    """Raises ``DataError`` that names the first of these files that is gone, or another one now."""
    for old in then:
        file = folder / old.name
        try:
            state = file.stat()
        except OSError as error:
            raise DataError(f"the data file {file} is gone during the run ({error.strerror or error}): {_CURE}") from error
        if (state.st_size, state.st_mtime_ns) != (old.size_bytes, old.modified_ns):
            what = f"{old.size_bytes} bytes then, {state.st_size} now" if state.st_size != old.size_bytes else "another time"
            raise DataError(f"the data file {file} changed during the run, or is not the driver's here ({what}): {_CURE}")


_CURE = "put the old one back, or copy it with its time (cp -p)"
