"""softmax, log_softmax and logsumexp as single ops: one residual each, and no overflow."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import define


def _shifted(x: Any, axis: int) -> Any:
    peak = np.max(x, axis=axis, keepdims=True)
    return x - np.where(np.isfinite(peak), peak, 0)


def _run_softmax(x: Any, axis: int) -> Any:
    y = _shifted(x, axis)
    np.exp(y, out=y)
    y /= np.sum(y, axis=axis, keepdims=True)
    return y


def _run_log_softmax(x: Any, axis: int) -> Any:
    y = _shifted(x, axis)
    y -= np.log(np.sum(np.exp(y), axis=axis, keepdims=True))
    return y


def _run_logsumexp(x: Any, axis: int, keepdims: bool) -> Any:
    peak = np.max(x, axis=axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0)
    with np.errstate(divide="ignore"):
        y = np.log(np.sum(np.exp(x - peak), axis=axis, keepdims=True)) + peak
    return y if keepdims else np.squeeze(y, axis)


def _like(x: np.ndarray, axis: int) -> np.ndarray:
    return phantom.elementwise([x], x.dtype)


def _without_axis(x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
    shape = list(x.shape)
    shape[axis] = 1
    return phantom.contiguous(tuple(n for k, n in enumerate(shape) if keepdims or k != axis), x.dtype)


def _rows(out: np.ndarray, x: np.ndarray, axis: int) -> int:
    return 3 * (x.nbytes // max(x.shape[axis], 1))


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


def _logsumexp_rule(g: Any, x: Any, axis: int, keepdims: bool) -> Any:
    # Not exp(x - y): where x is large, y has no digits left for the logarithm of the count.
    return (g if keepdims else np.expand_dims(g, axis)) * softmax(x, axis)


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


def _axis(x: Any, axis: int) -> int:
    ndim = np.ndim(x)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


def softmax(x: Any, axis: int = -1) -> Any:
    """Return ``exp(x) / sum(exp(x))`` along `axis`, for plain and traced arrays alike.

    >>> import numpy as np, retape as rt
    >>> rt.softmax(np.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """
    return apply(SOFTMAX, (x,), {"axis": _axis(x, axis)})


def log_softmax(x: Any, axis: int = -1) -> Any:
    """Return ``log(softmax(x))`` along `axis`, exact where softmax underflows."""
    return apply(LOG_SOFTMAX, (x,), {"axis": _axis(x, axis)})


def logsumexp(x: Any, axis: int = -1, *, keepdims: bool = False) -> Any:
    """Return ``log(sum(exp(x)))`` along `axis`, without overflow."""
    return apply(LOGSUMEXP, (x,), {"axis": _axis(x, axis), "keepdims": keepdims})
