"""Differences of neighbours, and the slopes and areas that are composed of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from ..array import Array
from ..layouts import in_order_of, layout
from ..op import implements
from .axes import as_operand


def _along(axis: int, ndim: int, *place: Any) -> tuple:
    """Return the index that takes the slice ``place`` along `axis`, and an integer as a slice of one."""
    start, stop = place if len(place) == 2 else (place[0], place[0] + 1 or None)
    return tuple(slice(start, stop) if k == axis else slice(None) for k in range(ndim))


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: Any = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    """Compose differences of slices."""
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    a = as_operand(a)
    if a.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = normalize_axis_index(axis, a.ndim)
    edge = tuple(1 if k == axis else extent for k, extent in enumerate(a.shape))
    ends = [None if end is np._NoValue else as_operand(end) for end in (prepend, append)]
    ends = [np.broadcast_to(end, edge) if end is not None and end.ndim == 0 else end for end in ends]
    pieces = [piece for piece in (ends[0], a, ends[1]) if piece is not None]
    a = np.concatenate(pieces, axis) if len(pieces) > 1 else a
    subtract = np.not_equal if a.dtype.kind == "b" else np.subtract
    for _ in range(n):
        a = subtract(a[_along(axis, a.ndim, 1, None)], a[_along(axis, a.ndim, None, -1)])
    return a


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    """Compose the differences of a flattened array, with what comes before and after them."""
    ary = np.ravel(as_operand(ary))
    pieces = [ary[1:] - ary[:-1]]
    for name, end in (("to_begin", to_begin), ("to_end", to_end)):
        if end is None:
            continue
        end = np.ravel(as_operand(end))
        if not np.can_cast(end.dtype, ary.dtype, casting="same_kind"):
            raise TypeError(f"dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule.")
        pieces.insert(len(pieces) if name == "to_end" else 0, end.astype(ary.dtype))
    return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]


def _spacings(varargs: tuple, f: Any, axes: list[int]) -> list:
    """Return the distance between samples along each axis: a number, or the array of distances."""
    if not varargs:
        return [1.0] * len(axes)
    if len(varargs) == 1 and np.ndim(varargs[0]) == 0:
        return list(varargs) * len(axes)
    if len(varargs) != len(axes):
        raise TypeError("invalid number of arguments")
    found = []
    for given, axis in zip(varargs, axes, strict=True):
        if np.ndim(given) == 0:
            found.append(given)
            continue
        places = as_operand(given)
        if places.ndim != 1:
            raise ValueError("distances must be either scalars or 1d")
        if places.shape[0] != f.shape[axis]:
            raise ValueError("when 1d, distances must match the length of the corresponding dimension")
        distances = diff(places.astype(np.float64) if places.dtype.kind in "iu" else places)
        # Equal plain distances are one number, as in NumPy; traced ones have each a gradient of their own.
        is_even = type(distances) is not Array and bool(np.all(distances == distances[0]))
        found.append(distances[0] if is_even else distances)
    return found


def _slope_along(f: Any, spacing: Any, axis: int, edge_order: int) -> Any:
    ndim, extent = f.ndim, f.shape[axis]
    is_even = np.ndim(spacing) == 0

    def at(*place: Any) -> Any:
        return f[_along(axis, ndim, *place)]

    def step(*place: Any) -> Any:
        """Return distances, broadcastable against `f`; an even spacing is all of them."""
        if is_even:
            return spacing
        return np.reshape(spacing[_along(0, 1, *place)], [-1 if k == axis else 1 for k in range(ndim)])

    def edge(near: Any, far: Any, sign: int, places: tuple) -> Any:
        """Return the one-sided second-order slope at an edge, from there inwards."""
        total = near + far
        first, second, third = (at(place) for place in places)
        slope = -(2.0 * near + far) / (near * total) * first + total / (near * far) * second - near / (far * total) * third
        return slope if sign > 0 else -slope

    if edge_order == 1:
        pieces = [(at(1) - at(0)) / step(0), (at(-1) - at(-2)) / step(-1)]
    elif is_even:
        pieces = [
            -1.5 / spacing * at(0) + 2.0 / spacing * at(1) + -0.5 / spacing * at(2),
            0.5 / spacing * at(-3) + -2.0 / spacing * at(-2) + 1.5 / spacing * at(-1),
        ]
    else:
        pieces = [edge(step(0), step(1), 1, (0, 1, 2)), edge(step(-1), step(-2), -1, (-1, -2, -3))]
    if extent > 2:
        before, here, after = at(None, -2), at(1, -1), at(2, None)
        if is_even:
            inner = (after - before) / (2.0 * spacing)
        else:
            left, right = step(None, -1), step(1, None)
            total = left + right
            inner = -right / (left * total) * before + (right - left) / (left * right) * here + left / (right * total) * after
        pieces.insert(1, inner)
    return np.concatenate(pieces, axis).astype(f.dtype, copy=False)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Compose slopes of central differences, and one-sided ones at the edges (Fornberg, Math. Comp. 51, 1988)."""
    f = as_operand(f)
    if axis is None:
        axes = list(range(f.ndim))
    else:
        axes = [normalize_axis_index(k, f.ndim) for k in (axis if isinstance(axis, (tuple, list)) else (axis,))]
        if len(set(axes)) != len(axes):
            raise ValueError("repeated axis")
    spacings = _spacings(varargs, f, axes)
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    f = f.astype(np.float64) if f.dtype.kind in "iub" else f
    slopes = []
    for k, spacing in zip(axes, spacings, strict=True):
        if f.shape[k] < edge_order + 1:
            raise ValueError(
                "Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are required."
            )
        slopes.append(in_order_of(_slope_along(f, spacing, k, edge_order), layout(f)))
    return slopes[0] if len(slopes) == 1 else tuple(slopes)


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    """Compose the area under samples of the trapezoidal rule."""
    y = as_operand(y)
    axis = normalize_axis_index(axis, y.ndim)
    if x is None:
        widths = dx
    else:
        x = as_operand(x)
        widths = diff(x) if x.ndim == 1 else diff(x, axis=axis)
        if x.ndim == 1:
            widths = np.reshape(widths, [-1 if k == axis else 1 for k in range(y.ndim)])
    heights = y[_along(axis, y.ndim, 1, None)] + y[_along(axis, y.ndim, None, -1)]
    return np.sum(widths * heights / 2.0, axis=axis)
