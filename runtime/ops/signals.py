"""Sampled signals: convolution and correlation, interpolation between samples, unwrapping of phases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .. import phantom
from ..array import Array, apply
from ..errors import MissingRuleError
from ..layouts import in_c_order
from ..op import define, implements
from .axes import as_operand
from .histograms import sums_by_bin
from .index_templates import Slot
from .indexing import gather


def _convolved_length(n: int, m: int, mode: str) -> int:
    return {"full": n + m - 1, "same": max(n, m), "valid": abs(n - m) + 1}[mode]


def _convolve_share(g: Any, other: Any, extent: int, mode: str) -> Any:
    """Return the cotangent of the operand of `extent` numbers; the mode tells which part of the full product `g` is."""
    size = other.shape[0]
    if mode == "valid":
        if extent >= size:
            return np.convolve(g, other[::-1], "full")
        return np.convolve(other[::-1], g, "valid")
    if mode == "same":
        shorter = min(extent, size)
        before = (shorter - 1) // 2
        g = np.pad(g, [(before, shorter - 1 - before)])
    return np.convolve(g, other[::-1], "valid")


CONVOLVE = define(
    "convolve",
    np.convolve,
    inputs="a v",
    parameters=("mode",),
    rules=(
        lambda g, v, a_shape, mode: _convolve_share(g, v, a_shape[0], mode),
        lambda g, a, v_shape, mode: _convolve_share(g, a, v_shape[0], mode),
    ),
    infer=lambda a, v, mode: phantom.contiguous((_convolved_length(a.size, v.size, mode),), np.result_type(a, v)),
    flops=lambda out, a, v, mode: 2.0 * a.size * v.size,
    workspace=lambda out, a, v, mode: (a.size + v.size) * out.itemsize,
    jvp="multilinear",
)


def _operands(a: Any, v: Any, mode: Any) -> tuple[Any, Any]:
    """Return both operands with one dimension. Raises what NumPy raises for empty ones, more dimensions, other modes."""
    a, v = (np.reshape(x, (1,)) if x.ndim == 0 else x for x in (as_operand(a), as_operand(v)))
    if a.ndim > 1 or v.ndim > 1:
        raise ValueError("object too deep for desired array")
    for x, name in ((a, "a"), (v, "v")):
        if x.shape[0] == 0:
            raise ValueError(f"{name} cannot be empty")
    if mode not in ("full", "same", "valid"):
        np.convolve(np.ones(1), np.ones(1), mode)
        raise MissingRuleError(f"convolution of traced arrays knows the modes 'full', 'same' and 'valid', not {mode!r}")
    return a, v


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: Any = "full") -> Any:
    """Record a convolution."""
    return apply(CONVOLVE, _operands(a, v, mode), {"mode": mode})


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: Any = "valid") -> Any:
    """Compose a correlation of a convolution with the reversed conjugate."""
    a, v = _operands(a, v, mode)
    v = np.conjugate(v) if v.dtype.kind == "c" else v
    if a.shape[0] < v.shape[0]:
        # As NumPy has it, which sums, and keeps the middle, as seen from the longer operand.
        return in_c_order(np.flip(convolve(np.flip(a), v, mode)))
    return convolve(a, np.flip(v), mode)


INTERVAL = define(
    "interval",
    lambda x, xp: np.clip(np.searchsorted(xp, x, side="right") - 1, 0, xp.shape[0] - 2),
    inputs="x xp",
    infer=lambda x, xp: phantom.contiguous(np.shape(x), np.intp),
    workspace=lambda out, x, xp: 2 * out.nbytes,
    zero_gradient=True,
)


def _pick(a: Any, places: Any) -> Any:
    return gather(a, (Slot(0),), (places,))


def _line(x: Any, xp: Any, fp: Any) -> tuple[Any, Any, Any]:
    """Return for each x its interval, the slope there (0 outside of all), and its place in it from 0 to 1."""
    left = apply(INTERVAL, (x, xp))
    width = _pick(xp, left + 1) - _pick(xp, left)
    is_inside = np.greater_equal(x, xp[0]) & np.less_equal(x, xp[-1]) & np.greater(width, 0)
    width = np.where(is_inside, width, 1.0)
    slope = np.where(is_inside, (_pick(fp, left + 1) - _pick(fp, left)) / width, 0.0)
    beyond = np.greater_equal(x, xp[-1]).astype(xp.dtype)
    return left, slope, np.where(is_inside, (x - _pick(xp, left)) / width, beyond)


def _interp_rule_x(g: Any, x: Any, xp: Any, fp: Any) -> Any:
    return g * _line(x, xp, fp)[1]


def _interp_rule_xp(g: Any, x: Any, xp: Any, fp: Any) -> Any:
    left, slope, place = _line(x, xp, fp)
    share = np.real(-g * slope)
    size = xp.shape[0]
    return sums_by_bin(share * (1 - place), left, size) + sums_by_bin(share * place, left + 1, size)


def _interp_rule_fp(g: Any, x: Any, xp: Any, fp: Any) -> Any:
    left, _, place = _line(x, xp, fp)
    size = xp.shape[0]
    return sums_by_bin(g * (1 - place), left, size) + sums_by_bin(g * place, left + 1, size)


INTERP = define(
    "interp",
    np.interp,
    inputs="x xp fp",
    rules=(_interp_rule_x, _interp_rule_xp, _interp_rule_fp),
    infer=lambda x, xp, fp: phantom.contiguous(np.shape(x), fp.dtype),
    flops=lambda out, x, xp, fp: out.size * (5.0 + math.log2(xp.size + 1)),
    workspace=lambda out, x, xp, fp: 3 * fp.nbytes + xp.nbytes + 2 * out.nbytes,
    jvp=(
        lambda t, x, xp, fp: t * _line(x, xp, fp)[1],
        lambda t, x, xp, fp: -_line(x, xp, fp)[1] * apply(INTERP, (x, xp, t)),
        lambda t, x, xp: apply(INTERP, (x, xp, t)),
    ),
)


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Record an interpolation in double precision, as NumPy has it; at a sample the slope is that of its right side."""
    x, xp, fp = as_operand(x), as_operand(xp), as_operand(fp)
    for name, a in (("x", x), ("xp", xp)):
        if a.dtype.kind == "c":
            raise TypeError(f"Cannot cast array data from {a.dtype!r} to dtype('float64'): {name} is complex")
    if xp.ndim != 1 or fp.ndim != 1:
        raise ValueError("Data points must be 1-D sequences")
    if xp.shape != fp.shape:
        raise ValueError("fp and xp are not of the same length.")
    if not xp.shape[0]:
        raise ValueError("array of sample points is empty")
    x, xp = x.astype(np.float64, copy=False), xp.astype(np.float64, copy=False)
    fp = fp.astype(np.complex128 if fp.dtype.kind == "c" else np.float64, copy=False)
    for end in (left, right):
        if end is not None and np.iscomplexobj(end) and fp.dtype.kind != "c":
            raise TypeError("a complex left= or right= needs a complex fp")
    if period is not None:
        if type(period) is not Array and period == 0:
            raise ValueError("period must be a non-zero value")
        period = np.absolute(period)
        x, xp = np.remainder(x, period), np.remainder(xp, period)
        order = np.argsort(xp)
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
        left = right = None
    if xp.shape[0] == 1:
        y = np.broadcast_to(fp[0], x.shape) + np.zeros(x.shape)
    else:
        y = apply(INTERP, (x, xp, fp))
    y = y if left is None else np.where(np.less(x, xp[0]), left, y)
    return y if right is None else np.where(np.greater(x, xp[-1]), right, y)


UNWRAP = define(
    "unwrap",
    lambda p, discont, axis, period: np.unwrap(p, discont, axis, period=period),
    inputs="p",
    parameters=("discont", "axis", "period"),
    rules=lambda g: g,
    infer=lambda p, discont, axis, period: phantom.elementwise(
        [p], np.unwrap(np.zeros(2, p.dtype), discont, period=period).dtype
    ),
    flops=lambda out, *_, **__: 10.0 * out.size,
    workspace=lambda out, *_, **__: 7 * out.nbytes,
    jvp=lambda t: t,
)


@implements(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: Any = -1, *, period: Any = 2 * math.pi) -> Any:
    """Record unwrapping: whole periods are added, so the gradient goes through as it is."""
    if p.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    for name, number in (("discont", discont), ("period", period)):
        if type(number) is Array or np.ndim(number):
            raise MissingRuleError(f"numpy.unwrap of a traced array takes {name}= as a plain number")
    return apply(UNWRAP, (p,), {"discont": discont, "axis": normalize_axis_index(axis, p.ndim), "period": period})
