"""Pieces chosen by conditions, and functions applied to pieces: select, choose, piecewise, along and over axes, grids."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..array import Array, apply, settled
from ..op import OPS, implements
from ..views import as_memory
from .conversion import asarray, holds_traced


def _plain(value: Any) -> Any:
    """Return what decides (an index, a condition) as a plain or a batched array; how it moves with its inputs is not felt."""
    if holds_traced(value) and type(value) is not Array:
        value = asarray(value)
    if type(value) is not Array:
        return np.asarray(value)
    found = settled(apply(OPS["stop_gradient"], (value,)), "an index")
    return found if type(found) is Array else np.asarray(found)


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """Compose the choice by the first condition that holds of where."""
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not len(condlist):
        raise ValueError("select with an empty condition list is not possible")
    choices = [c if type(c) in (int, float, complex) else asarray(c) for c in (*choicelist, default)]
    dtype = np.result_type(*(c.dtype if type(c) is Array else c for c in choices))
    choices = [c if type(c) is Array and c.dtype == dtype else asarray(c).astype(dtype) for c in choices]
    conditions = [asarray(c) for c in condlist]
    for number, condition in enumerate(conditions):
        if condition.dtype != np.bool_:
            raise TypeError(f"invalid entry {number} in condlist: should be boolean ndarray")
    chosen = np.broadcast_to(choices[-1], np.broadcast_shapes(*(a.shape for a in (*conditions, *choices))))
    for condition, choice in zip(conditions[::-1], choices[-2::-1], strict=True):
        chosen = np.where(condition, choice, chosen)
    return as_memory(chosen)


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """Compose the choice by number of an integer index."""
    numbers = _plain(a)
    if type(choices) is not Array:
        weak = [c for c in choices if type(c) in (int, float, complex)]
        parts = [asarray(c) for c in choices]
        if weak:
            dtype = np.result_type(*(w.dtype if type(w) is Array else w for w in choices))
            parts = [p.astype(dtype) for p in parts]
        choices = np.stack(np.broadcast_arrays(*parts))
    count = choices.shape[0]
    if numbers.dtype.kind not in "iub":
        raise TypeError(f"Cannot cast array data from {numbers.dtype!r} to dtype('int64') according to the rule 'safe'")
    numbers = numbers.astype(np.intp)
    if mode == "wrap":
        numbers = numbers % count
    elif mode == "clip":
        numbers = np.clip(numbers, 0, count - 1)
    elif ((numbers < 0) | (numbers >= count)).any():
        raise ValueError("invalid entry in choice array")
    shape = np.broadcast_shapes(numbers.shape, choices.shape[1:])
    choices = np.reshape(choices, (count, *(1,) * (len(shape) - choices.ndim + 1), *choices.shape[1:]))
    spread = np.broadcast_to(choices, (count, *shape))
    return spread[(np.broadcast_to(numbers, shape), *np.ix_(*map(np.arange, shape)))]


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Compose a function defined in pieces: each piece is computed on its own elements and written to their places."""
    x = asarray(x)
    # As NumPy does: what is no list of lists or of arrays is one condition, unless x is a scalar.
    is_single = np.ndim(condlist) == 0 or (x.ndim != 0 and type(condlist[0]) is not list and np.ndim(condlist[0]) == 0)
    conditions = [_plain(c).astype(bool) for c in ([condlist] if is_single else condlist)]
    if len(conditions) == len(funclist) - 1:
        conditions.append(~np.any(conditions, axis=0))
    elif len(conditions) != len(funclist):
        count = len(conditions)
        raise ValueError(f"with {count} condition(s), either {count} or {count + 1} functions are expected")
    shape = x.shape
    flat = np.reshape(x, (x.size,))
    y = np.zeros_like(flat)
    for condition, function in zip(conditions, funclist, strict=True):
        if condition.shape not in (shape, ()):
            raise IndexError(f"a condition of shape {condition.shape} does not match x of shape {shape}")
        places = np.flatnonzero(np.broadcast_to(condition, shape))
        if not isinstance(function, Callable):
            y[places] = function
        elif places.size:
            y[places] = function(flat[places], *args, **kw)
    return as_memory(np.reshape(y, shape))


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    """Compose the elements where a condition holds of an integer index."""
    return np.take(np.ravel(asarray(arr)), np.flatnonzero(_plain(condition)))


@implements(np.compress)
def compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    """Compose the slices where a condition holds of an integer index."""
    condition = _plain(condition)
    if condition.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    return np.take(asarray(a), np.flatnonzero(condition), axis)


@implements(np.apply_along_axis)
def apply_along_axis(func1d: Callable, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """Compose a function of vectors, applied to each along an axis, of a stack of its results."""
    arr = asarray(arr)
    axis = normalize_axis_index(axis, arr.ndim)
    moved = np.moveaxis(arr, axis, -1)
    places = moved.shape[:-1]
    results = [asarray(func1d(moved[(*place, ...)], *args, **kwargs)) for place in np.ndindex(places)]
    if not results:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    first = results[0]
    shape, dtype = first.shape, first.dtype
    rows = [np.broadcast_to(row if row.dtype == dtype else row.astype(dtype), shape) for row in results]
    made = np.reshape(np.stack(rows), places + shape)
    inner = tuple(range(len(places), made.ndim))
    return np.transpose(made, (*range(axis), *inner, *range(axis, len(places))))


@implements(np.apply_over_axes)
def apply_over_axes(func: Callable, a: Any, axes: Any) -> Any:
    """Compose a function of an array and an axis, applied over several axes in turn."""
    value = asarray(a)
    count = value.ndim
    for axis in (axes,) if np.ndim(axes) == 0 else axes:
        axis = axis + count if axis < 0 else axis
        result = func(value, axis)
        if result.ndim != value.ndim:
            result = np.expand_dims(result, axis)
        if result.ndim != value.ndim:
            raise ValueError("function is not returning an array of the correct shape")
        value = result
    return value


@implements(np.ix_)
def ix_(*args: Any) -> tuple:
    """Return the arrays shaped to make an open grid; conditions become the places where they hold."""
    made = []
    for number, item in enumerate(args):
        item = asarray(item)
        if item.ndim != 1:
            raise ValueError("Cross index must be 1 dimensional")
        if item.dtype == np.bool_:
            item = np.flatnonzero(_plain(item))
        elif item.size == 0 and type(item) is not Array:
            item = item.astype(np.intp)
        made.append(np.reshape(item, (1,) * number + (item.shape[0],) + (1,) * (len(args) - number - 1)))
    return tuple(made)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple:
    """Compose a grid of broadcasts."""
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    ndim = len(xi)
    places = [1, 0, *range(2, ndim)] if indexing == "xy" and ndim > 1 else range(ndim)
    flat = [
        np.reshape(asarray(x), (1,) * place + (-1,) + (1,) * (ndim - place - 1)) for place, x in zip(places, xi, strict=True)
    ]
    grids = flat if sparse else np.broadcast_arrays(*flat)
    return tuple(np.copy(grid, "C") for grid in grids) if copy else tuple(grids)
