"""Sets of values: unions, intersections, differences and unique values, as gathers from where each value stands first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import implements
from .axes import as_operand, checked_axis, plain_value


def _gathered_values(x: Any, values: np.ndarray) -> Any:
    """Return the plain `values`, all of which stand in the vector `x`, as a gather from `x`."""
    plain = plain_value(x)
    order = np.argsort(plain, kind="stable")
    return x[order[np.searchsorted(plain[order], values)]]


@implements(np.unique)
def unique(
    ar, return_index=False, return_inverse=False, return_counts=False, axis=None, *, equal_nan=True, sorted=True
) -> Any:
    """Compose the unique values of a gather; of equal values the first one gets the gradient."""
    x = as_operand(ar)
    plain = plain_value(x)
    found = np.unique(plain, True, return_inverse, return_counts, axis, equal_nan=equal_nan, sorted=sorted)  # pyright: ignore[reportCallIssue]
    if axis is None:
        flat = np.reshape(x, (-1,))
        if sorted or return_index or return_inverse or return_counts:
            values = flat[found[1]]
        else:  # NumPy leaves them in the order of a hash table then
            values = _gathered_values(flat, np.unique(plain, equal_nan=equal_nan, sorted=False))
    else:
        values = np.take(x, found[1], axis=checked_axis(axis, x.ndim))
    rest = found[2:] if not return_index else found[1:]
    return (values, *rest) if rest else values


def _places(x: Any) -> Any:
    """Return the vector of a set's values, each once."""
    return unique(np.reshape(as_operand(x), (-1,)))


@implements(np.intersect1d)
def intersect1d(ar1, ar2, assume_unique=False, return_indices=False) -> Any:
    """Compose the common values of a gather from the first set."""
    x = np.reshape(as_operand(ar1), (-1,))
    values, first, second = np.intersect1d(plain_value(x), plain_value(ar2), assume_unique, return_indices=True)
    y = x[first].astype(values.dtype, copy=False)
    return (y, first, second) if return_indices else y


@implements(np.setdiff1d)
def setdiff1d(ar1, ar2, assume_unique=False) -> Any:
    """Compose the values of the first set that are not in the second."""
    x = np.reshape(as_operand(ar1), (-1,)) if assume_unique else _places(ar1)
    return x[np.isin(plain_value(x), plain_value(ar2), invert=True)]


@implements(np.setxor1d)
def setxor1d(ar1, ar2, assume_unique=False) -> Any:
    """Compose the values that are in one of the sets only."""
    first, second = (np.reshape(as_operand(part), (-1,)) for part in (ar1, ar2))
    values = np.setxor1d(plain_value(first), plain_value(second), assume_unique)
    return _gathered_values(np.concatenate([first, second]), values)


@implements(np.union1d)
def union1d(ar1, ar2) -> Any:
    """Compose the values that are in either set."""
    return unique(np.concatenate([np.reshape(as_operand(part), (-1,)) for part in (ar1, ar2)]))
