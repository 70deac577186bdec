"""Makes batches of byte windows from text files, which are mapped and never read whole."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import ConfigError, DataError
from .stamps import Stamp, check_unchanged, stamp


@dataclass(frozen=True)
class TextFiles:
    """A source of windows of text: example i is ``length + 1`` bytes, ``length`` of them its own and the next one's first.

    Windows do not run over a file's end; a file's last bytes that fill no window are left out. A batch is uint8 of shape
    (n, length + 1): inputs are ``[:, :-1]``, targets ``[:, 1:]``. Only the path travels to the
    workers, which must all see it.
    """

    path: Path
    length: int
    stamps: tuple[Stamp, ...]
    starts: tuple[int, ...]

    @staticmethod
    def at(path: str | Path, *, length: int, pattern: str = "**/*.txt") -> "TextFiles":
        """The source of a file, or of the files of a folder that match ``pattern``, in the order of their names.

        Raises ``DataError`` when no file holds a window, and ``ConfigError`` unless ``length >= 1``.
        """
        path = Path(path).absolute()
        if length < 1:
            raise ConfigError(f"length is {length}; a window has 1 byte or more")
        files = sorted(file for file in path.glob(pattern) if file.is_file()) if path.is_dir() else [path]
        folder = path if path.is_dir() else path.parent
        stamps = tuple(one for one in (stamp(folder, file) for file in files) if one.size_bytes > length)
        counts = [(one.size_bytes - 1) // length for one in stamps]
        if not counts:
            raise DataError(f"{path} holds no text of more than {length} bytes ({len(files)} files match {pattern})")
        return TextFiles(path, length, stamps, (0, *np.cumsum(counts).tolist()))

    def __len__(self) -> int:
        """The number of windows."""
        return self.starts[-1]

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """The windows at ``indices`` (int64, shape (n,)). Raises ``DataError`` when a file changed meanwhile."""
        folder = self.path if self.path.is_dir() else self.path.parent
        inside = np.searchsorted(self.starts, indices, side="right") - 1
        made = np.empty((len(indices), self.length + 1), np.uint8)
        for number in np.unique(inside):
            one = self.stamps[number]
            check_unchanged(folder, (one,))
            rows = np.flatnonzero(inside == number)
            first = (indices[rows] - self.starts[number]) * self.length
            made[rows] = _mapped(folder / one.name, one)[first[:, None] + np.arange(self.length + 1)]
        return made


@lru_cache(maxsize=256)
def _mapped(file: Path, stamp: Stamp) -> np.ndarray:
    try:
        return np.asarray(np.memmap(file, np.uint8, mode="r"))
    except (OSError, ValueError) as error:
        raise DataError(f"the text {file} cannot be read: {error}") from error
