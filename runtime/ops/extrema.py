"""Maxima and minima, their places, and truths of all or any; ties share a derivative equally."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import define, implements
from .axes import (
    as_operand,
    checked_axis,
    count,
    expand,
    is_given,
    is_kept,
    is_mask,
    masked,
    reduced,
    reduced_shape,
)
from .sums import along_first, with_initial


def _share(x: Any, y: Any, dtype: Any, axis: Any, keepdims: bool) -> Any:
    """Return 1 / ties where an element is the extremum, 0 elsewhere; NaN where the extremum is."""
    won = np.equal(x, expand(y, x.shape, axis, keepdims)).astype(dtype)
    ties = np.sum(won, axis=axis, keepdims=True)
    return won / np.where(np.equal(ties, 0), math.nan, ties)


def _extremum(name: str, ufunc: np.ufunc) -> Any:
    return define(
        name,
        lambda x, axis, keepdims: ufunc.reduce(x, axis=axis, keepdims=keepdims),
        inputs="x",
        parameters=("axis", "keepdims"),
        rules=lambda g, x, y, axis, keepdims: _share(x, y, g.dtype, axis, keepdims) * expand(g, x.shape, axis, keepdims),
        infer=lambda x, axis, keepdims: reduced(x, axis, keepdims, np.result_type(x)),
        flops=lambda out, x, axis, keepdims: float(x.size),
        jvp=lambda t, x, y, axis, keepdims: np.sum(_share(x, y, t.dtype, axis, keepdims) * t, axis=axis, keepdims=keepdims),
    )


MAXIMUM = _extremum("max", np.maximum)
MINIMUM = _extremum("min", np.minimum)


def _least(ufunc: np.ufunc, dtype: Any) -> Any:
    """Return the number that never is the extremum where there is another, so that a starting value keeps its gradient."""
    sign = -1 if ufunc is np.maximum else 1
    if dtype.kind == "b":
        return sign > 0
    if dtype.kind in "iu":
        return np.iinfo(dtype).min if sign < 0 else np.iinfo(dtype).max
    return complex(sign * math.inf, sign * math.inf) if dtype.kind == "c" else sign * math.inf


def _reduce(op: Any, ufunc: np.ufunc, a: Any, axis: Any, keepdims: Any, initial: Any, where: Any) -> Any:
    a = as_operand(a)
    axis = checked_axis(axis, a.ndim)
    if not is_given(initial):
        if is_mask(where):
            raise ValueError(
                f"reduction operation {ufunc.__name__!r} does not have an identity, so to use a where mask one has to "
                "specify 'initial'"
            )
        if not count(a, axis):
            raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
    elif is_mask(where):
        a = masked(a, where, _least(ufunc, a.dtype))
    if count(a, axis):
        y = apply(op, (a,), {"axis": axis, "keepdims": is_kept(keepdims)})
    else:
        y = np.sum(a, axis=axis, keepdims=is_kept(keepdims)) + as_operand(initial).astype(a.dtype)
    return with_initial(ufunc, y, initial)


@implements(np.max, np.amax)
def maximum(a, axis=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Record a maximum; ties share the gradient equally."""
    return _reduce(MAXIMUM, np.maximum, a, axis, keepdims, initial, where)


@implements(np.min, np.amin)
def minimum(a, axis=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Record a minimum; ties share the gradient equally."""
    return _reduce(MINIMUM, np.minimum, a, axis, keepdims, initial, where)


@implements(np.ptp)
def ptp(a, axis=None, out=None, keepdims=False) -> Any:
    """Compose the range of the values."""
    return maximum(a, axis, keepdims=keepdims) - minimum(a, axis, keepdims=keepdims)


implements((np.maximum, "reduce"))(along_first(maximum, has_dtype=False))  # pyright: ignore[reportArgumentType]
implements((np.minimum, "reduce"))(along_first(minimum, has_dtype=False))  # pyright: ignore[reportArgumentType]


def _constant_reduction(name: str, function: Any, infer: Any, workspace: Any = None) -> Any:
    return define(
        name,
        lambda x, axis, keepdims: function(x, axis=axis, keepdims=keepdims),
        inputs="x",
        parameters=("axis", "keepdims"),
        infer=infer,
        workspace=workspace,
        zero_gradient=True,
    )


def _place(function: Any) -> None:
    # NumPy searches along the last axis, of a copy if need be.
    op = _constant_reduction(
        function.__name__,
        function,
        lambda x, axis, keepdims: phantom.contiguous(reduced_shape(np.shape(x), axis, keepdims), np.intp),
        lambda out, x, axis, keepdims: x.nbytes + out.nbytes,
    )

    @implements(function)
    def place(a, axis=None, out=None, *, keepdims=False) -> Any:
        a = as_operand(a)
        if isinstance(axis, tuple):
            raise TypeError("'tuple' object cannot be interpreted as an integer")
        return apply(op, (a,), {"axis": checked_axis(axis, a.ndim), "keepdims": is_kept(keepdims)})


def _truth(function: Any, neutral: bool) -> None:
    op = _constant_reduction(function.__name__, function, lambda x, axis, keepdims: reduced(x, axis, keepdims, np.bool_))

    @implements(function)
    def truth(a, axis=None, out=None, keepdims=False, *, where=True) -> Any:
        a = as_operand(a)
        if is_mask(where):
            a = masked(a, where, neutral)
        return apply(op, (a,), {"axis": checked_axis(axis, a.ndim), "keepdims": is_kept(keepdims)})


_place(np.argmax)
_place(np.argmin)
_truth(np.any, False)
_truth(np.all, True)
