"""What NumPy cannot dispatch: arrays built from traced values. Offered on the face as ``retape.numpy``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Array

__all__ = ["array", "asarray", "full"]


def _nested(value: Any) -> bool:
    if type(value) is Array:
        return True
    return isinstance(value, (list, tuple)) and any(_nested(item) for item in value)


def array(value: Any, dtype: Any = None) -> Any:
    """Return an array of nested lists of numbers and traced scalars or arrays; gradients reach the traced ones.

    >>> import numpy as np, retape as rt
    >>> rt.grad(lambda x: rt.numpy.array([x, 2.0 * x]).sum())(1.0).item()
    3.0
    """
    if not _nested(value):
        return np.array(value, dtype)
    if type(value) is Array:
        made = np.copy(value)
    else:
        made = np.stack([array(item, dtype) for item in value])
    return made if dtype is None or made.dtype == np.dtype(dtype) else made.astype(dtype)


def asarray(value: Any, dtype: Any = None) -> Any:
    """Return `value` as an array, itself where it is one already (see `array`)."""
    if type(value) is Array:
        return value if dtype is None or value.dtype == np.dtype(dtype) else value.astype(dtype)
    return array(value, dtype) if _nested(value) else np.asarray(value, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Any:
    """Return an array of `shape` filled with a plain or traced value."""
    if type(fill_value) is not Array:
        return np.full(shape, fill_value, dtype)
    value = fill_value if dtype is None else fill_value.astype(dtype)
    return np.copy(np.broadcast_to(value, shape))
