"""Axis arguments, read as NumPy reads them: the reduced axes, the shapes that are left, which keywords were given."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply, read, settled
from ..op import OPS
from ..python_numbers import as_array


def as_operand(a: Any) -> Any:
    """Return `a` as a traced or plain array."""
    return as_array(a) if type(a) is Array else np.asarray(a)


def is_kept(keepdims: Any) -> bool:
    """Tell whether ``keepdims=`` asks for the reduced axes to stay."""
    return keepdims is not np._NoValue and bool(keepdims)


def is_given(argument: Any) -> bool:
    """Tell whether an optional argument was given at all."""
    return argument is not None and argument is not np._NoValue


def is_mask(where: Any) -> bool:
    """Tell whether ``where=`` leaves anything out."""
    return where is not True and where is not np._NoValue


def masked(a: Any, where: Any, fill: Any) -> Any:
    """Return `a` with `fill` in all places that ``where=`` leaves out."""
    return np.where(np.broadcast_to(as_operand(where), a.shape), a, np.asarray(fill, a.dtype))


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the reduced axes as a sorted tuple of non-negative integers."""
    if axis is None:
        return tuple(range(ndim))
    if not ndim:
        return ()
    axis = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted([int(a) % ndim for a in axis]))


def checked_axis(axis: Any, ndim: int) -> Any:
    """Return `axis` (None, an integer or a tuple) in plain integers. Raises `AxisError` and `ValueError` as NumPy does."""
    if axis is None:
        return None
    extent = max(ndim, 1)  # NumPy lets a 0-d array be reduced over axis 0
    if not isinstance(axis, tuple):
        axis = operator.index(axis)
        if not -extent <= axis < extent:
            raise np.exceptions.AxisError(axis, ndim)
        return axis
    for a in axis:
        if not -extent <= operator.index(a) < extent:
            raise np.exceptions.AxisError(a, ndim)
    if len({a % extent for a in axis}) < len(axis):
        raise ValueError("duplicate value in 'axis'")
    return axes_of(axis, ndim)


def reduced_shape(shape: tuple[int, ...], axis: Any, keepdims: bool) -> tuple[int, ...]:
    """Return the shape that a reduction leaves."""
    axes = axes_of(axis, len(shape))
    if keepdims:
        return tuple(1 if k in axes else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def count(x: Any, axis: Any) -> int:
    """Return how many elements go into one element of a reduction of `x`."""
    return math.prod(x.shape[k] for k in axes_of(axis, len(x.shape)))


def expand(g: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """Return a reduction's cotangent (or result), broadcastable against the reduced input of `shape`."""
    if keepdims or not shape:
        return g
    return np.reshape(g, reduced_shape(shape, axis, True))


def reduced_first(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """Return `x` with its reduced axes merged into one in front, and the shape that a reduction leaves."""
    axes = axes_of(axis, x.ndim)
    kept = tuple(k for k in range(x.ndim) if k not in axes)
    left = tuple(x.shape[k] for k in kept)
    moved = x if axes == tuple(range(len(axes))) else np.transpose(x, axes + kept)
    return np.reshape(moved, (math.prod(x.shape[k] for k in axes), *left)), left


def reduced(x: Any, axis: Any, keepdims: bool, dtype: Any) -> np.ndarray:
    """Return the phantom of a reduction."""
    return phantom.reduced(x, axes_of(axis, np.ndim(x)), keepdims, dtype)


def plain_value(x: Any) -> Any:
    """Return the plain value of `x` for a decision that has no derivative, such as an order or a count.

    Under a transform inside of `vmap`, that is the batched value. Raises `BatchedValueError` for an `x` that is this already.
    """
    if type(x) is not Array:
        return np.asarray(x)
    found = apply(OPS["stop_gradient"], (x,))
    return read(found, "an index") if x._level.is_batch else settled(found, "an index")
