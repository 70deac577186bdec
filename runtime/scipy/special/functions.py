"""SciPy's special functions that are written in Python, for traced arrays: logsumexp, softmax, comb and others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ...array import Array, apply
from ...ops import softmax as soft
from ...ops.elementwise import stop_gradient
from ..replace import refuse, replaces
from . import gamma_functions as gammas
from .integrals import LAMBERTW
from .table import is_complex

polygamma = replaces("scipy.special", "polygamma")(gammas.polygamma)
multigammaln = replaces("scipy.special", "multigammaln")(gammas.multigammaln)


def _rows(x: Any, axis: Any) -> tuple[Any, tuple[int, ...]]:
    """Return `x` with the reduced axes made the last one, and their numbers."""
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(range(x.ndim)[a] for a in axes)
    rest = tuple(k for k in range(x.ndim) if k not in axes)
    moved = np.transpose(x, rest + axes)
    return np.reshape(moved, (*moved.shape[: len(rest)], math.prod(x.shape[k] for k in axes))), axes


def _back(rows: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Any:
    """Undo `_rows`."""
    order = tuple(k for k in range(len(shape)) if k not in axes) + axes
    return np.transpose(np.reshape(rows, tuple(shape[k] for k in order)), tuple(np.argsort(order).tolist()))


def _inexact(x: Any) -> Any:
    x = x if type(x) is Array else np.asarray(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


@replaces("scipy.special", "logsumexp")
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    """Return ``log(sum(b * exp(a)))`` without overflow; negative sums need ``return_sign``."""
    a = _inexact(a)
    if b is not None:
        b = _inexact(b)
        a, b = np.broadcast_arrays(a, b)
        a = np.where(np.equal(b, 0), -math.inf, a)
    if b is None and not is_complex(a) and not return_sign:
        rows, axes = _rows(a, axis)
        y = apply(soft.LOGSUMEXP, (rows,), {"axis": rows.ndim - 1, "keepdims": False})
        return np.reshape(y, _kept(a.shape, axes)) if keepdims else y
    peak = np.max(stop_gradient(np.real(a)), axis=axis, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0)
    terms = np.exp(a - peak) if b is None else b * np.exp(np.where(np.equal(b, 0), 0, a) - peak)
    total = np.sum(terms, axis=axis, keepdims=keepdims)
    peak = peak if keepdims else np.reshape(peak, total.shape)
    if not return_sign:
        return np.log(total) + peak
    size = np.absolute(total)
    sign = np.sign(total) if not is_complex(total) else total / np.where(np.equal(size, 0), 1, size)
    return np.log(size) + peak, sign


def _kept(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


@replaces("scipy.special", "softmax")
def softmax(x: Any, axis: Any = None) -> Any:
    """Return ``exp(x) / sum(exp(x))`` over `axis`, which may be several or None for all."""
    return _over(soft.SOFTMAX, x, axis)


@replaces("scipy.special", "log_softmax")
def log_softmax(x: Any, axis: Any = None) -> Any:
    """Return ``log(softmax(x))``."""
    return _over(soft.LOG_SOFTMAX, x, axis)


def _over(op: Any, x: Any, axis: Any) -> Any:
    x = _inexact(x)
    if isinstance(axis, int):
        return apply(op, (x,), {"axis": range(x.ndim)[axis]})
    rows, axes = _rows(x, axis)
    return _back(apply(op, (rows,), {"axis": rows.ndim - 1}), x.shape, axes)


if hasattr(special, "softplus"):

    @replaces("scipy.special", "softplus")
    def softplus(x: Any) -> Any:
        """Return ``log(1 + exp(x))``."""
        return np.logaddexp(0, x)


@replaces("scipy.special", "lambertw")
def lambertw(z: Any, k: Any = 0, tol: float = 1e-8) -> Any:
    """Return a branch of Lambert's function, complex."""
    return LAMBERTW(z, np.asarray(k, np.dtype("long")), tol)


@replaces("scipy.special", "comb")
def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:  # noqa: N803
    """Return binomial coefficients; 0 outside of ``0 <= k <= N``."""
    refuse("scipy.special.comb", exact=exact, repetition=repetition)
    is_inside = np.logical_and(np.less_equal(k, N), np.logical_and(np.greater_equal(N, 0), np.greater_equal(k, 0)))
    return np.where(is_inside, special.binom(N, k), 0)


@replaces("scipy.special", "perm")
def perm(N: Any, k: Any, exact: bool = False) -> Any:  # noqa: N803
    """Return ``N! / (N - k)!``; 0 outside of ``0 <= k <= N``."""
    refuse("scipy.special.perm", exact=exact)
    is_inside = np.logical_and(np.less_equal(k, N), np.logical_and(np.greater_equal(N, 0), np.greater_equal(k, 0)))
    return np.where(is_inside, special.poch(N - k + 1, k), 0)


@replaces("scipy.special", "factorial")
def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    """Return ``gamma(n + 1)``; 0 for negative `n`."""
    refuse("scipy.special.factorial", exact=exact, extend="" if extend == "zero" else extend)
    n = n.astype(np.result_type(n.dtype, np.float64))
    is_outside = np.less(n, 0)
    return np.where(is_outside, 0, special.gamma(np.where(is_outside, 0, n) + 1))
