"""Makes a data source of whatever the user gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .files import ArrayFiles
from .images import ImageFolder, image_folders
from .parquet import ParquetFiles
from .source import Arrays, Examples, Source

_KINDS = (
    "an object with __len__ and batch(indices) or __getitem__(index), a dict or tuple of arrays with a common leading axis, "
    "or the path of .npy, .npz or .parquet files or of a folder of images"
)


def as_source(data: Any, *, what: str = "the data") -> Source:
    """``data`` as a source: a source itself, a pytree of arrays (dict or tuple), one array, a list or anything else with a
    length and an index that gives examples, or the path of files (see :class:`ArrayFiles`, :class:`ParquetFiles` and
    :class:`ImageFolder`).

    Raises ``DataError`` when it is none of these, or empty; ``what`` is what the text calls it.
    """
    if isinstance(data, str | Path):
        source: Source = _at(Path(data))
    elif isinstance(data, type):
        raise DataError(f"{what} is the class {data.__name__}: make one of it, {data.__name__}(...)")
    elif isinstance(data, Source):
        source = data
    elif isinstance(data, np.ndarray | Mapping | tuple):
        source = Arrays(data)
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        source = Examples(data)
    else:
        raise DataError(f"{what} is of type {type(data).__name__}; give {_KINDS}")
    try:
        count = len(source)
    except Exception as error:
        raise DataError(f"{what} does not tell its length: {type(error).__name__}: {error}") from error
    if not count:
        raise DataError(f"{what} holds no examples")
    return source


def _at(path: Path) -> Source:
    if not path.exists():
        raise DataError(f"the data {path.absolute()} does not exist")
    if path.suffix == ".parquet" or (path.is_dir() and any(path.glob("*.parquet"))):
        return ParquetFiles.at(path)
    if path.is_dir() and image_folders(path):
        return ImageFolder.at(path)
    if path.suffix == ".txt" or (path.is_dir() and any(path.glob("**/*.txt"))):
        raise DataError(f"{path} is text, which has no examples of its own: give TextFiles.at({str(path)!r}, length=...)")
    return ArrayFiles.at(path)
