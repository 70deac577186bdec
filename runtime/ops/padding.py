"""Padding in every mode of `numpy.pad`: axis by axis, each of slices, integer indices and statistics of the array so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..layouts import in_same_order
from ..op import define, implements
from .conversion import asarray, holds_traced
from .views import transposed_fresh


def _infer_pad(x: np.ndarray, widths: tuple, values: tuple) -> np.ndarray:
    shape = tuple(before + n + after for n, (before, after) in zip(x.shape, widths, strict=True))
    if x.flags.fnc:
        axes = tuple(reversed(range(x.ndim)))
        return transposed_fresh(phantom.contiguous(shape[::-1], x.dtype), axes)
    return phantom.contiguous(shape, x.dtype)


def _inner(shape: tuple[int, ...], widths: tuple) -> tuple:
    return tuple(slice(before, n - after) for n, (before, after) in zip(shape, widths, strict=True))


PAD = define(
    "pad",
    lambda x, widths, values: np.pad(x, widths, constant_values=values),
    inputs="x",
    parameters=("widths", "values"),
    rules=lambda g, widths: g[_inner(g.shape, widths)],
    infer=_infer_pad,
    jvp=lambda t, widths, values: np.pad(t, widths),
)

_SAMPLES = {"constant_values": 0, "end_values": 0, "stat_length": None, "reflect_type": "even"}


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **keywords: Any) -> Any:
    """Compose padding; constant and end values may be traced too."""
    widths = _widths(pad_width, array.ndim)
    if callable(mode):
        return _by_function(array, widths, mode, keywords)
    np.pad(np.ones(1), 0, mode, **{name: _SAMPLES.get(name) for name in keywords})  # for NumPy's own errors
    if mode == "empty":
        return apply(PAD, (array,), {"widths": widths, "values": 0})
    if mode == "constant" and not holds_traced(keywords.get("constant_values", 0)):
        values = np.broadcast_to(keywords.get("constant_values", 0), (array.ndim, 2)).tolist()
        return apply(PAD, (array,), {"widths": widths, "values": tuple(map(tuple, values))})
    make = _MAKERS[mode](array, **keywords)
    padded = array
    for axis, (before, after) in enumerate(widths):
        if mode != "constant" and padded.shape[axis] == 0 and (before or after):
            raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
        if before or after:
            padded = make(padded, axis, before, after)
    return in_same_order(np.copy(array) if padded is array else padded, array)


def _widths(pad_width: Any, ndim: int) -> tuple[tuple[int, int], ...]:
    """Return the width before and after each axis. Raises `TypeError` and `ValueError` as NumPy does."""
    if isinstance(pad_width, dict):
        pairs = np.zeros((ndim, 2), int)
        for axis, width in pad_width.items():
            pairs[axis] = width
    else:
        given = np.asarray(pad_width)
        if given.dtype.kind not in "iu":
            raise TypeError("`pad_width` must be of integral type.")
        pairs = np.broadcast_to(given, (ndim, 2))
    if (pairs < 0).any():
        raise ValueError("index can't contain negative values")
    return tuple((before, after) for before, after in pairs.tolist())


def _at(axis: int, start: int, stop: int) -> tuple:
    return (slice(None),) * axis + (slice(start, stop),)


def _pairs(array: Any, values: Any) -> Callable:
    """Return a function of an axis and a side that gives the value to end on there, in the array's dtype."""
    values = asarray(values)
    if values.dtype != array.dtype:
        values = values.astype(array.dtype)
    spread = np.broadcast_to(values, (array.ndim, 2))
    return lambda axis, side: spread[axis, side]


def _joined(before: Any, padded: Any, after: Any, axis: int) -> Any:
    return np.concatenate([part for part in (before, padded, after) if part is not None], axis)


def _widened(shape: tuple[int, ...], axis: int, count: int) -> tuple[int, ...]:
    return (*shape[:axis], count, *shape[axis + 1 :])


def _constant(array: Any, constant_values: Any = 0) -> Callable:
    value = _pairs(array, constant_values)

    def make(padded: Any, axis: int, before: int, after: int) -> Any:
        def side(number: int, count: int) -> Any:
            return np.broadcast_to(value(axis, number), _widened(padded.shape, axis, count)) if count else None

        return _joined(side(0, before), padded, side(1, after), axis)

    return make


