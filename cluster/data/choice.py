"""Makes a data source of whatever the user gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .files import ArrayFiles
from .source import Arrays, Examples, Source


def as_source(data: Any) -> Source:
    """``data`` as a source: a source itself, a pytree of arrays (dict or tuple), one array, a list of examples, or the
    path of array files (see :class:`ArrayFiles`).

    Raises ``DataError`` when it is none of these, or empty.
    """
    if isinstance(data, str | Path):
        source: Source = ArrayFiles.at(data)
    elif isinstance(data, Source):
        source = data
    elif isinstance(data, np.ndarray | Mapping | tuple):
        source = Arrays(data)
    elif isinstance(data, Sequence):
        source = Examples(data)
    else:
        raise DataError(
            f"data is a {type(data).__name__}; give an object with __len__ and batch(indices), a dict or "
            "tuple of arrays that share their leading axis, a list of examples, or the path of .npy or .npz files"
        )
    if len(source) == 0:
        raise DataError("the data holds no examples")
    return source
