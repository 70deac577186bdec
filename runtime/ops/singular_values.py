"""The singular value decomposition of (stacked) matrices.

Rule: Townsend, "Differentiating the singular value decomposition", 2016; for complex matrices with the phases of LAPACK,
which makes the first row of v real, or that of u where the matrix has more columns than rows.

Where singular values are equal, or 0, the vectors may be any basis of one space: first derivatives of symmetric functions of
the singular values are right, and what the decomposition cannot tell is NaN (see `eigenvalues`). The further columns of u or
v that ``full_matrices=True`` gives move with their space in derivatives, and do not turn within it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import define, implements
from .axes import as_operand
from .eigenvalues import eigh, eigvalsh, with_phase
from .lapack import (
    adjoint,
    alike,
    check_matrices,
    inverse_gaps,
    magnitude,
    part,
    real_dtype,
    reciprocal,
    result_dtype,
    shaped,
    shared,
    with_diagonal,
    workspace,
)
from .linear_algebra import conjugated
from .masked import product


def _extents(shape: tuple[int, ...], full: bool) -> tuple[int, int, int]:
    """Return the columns of u, the number of singular values, the rows of v^h."""
    m, n = shape[-2:]
    k = min(m, n)
    return (m, k, n) if full else (k, k, k)


def _run_svd(a: np.ndarray, full: bool) -> np.ndarray:
    u, s, vh = np.linalg.svd(a, full)
    lead = a.shape[:-2]
    parts = [np.reshape(u, (*lead, math.prod(u.shape[-2:]))), s, np.reshape(vh, (*lead, math.prod(vh.shape[-2:])))]
    return np.concatenate(parts, axis=-1, dtype=u.dtype)


def _infer_svd(a: np.ndarray, full: bool) -> np.ndarray:
    p, k, q = _extents(a.shape, full)
    return phantom.contiguous((*a.shape[:-2], a.shape[-2] * p + k + q * a.shape[-1]), result_dtype(a))


def _parts(packed: Any, shape: tuple[int, ...], full: bool) -> tuple:
    """Return u, s and v^h, of a dtype all, of a packed decomposition of a matrix of `shape`."""
    m, n = shape[-2:]
    p, k, q = _extents(shape, full)
    u = shaped(part(packed, slice(0, m * p)), (*shape[:-2], m, p))
    s = part(packed, slice(m * p, m * p + k))
    return u, s, shaped(part(packed, slice(m * p + k, None)), (*shape[:-2], q, n))


def _without_complement(x: Any, g: Any, k: int) -> tuple:
    """Return the first `k` columns of `x` and their cotangent, which takes over that of the others."""
    first, others = x[..., :k], x[..., k:]
    return first, g[..., :k] - np.matmul(others, np.matmul(adjoint(g[..., k:]), first))


def _svd_rule(g: Any, y: Any, a_shape: tuple[int, ...], full: bool) -> Any:
    m, n = a_shape[-2:]
    k = min(m, n)
    u, s, vh = _parts(y, a_shape, full)
    s, v = np.real(s), adjoint(vh)
    gu, gs, gvh = _parts(g, a_shape, full)
    gu, gs, gv = conjugated(gu), np.real(gs), np.swapaxes(gvh, -1, -2)
    if full and m > k:
        u, gu = _without_complement(u, gu, k)
    if full and n > k:
        v, gv = _without_complement(v, gv, k)
    inverse = reciprocal(s, magnitude(s), math.nan)
    gs = shared(alike(gs, s), s)
    if y.dtype.kind == "c":
        turned_u = np.imag(np.sum(conjugated(u) * gu, axis=-2, keepdims=True))
        turned_v = np.imag(np.sum(conjugated(v) * gv, axis=-2, keepdims=True))
        # Both turn together; what is left is how u turns against v.
        if m >= n:
            gv, apart = with_phase(gv, turned_u + turned_v, v, 0), turned_u
        else:
            gu, apart = with_phase(gu, turned_u + turned_v, u, 0), -turned_v
        gs = gs + 1j * product(apart[..., 0, :], inverse)
    over_u, over_v = np.matmul(adjoint(u), gu), np.matmul(adjoint(v), gv)
    rows, columns = np.expand_dims(s, -1), np.expand_dims(s, -2)
    gaps = inverse_gaps(s) * reciprocal(rows + columns, np.expand_dims(magnitude(s), -1), 1)  # not read, where both are 0
    turn_u, turn_v = (product(x, gaps) - product(adjoint(x), gaps) for x in (over_u, over_v))
    inner = with_diagonal(turn_u * columns + rows * turn_v, gs)
    result = np.matmul(u, np.matmul(inner, adjoint(v)))
    scale = np.expand_dims(inverse, -2)
    if m > k:
        result = result + np.matmul(product(gu - np.matmul(u, over_u), scale), adjoint(v))
    if n > k:
        result = result + np.matmul(u, adjoint(product(gv - np.matmul(v, over_v), scale)))
    return conjugated(result)


SVD = define(
    "svd",
    _run_svd,
    inputs="a",
    parameters=("full",),
    rules=_svd_rule,
    infer=_infer_svd,
    flops=lambda out, a, full: 20.0 * a.size * min(a.shape[-2:]),
    workspace=workspace(3, packs=True),
)


def _singular_values_rule(g: Any, a: Any) -> Any:
    u, s, vh = _parts(apply(SVD, (a,), {"full": False}), a.shape, False)
    g = np.expand_dims(shared(g, np.real(s)), -2)
    is_idle = np.equal(g, 0)  # as in `eigenvalues`
    return conjugated(np.matmul(np.where(is_idle, 0, u) * g, np.where(np.swapaxes(is_idle, -1, -2), 0, vh)))


SINGULAR_VALUES = define(
    "svdvals",
    lambda a: np.asarray(np.linalg.svd(a, compute_uv=False), order="C"),
    inputs="a",
    rules=_singular_values_rule,
    infer=lambda a: phantom.contiguous((*a.shape[:-2], min(a.shape[-2:])), real_dtype(result_dtype(a))),
    flops=lambda out, a: 4.0 * a.size * min(a.shape[-2:]),
    workspace=workspace(2),
)
_SVDResult: Any = type(np.linalg.svd(np.ones((1, 1))))


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Record a singular value decomposition, or the singular values alone; of Hermitian matrices by their eigenvalues."""
    a = as_operand(a)
    check_matrices(a, square=bool(hermitian))
    if not hermitian:
        if not compute_uv:
            return apply(SINGULAR_VALUES, (a,))
        u, s, vh = _parts(apply(SVD, (a,), {"full": bool(full_matrices)}), a.shape, bool(full_matrices))
        return _SVDResult(u, np.real(s), vh)
    if not compute_uv:
        return np.flip(np.sort(np.absolute(eigvalsh(a))), -1)
    w, v = eigh(a)
    order = np.flip(np.argsort(np.absolute(w)), -1)
    sign = np.take_along_axis(np.copysign(1.0, w), order, axis=-1)
    s = np.take_along_axis(np.absolute(w), order, axis=-1)
    u = np.take_along_axis(v, np.expand_dims(order, -2), axis=-1)
    return _SVDResult(u, s, adjoint(u * np.expand_dims(sign, -2)))


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    """Record the singular values."""
    return svd(x, compute_uv=False)
