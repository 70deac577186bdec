"""Makes batches of examples from parquet files, row group by row group, through pyarrow."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError, DataError
from .stamps import Stamp, check_unchanged, stamp

_CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class ParquetFiles:
    """A source made of one ``.parquet`` file or a folder of them; a batch is a dict of arrays by column.

    Columns hold numbers, booleans, or lists of one length of them, and no missing values. Only the path travels to the
    workers, which must all see it. Row groups in use are kept, up to ``cache_bytes`` in each process: where a shuffled order
    walks over more than that, a row group is read again and again, and ``.npy`` files are the better choice.
    """

    path: Path
    columns: tuple[str, ...]
    stamps: tuple[Stamp, ...]
    starts: tuple[int, ...]
    groups: tuple[tuple[int, int], ...]
    cache_bytes: int = _CACHE_BYTES

    @staticmethod
    def at(path: str | Path, *, columns: tuple[str, ...] | None = None, cache_bytes: int = _CACHE_BYTES) -> "ParquetFiles":
        """The source at ``path``, of these ``columns`` or all.

        Raises ``DataError`` for files that cannot be read or whose columns differ or hold other things, and
        ``ConfigError`` when pyarrow is not installed.
        """
        path = Path(path).absolute()
        files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not files:
            raise DataError(f"the folder {path} holds no .parquet files")
        folder = path if path.is_dir() else path.parent
        stamps = tuple(stamp(folder, file) for file in files)
        starts, groups, total = [], [], 0
        for number, file in enumerate(files):
            reader = _reader(file, stamps[number])
            names = reader.schema_arrow.names
            columns = tuple(names) if columns is None else columns
            if missing := [name for name in columns if name not in names]:
                raise DataError(f"{file} has no column {', '.join(missing)}; it has {', '.join(names)}")
            for group in range(reader.num_row_groups):
                starts.append(total)
                groups.append((number, group))
                total += reader.metadata.row_group(group).num_rows
        made = ParquetFiles(path, columns or (), stamps, (*starts, total), tuple(groups), cache_bytes)
        if total:
            made.batch(np.zeros(1, np.int64))
        return made

    def __len__(self) -> int:
        """The number of rows."""
        return self.starts[-1]

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """The rows at ``indices`` (int64, shape (n,)). Raises ``DataError`` when a file changed since the source was made."""
        folder = self.path if self.path.is_dir() else self.path.parent
        check_unchanged(folder, self.stamps)
        inside = np.searchsorted(self.starts, indices, side="right") - 1
        made: dict[str, np.ndarray] = {}
        for number in np.unique(inside):
            rows = np.flatnonzero(inside == number)
            for name, column in _cache(self).get(int(number)).items():
                taken = column[indices[rows] - self.starts[number]]
                if name not in made:
                    made[name] = np.empty((len(indices), *taken.shape[1:]), taken.dtype)
                elif made[name].shape[1:] != taken.shape[1:] or made[name].dtype != taken.dtype:
                    raise DataError(
                        f"the column {name!r} of {self.path} is {made[name].dtype}{list(made[name].shape[1:])} in one row "
                        f"group and {taken.dtype}{list(taken.shape[1:])} in another"
                    )
                made[name][rows] = taken
        return made


class _Cache:
    """The row groups of one source that were used last."""

    def __init__(self, files: ParquetFiles) -> None:
        self._files = files
        self._kept: OrderedDict[int, dict[str, np.ndarray]] = OrderedDict()
        self._bytes = 0
        # Batches are made in the background too.
        self._lock = threading.Lock()

    def get(self, number: int) -> dict[str, np.ndarray]:
        with self._lock:
            if number in self._kept:
                self._kept.move_to_end(number)
                return self._kept[number]
            made = self._read(number)
            self._kept[number] = made
            self._bytes += _size(made)
            while self._bytes > self._files.cache_bytes and len(self._kept) > 1:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
            return made

    def _read(self, number: int) -> dict[str, np.ndarray]:
        files = self._files
        file, group = files.groups[number]
        folder = files.path if files.path.is_dir() else files.path.parent
        path = folder / files.stamps[file].name
        try:
            table = _reader(path, files.stamps[file]).read_row_group(group, columns=list(files.columns))
        except OSError as error:
            raise DataError(f"row group {group} of {path} cannot be read: {error}") from error
        return {name: _column(table.column(name).combine_chunks(), name, path) for name in files.columns}


@lru_cache(maxsize=4)
def _cache(files: ParquetFiles) -> _Cache:
    return _Cache(files)


@lru_cache(maxsize=64)
def _reader(path: Path, stamp: Stamp) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(f"the parquet file {path} takes pyarrow: pip install 'retape[data]'") from error
    try:
        return parquet.ParquetFile(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} cannot be read as a parquet file: {error}") from error


def _column(array: Any, name: str, path: Path) -> np.ndarray:
    """An arrow array as a NumPy array; lists of one length become further axes."""
    import pyarrow.types as kinds

    shape = [len(array)]
    while kinds.is_list(array.type) or kinds.is_large_list(array.type) or kinds.is_fixed_size_list(array.type):
        _refuse_missing(array, name, path)
        lengths = _lengths(array)
        if len(lengths) > 1:
            raise DataError(
                f"the column {name!r} of {path} holds lists of {min(lengths)} to {max(lengths)} numbers: pad them"
            )
        shape.append(lengths[0] if lengths else 0)
        array = array.flatten()
    _refuse_missing(array, name, path)
    if not (kinds.is_integer(array.type) or kinds.is_floating(array.type) or kinds.is_boolean(array.type)):
        raise DataError(
            f"the column {name!r} of {path} holds {array.type}; a batch takes numbers: choose others with columns="
        )
    return array.to_numpy(zero_copy_only=False).reshape(shape)


def _lengths(lists: Any) -> list[int]:
    """The different lengths of lists."""
    from pyarrow import compute

    functions: Any = compute  # made when it is imported: no type checker knows their names
    return functions.unique(functions.list_value_length(lists)).to_pylist()


def _refuse_missing(array: Any, name: str, path: Path) -> None:
    if array.null_count:
        raise DataError(f"the column {name!r} of {path} has {array.null_count} missing values: fill them in")


def _size(columns: dict[str, np.ndarray]) -> int:
    return sum(column.nbytes for column in columns.values())
