"""NumPy's functions that write into an array they are given: copyto, put, place, putmask, put_along_axis, fill_diagonal.

Each is a write by index. A plain array cannot hold what is traced: such a call raises an error that names the way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..array import Array, any_active, apply, read
from ..dispatch import plainly, refuse_plain
from ..op import OPS, implements
from .conversion import asarray


def _writes(function: Callable) -> Callable:
    """Register a handler that writes into its first argument, for the case that this is traced."""

    def register(handler: Callable) -> Callable:
        def entry(a: Any, *args: Any, **keywords: Any) -> None:
            if type(a) is Array:
                handler(a, *args, **keywords)
                return
            if any_active(args) or any_active(keywords):
                refuse_plain(f"numpy.{function.__name__}")
            function(a, *plainly(args), **plainly(keywords))

        entry.__wrapped__ = handler  # pyright: ignore[reportFunctionMemberAccess]
        implements(function)(entry)
        return handler

    return register


def _choice(value: Any) -> np.ndarray:
    """Return the plain value of a mask or of indices: no gradient goes through them."""
    return np.asarray(read(apply(OPS["stop_gradient"], (value,)), "an index") if type(value) is Array else value)


def _repeated(values: Any, count: int) -> Any:
    """Return the first `count` of values that are repeated as often as need be."""
    values = np.ravel(asarray(values))
    return values if values.size == count else values[np.arange(count) % values.size]


@_writes(np.copyto)
def copyto(dst: Array, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """Write `src`, broadcast, over all elements or those that a mask names."""
    if type(src) not in (int, float, complex, bool):
        src = asarray(src)
        kind = src.dtype
        if not np.can_cast(kind, dst.dtype, casting):
            raise TypeError(f"Cannot cast array data from {kind!r} to {dst.dtype!r} according to the rule '{casting}'")
        shape = src.shape
    else:
        np.copyto(np.empty(0, dst.dtype), src, casting=casting)  # for NumPy's own error
        shape = ()
    lead = max(len(shape) - dst.ndim, 0)
    if all(extent == 1 for extent in shape[:lead]):
        shape = shape[lead:]
    if np.broadcast_shapes(shape, dst.shape) != dst.shape:
        raise ValueError(f"could not broadcast input array from shape {shape} into shape {dst.shape}")
    if where is True:
        dst[...] = src
        return
    mask = np.broadcast_to(_mask(where), dst.shape)
    if np.ndim(src) == 0:
        dst[mask] = src
    else:
        dst[mask] = np.broadcast_to(np.reshape(src, shape), dst.shape)[mask]


def _mask(where: Any) -> np.ndarray:
    mask = _choice(where)
    if isinstance(where, (Array, np.ndarray)) and not np.can_cast(mask.dtype, np.bool_, "safe"):
        raise TypeError(f"Cannot cast array data from {mask.dtype!r} to dtype('bool') according to the rule 'safe'")
    return mask.astype(np.bool_)


def _element(a: Array, places: np.ndarray) -> tuple:
    """Return the index of elements by their number in C order."""
    return np.unravel_index(places, a.shape) if a.ndim else (np.zeros(places.shape, np.intp),)


def _write_elements(a: Array, places: np.ndarray, values: Any) -> None:
    """Write elements by their number in C order; of several writes to one place the last one stays."""
    if not places.size:
        return
    if a.ndim == 0:
        a[...] = values[-1]
    else:
        a[_element(a, places)] = values


@_writes(np.put)
def put(a: Array, ind: Any, v: Any, mode: str = "raise") -> None:
    """Write values, repeated as need be, at elements numbered in C order."""
    places = _choice(ind)
    if isinstance(ind, (Array, np.ndarray)) and not np.can_cast(places.dtype, np.intp, "safe"):
        raise TypeError(f"Cannot cast array data from {places.dtype!r} to dtype('int64') according to the rule 'safe'")
    places = np.ravel(places).astype(np.intp)
    values = asarray(v)
    if not places.size or not values.size:
        return
    size = a.size
    if mode == "wrap":
        places = places % size
    elif mode == "clip":
        places = np.clip(places, 0, size - 1)
    elif mode != "raise":
        np.put(np.zeros(1), [0], 0.0, mode)  # pyright: ignore  (for NumPy's own error)
    elif places.min() < -size or places.max() >= size:
        wrong = places[(places < -size) | (places >= size)][0]
        raise IndexError(f"index {wrong} is out of bounds for axis 0 with size {size}")
    _write_elements(a, places % size, _repeated(values, places.size))


@_writes(np.place)
def place(arr: Array, mask: Any, vals: Any) -> None:
    """Write values, repeated as need be, at the elements that a mask names: the next value at each."""
    chosen = _choice(mask)
    if chosen.size != arr.size:
        raise ValueError("place: mask and data must be the same size")
    places = np.flatnonzero(chosen)
    values = asarray(vals)
    if not places.size:
        return
    if not values.size:
        raise ValueError("Cannot insert from an empty array!")
    _write_elements(arr, places, _repeated(values, places.size))


@_writes(np.putmask)
def putmask(a: Array, mask: Any, values: Any) -> None:
    """Write values, repeated to the size of the array, at the elements that a mask names: each its own value."""
    chosen = _choice(mask)
    if chosen.size != a.size:
        raise ValueError("putmask: mask and data must be the same size")
    values = np.ravel(asarray(values))
    places = np.flatnonzero(chosen)
    if places.size and values.size:
        _write_elements(a, places, values[places % values.size])


@_writes(np.put_along_axis)
def put_along_axis(arr: Array, indices: Any, values: Any, axis: int | None = -1) -> None:
    """Write values at one index of an axis for each place of the others."""
    numbers = _choice(indices)
    if numbers.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        if numbers.ndim != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        numbers = np.where(numbers < 0, numbers + arr.size, numbers)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= arr.size):
            raise IndexError(f"index {numbers.max()} is out of bounds for axis 0 with size {arr.size}")
        _write_elements(arr, numbers, np.broadcast_to(asarray(values), numbers.shape))
        return
    axis = normalize_axis_index(axis, arr.ndim)
    if numbers.ndim != arr.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    grid: list = [
        np.arange(extent).reshape([-1 if other == k else 1 for other in range(arr.ndim)])
        for k, extent in enumerate(arr.shape)
    ]
    grid[axis] = numbers
    arr[tuple(grid)] = values


@_writes(np.fill_diagonal)
def fill_diagonal(a: Array, val: Any, wrap: bool = False) -> None:
    """Write values, repeated as need be, along the diagonal; with `wrap`, again below it in a tall matrix."""
    if a.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if a.ndim == 2:
        step = a.shape[1] + 1
        end = a.size if wrap else min(a.size, a.shape[1] * a.shape[1])
    else:
        if len(set(a.shape)) != 1:
            raise ValueError("All dimensions of input must be of equal length")
        step = 1 + sum(math.prod(a.shape[:k]) for k in range(1, a.ndim))
        end = a.size
    places = np.arange(0, end, step)
    values = np.ravel(asarray(val))
    if places.size and values.size:
        _write_elements(a, places, _repeated(values, places.size))
