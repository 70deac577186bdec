"""Makes batches of examples from .npy files, which are mapped and never read whole, and .npz files."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.trees import map_leaves
from ..errors import DataError
from .source import Arrays
from .stamps import Stamp, check_unchanged, stamp


@dataclass(frozen=True)
class ArrayFiles:
    """A source made of array files; only their path travels to the workers, which must all see it.

    ``path`` is one ``.npy`` file (a batch is an array), a folder of them, or an ``.npz`` file (a batch is a dict by name).
    Arrays of ``.npy`` files are mapped: a batch reads its own rows, whatever the size of the file. Those of an ``.npz``
    file are read once by each process.
    """

    path: Path
    stamps: tuple[Stamp, ...]

    @staticmethod
    def at(path: str | Path) -> "ArrayFiles":
        """The source at ``path``. Raises ``DataError`` when there are no arrays, or they have no common leading axis."""
        path = Path(path).absolute()
        files = ArrayFiles(path, tuple(stamp(_folder(path), file) for file in _files(path)))
        _open(files)
        return files

    def __len__(self) -> int:
        """The number of examples."""
        return len(_open(self))

    def batch(self, indices: np.ndarray) -> Any:
        """The examples at ``indices`` (int64, shape (n,)), in memory.

        Raises ``DataError`` when a file was replaced or changed since the source was made.
        """
        check_unchanged(_folder(self.path), self.stamps)
        return _open(self).batch(indices)


@lru_cache(maxsize=8)
def _open(files: ArrayFiles) -> Arrays:
    path = files.path
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                tree: Any = {name: archive[name] for name in archive.files}
        elif path.is_dir():
            tree = {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in _files(path)}
        else:
            tree = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"the data at {path} cannot be read as arrays of numbers: {error}") from error
    # As plain arrays, which stay mapped: rows taken from them are plain arrays too.
    return Arrays(map_leaves(np.asarray, tree))


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _files(path: Path) -> list[Path]:
    """The array files that ``path`` names, in the order of their names."""
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        if not files:
            raise DataError(f"the folder {path} holds no .npy files")
        return files
    if path.suffix not in (".npy", ".npz"):
        raise DataError(f"{path} is no .npy or .npz file, and no folder of .npy files")
    return [path]
