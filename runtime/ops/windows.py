"""Sliding windows over an array: a view in which every element stands in each window that holds it."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .. import phantom
from ..array import apply
from ..op import define, implements
from ..views import as_view
from .indexing import index_add


def _windows_rule(total: Any, g: Any, window: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """Add the cotangent of every offset within the window to the elements that stood there."""
    ndim = len(total.shape)
    for offset in product(*map(range, window)):
        starts = [0] * ndim
        for axis, step in zip(axes, offset, strict=True):
            starts[axis] += step
        index = tuple(slice(start, start + n) for start, n in zip(starts, g.shape[:ndim], strict=True))
        total = index_add(total, g[(..., *offset)], index, ())
    return total


WINDOWS = define(
    "sliding_window_view",
    lambda x, window, axes: np.lib.stride_tricks.sliding_window_view(x, window, axes),
    inputs="x",
    parameters=("window", "axes"),
    rules=_windows_rule,
    adds=True,
    infer=lambda x, window, axes: (np.lib.stride_tricks.sliding_window_view(x, window, axes), True),
    flops=lambda out, x, window, axes: float(math.prod(out.shape)),
    is_view=True,
    jvp="linear",
)


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False) -> Any:
    """Record a view of all windows of a shape; it cannot be written."""
    window = tuple(window_shape) if np.iterable(window_shape) else (window_shape,)
    np.lib.stride_tricks.sliding_window_view(phantom.contiguous(x.shape, np.bool_), window, axis)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim, allow_duplicate=True)

    def derive(base: Any) -> Any:
        return apply(WINDOWS, (base,), {"window": window, "axes": axes})

    return as_view(x, derive(x), derive, None)