def _linear_ramp(array: Any, end_values: Any = 0) -> Callable:
    value = _pairs(array, end_values)

    def make(padded: Any, axis: int, before: int, after: int) -> Any:
        extent = padded.shape[axis]

        def side(number: int, count: int, edge: Any) -> Any:
            if not count:
                return None
            share = (np.arange(count) / count).astype(padded.dtype)
            share = np.reshape(share if number == 0 else share[::-1], _widened((1,) * padded.ndim, axis, count))
            return edge * share + value(axis, number) * (1 - share)

        left = side(0, before, padded[_at(axis, 0, 1)])
        return _joined(left, padded, side(1, after, padded[_at(axis, extent - 1, extent)]), axis)

    return make


def _statistic(function: Callable) -> Callable:
    def maker(array: Any, stat_length: Any = None) -> Callable:
        if stat_length is None:
            lengths = [[None, None]] * array.ndim
        else:
            lengths = np.broadcast_to(np.round(np.asarray(stat_length)).astype(int), (array.ndim, 2)).tolist()
            if any(length < 0 for pair in lengths for length in pair):
                raise ValueError("index can't contain negative values")

        def make(padded: Any, axis: int, before: int, after: int) -> Any:
            extent = padded.shape[axis]
            left, right = (extent if length is None else min(length, extent) for length in lengths[axis])
            if 0 in (left, right) and function in (np.max, np.min):
                raise ValueError("stat_length of 0 yields no value for padding")

            def side(count: int, start: int, stop: int) -> Any:
                if not count:
                    return None
                found = function(padded[_at(axis, start, stop)], axis=axis, keepdims=True)
                return np.broadcast_to(found, _widened(padded.shape, axis, count))

            return _joined(side(before, 0, left), padded, side(after, extent - right, extent), axis)

        return make

    return maker


def _by_index(mode: Any) -> Callable:
    def maker(array: Any, reflect_type: str = "even") -> Callable:
        def make(padded: Any, axis: int, before: int, after: int) -> Any:
            extent = padded.shape[axis]
            index = np.pad(np.arange(extent), (before, after), mode=mode)
            taken = np.take(padded, index, axis=axis)
            return _oddly(padded, taken, axis, index, before, mode) if reflect_type == "odd" and extent > 1 else taken

        return make

    return maker


def _oddly(padded: Any, taken: Any, axis: int, index: np.ndarray, before: int, mode: str) -> Any:
    """Return the odd extension, of the elements `taken` for the even one.

    Reflecting about an edge of value e maps y to 2e - y, so after any number of reflections an element is +-x[index] plus
    whole multiples of the two edges. The multiples follow from what NumPy makes of 0, 1, 2, ... (and their sum is 1).
    """
    extent = padded.shape[axis]
    place = np.arange(len(index)) - before
    turns = place // (extent if mode == "symmetric" else extent - 1)
    sign = np.where((turns % 2 == 0) | (place == extent - 1), 1, -1)
    ramp = np.pad(np.arange(extent), (before, len(index) - extent - before), mode=mode, reflect_type="odd")  # pyright: ignore
    last = (ramp - sign * index) // (extent - 1)

    def weights(numbers: np.ndarray) -> Any:
        return np.reshape(numbers.astype(padded.dtype), _widened((1,) * padded.ndim, axis, len(index)))

    left, right = padded[_at(axis, 0, 1)], padded[_at(axis, extent - 1, extent)]
    return taken * weights(sign) + left * weights(1 - sign - last) + right * weights(last)


def _by_function(array: Any, widths: tuple, function: Callable, keywords: dict) -> Any:
    """Compose padding by a function that writes into one vector at a time; each is a traced array of its own."""
    padded = apply(PAD, (array,), {"widths": widths, "values": 0})
    for axis, width in enumerate(widths):
        moved = np.moveaxis(padded, axis, -1)
        rows = []
        for place in np.ndindex(moved.shape[:-1]):
            row = np.copy(moved[place])
            function(row, np.array(width), axis, keywords)
            rows.append(row)
        if rows:
            padded = np.moveaxis(np.reshape(np.stack(rows), moved.shape), -1, axis)
    return in_same_order(padded, array)


_MAKERS: dict[Any, Callable] = {
    "constant": _constant,
    "linear_ramp": _linear_ramp,
    "maximum": _statistic(np.max),
    "minimum": _statistic(np.min),
    "mean": _statistic(np.mean),
    "median": _statistic(np.median),
    "edge": _by_index("edge"),
    "wrap": _by_index("wrap"),
    "reflect": _by_index("reflect"),
    "symmetric": _by_index("symmetric"),
}
