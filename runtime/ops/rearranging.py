"""Elements in another number or place: arrays rolled, repeated, tiled, resized, inserted into, deleted from, trimmed."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from ..array import Array, read, tied
from ..layouts import in_same_order
from ..op import implements
from .conversion import asarray
from .elementwise import stop_gradient


def _at(axis: int, index: Any) -> tuple:
    return (slice(None),) * axis + (index,)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Compose a roll of slices and a concatenation for each axis."""
    a = asarray(a)
    if axis is None:
        return np.reshape(roll(np.ravel(a), shift, 0), a.shape)
    axes = normalize_axis_tuple(axis, a.ndim, allow_duplicate=True)
    pairs = np.broadcast(shift, axes)
    if pairs.ndim > 1:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    shifts = dict.fromkeys(axes, 0)
    for step, k in pairs:
        shifts[int(k)] += int(step)
    rolled = a
    for k, step in shifts.items():
        step %= a.shape[k] or 1
        if step:
            rolled = np.concatenate([rolled[_at(k, slice(-step, None))], rolled[_at(k, slice(None, -step))]], k)
    return np.copy(a) if rolled is a else rolled


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """Compose repetition of a broadcast for one count, of an integer index for a count per element."""
    a = asarray(a)
    if axis is None:
        a, axis = np.ravel(a), 0
    axis = normalize_axis_index(axis, a.ndim)
    counts = np.asarray(repeats)
    shape = a.shape
    if counts.size != 1 or counts.dtype.kind not in "iub" or counts.item() < 0:
        return np.take(a, np.repeat(np.arange(shape[axis]), counts), axis=axis)
    count = int(counts.item())
    spread = np.broadcast_to(np.expand_dims(a, axis + 1), (*shape[: axis + 1], count, *shape[axis + 1 :]))
    return _copied(np.reshape(spread, (*shape[:axis], shape[axis] * count, *shape[axis + 1 :])))


def _copied(a: Any) -> Any:
    """Return `a`, copied where it may still share a broadcast's memory."""
    return a if tied(a).link is None else np.copy(a, "C")


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """Compose tiling of a broadcast and a reshape."""
    counts = tuple(operator.index(r) for r in reps) if np.iterable(reps) else (operator.index(reps),)
    shape = (1,) * (len(counts) - A.ndim) + A.shape
    counts = (1,) * (len(shape) - len(counts)) + counts
    if all(count == 1 for count in counts):
        return np.copy(np.reshape(A, shape))
    spread = np.reshape(A, tuple(n for extent in shape for n in (1, extent)))
    spread = np.broadcast_to(spread, tuple(n for count, extent in zip(counts, shape, strict=True) for n in (count, extent)))
    return _copied(np.reshape(spread, tuple(count * n for count, n in zip(counts, shape, strict=True))))


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """Compose a resized array of repeated copies of the elements, cut to the new size."""
    shape = tuple(operator.index(n) for n in new_shape) if np.iterable(new_shape) else (operator.index(new_shape),)
    if any(n < 0 for n in shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    flat = np.ravel(a)
    size = math.prod(shape)
    if size == 0 or flat.size == 0:
        return np.zeros_like(flat, shape=shape)
    return np.reshape(np.concatenate([flat] * -(-size // flat.size))[:size], shape)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """Compose an insertion of a concatenation with the new values and a permutation."""
    arr = asarray(arr)
    if axis is None:
        arr = np.ravel(arr)
        axis = arr.ndim - 1
    else:
        axis = normalize_axis_index(axis, arr.ndim)
    count = arr.shape[axis]
    if isinstance(obj, slice):
        obj = np.arange(*obj.indices(count))
    elif np.asarray(obj).dtype.kind == "b":
        if np.ndim(obj) != 1:
            raise ValueError("boolean array argument obj to insert must be one dimensional")
        obj = np.flatnonzero(obj)
    values = asarray(values)
    if values.dtype != arr.dtype:
        values = values.astype(arr.dtype)
    if np.size(obj) == 1:
        values = np.reshape(values, (1,) * (arr.ndim - values.ndim) + values.shape)
        if np.ndim(obj) == 0:
            values = np.moveaxis(values, 0, axis)
        added = values.shape[axis]
    else:
        added = len(obj)
        while values.ndim > arr.ndim and values.shape[0] == 1:
            values = values[0]
    # What NumPy does to the numbers of the elements says where each old and each new one goes.
    places = np.insert(np.arange(count), obj, count + np.arange(added))
    new = np.broadcast_to(values, (*arr.shape[:axis], added, *arr.shape[axis + 1 :]))
    return in_same_order(np.take(np.concatenate([arr, new], axis), places, axis=axis), arr)


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: Any = None) -> Any:
    """Compose a deletion of an integer index of what stays."""
    if axis is None:
        arr = np.ravel(arr)
        axis = arr.ndim - 1
    else:
        axis = normalize_axis_index(axis, arr.ndim)
    kept = arr[_at(normalize_axis_index(axis, arr.ndim), np.delete(np.arange(arr.shape[axis]), obj))]
    # What several places are named for is an index in NumPy too, and lies in memory as one.
    is_index = not isinstance(obj, slice) and (np.size(obj) != 1 or np.asarray(obj).dtype.kind == "b")
    return kept if is_index else in_same_order(kept, arr)


@implements(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    """Return the view without the zeros around it; what is zero is read off the values."""
    sides = trim.lower()
    if sides not in ("fb", "bf", "f", "b"):
        raise ValueError(f"unexpected character(s) in `trim`: {trim!r}")
    axes = tuple(range(filt.ndim)) if axis is None else normalize_axis_tuple(axis, filt.ndim, "axis")
    if not axes:
        return filt
    is_zero = np.equal(filt, 0)
    places = np.nonzero(~np.asarray(read(stop_gradient(is_zero), "an index") if type(is_zero) is Array else is_zero))
    index = [slice(None)] * filt.ndim
    for k in axes:
        if places[0].size == 0:
            index[k] = slice(0, 0)
            continue
        low, high = int(places[k].min()), int(places[k].max()) + 1
        index[k] = slice(low if "f" in sides else None, high if "b" in sides else None)
    return filt[tuple(index)]
