"""softmax, log_softmax and logsumexp as single ops: one residual each, and no overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply, settled
from ..op import OPS, define
from .axes import as_operand, checked_axis, count, expand, reduced_shape


def _peak(x: Any, axis: Any) -> Any:
    """Return the largest real part along `axis`, or 0 where that is not finite."""
    peak = np.max(x.real if x.dtype.kind == "c" else x, axis=axis, keepdims=True)
    return np.where(np.isfinite(peak), peak, 0)


def _shifted(x: Any, axis: Any) -> Any:
    return np.asarray(x - _peak(x, axis))


def _run_softmax(x: Any, axis: Any) -> Any:
    y = _shifted(x, axis)
    np.exp(y, out=y)
    y /= np.sum(y, axis=axis, keepdims=True)
    return y


def _run_log_softmax(x: Any, axis: Any) -> Any:
    y = _shifted(x, axis)
    y -= np.log(np.sum(np.exp(y), axis=axis, keepdims=True))
    return y


def _run_logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    peak = _peak(x, axis)
    with np.errstate(divide="ignore"):
        y = np.log(np.sum(np.exp(x - peak), axis=axis, keepdims=True)) + peak
    return np.asarray(y if keepdims else np.squeeze(y, axis), order="C")


def _like(x: np.ndarray, axis: Any) -> np.ndarray:
    return phantom.elementwise([x], x.dtype)


def _without_axis(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    return phantom.contiguous(reduced_shape(x.shape, axis, keepdims), x.dtype)


def _rows(out: np.ndarray, x: np.ndarray, axis: Any) -> int:
    return 3 * (x.nbytes // max(count(x, axis), 1))


SOFTMAX = define(
    "softmax",
    _run_softmax,
    inputs="x",
    parameters=("axis",),
    rules=lambda g, y, axis: y * (g - np.sum(g * y, axis=axis, keepdims=True)),
    infer=_like,
    flops=lambda out, x, axis: 20.0 * out.size,
    workspace=_rows,
)
LOG_SOFTMAX = define(
    "log_softmax",
    _run_log_softmax,
    inputs="x",
    parameters=("axis",),
    rules=lambda g, y, axis: g - np.exp(y) * np.sum(g, axis=axis, keepdims=True),
    infer=_like,
    flops=lambda out, x, axis: 20.0 * out.size,
    workspace=lambda out, x, axis: x.nbytes + _rows(out, x, axis),
)


def _logsumexp_rule(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    # Not exp(x - y): where x is large, y has no digits left for the logarithm of the count.
    return expand(g, x.shape, axis, keepdims) * softmax(x, axis)


LOGSUMEXP = define(
    "logsumexp",
    _run_logsumexp,
    inputs="x",
    parameters=("axis", "keepdims"),
    rules=_logsumexp_rule,
    infer=_without_axis,
    flops=lambda out, x, axis, keepdims: 20.0 * x.size,
    workspace=lambda out, x, axis, keepdims: 2 * x.nbytes + _rows(out, x, axis),
)


def _operand(x: Any, axis: Any) -> tuple[Any, Any]:
    """Return `x` as a floating array and the axes as the ops take them: None becomes all of them."""
    x = as_operand(x)
    axis = checked_axis(axis, x.ndim)
    if x.dtype.kind in "biu":
        x = x.astype(np.float64)
    if axis is None:
        axis = tuple(range(x.ndim))
    return x, axis if isinstance(axis, tuple) else axis % max(x.ndim, 1)


def softmax(x: Any, axis: int | tuple[int, ...] | None = -1) -> Any:
    """Return ``exp(x) / sum(exp(x))`` along `axis` (an axis, a tuple of axes, None for all), for plain and traced arrays.

    >>> import numpy as np, retape as rt
    >>> rt.softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    x, axis = _operand(x, axis)
    return apply(SOFTMAX, (x,), {"axis": axis})


def log_softmax(x: Any, axis: int | tuple[int, ...] | None = -1) -> Any:
    """Return ``log(softmax(x))`` along `axis`, exact where softmax underflows."""
    x, axis = _operand(x, axis)
    return apply(LOG_SOFTMAX, (x,), {"axis": axis})


def logsumexp(x: Any, axis: int | tuple[int, ...] | None = -1, *, b: Any = None, keepdims: bool = False) -> Any:
    """Return ``log(sum(b * exp(x)))`` along `axis`, without overflow; the weights `b` are 1 unless given.

    >>> import numpy as np, retape as rt
    >>> float(rt.logsumexp(np.array([1000.0, 1000.0]), b=np.array([0.25, 0.75])))
    1000.0
    """
    if b is not None:
        b = as_operand(b)
        x = np.broadcast_to(x, np.broadcast_shapes(np.shape(x), b.shape))
    x, axis = _operand(x, axis)
    if b is None:
        return apply(LOGSUMEXP, (x,), {"axis": axis, "keepdims": bool(keepdims)})
    peak = _peak(settled(apply(OPS["stop_gradient"], (x,)), "an index") if type(x) is Array else x, axis)
    y = np.log(np.sum(b * np.exp(x - peak), axis=axis, keepdims=True)) + peak
    return np.reshape(y, reduced_shape(x.shape, axis, bool(keepdims)))
