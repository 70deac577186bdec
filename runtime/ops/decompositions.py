"""Triangular factorisations of (stacked) matrices: cholesky and qr.

cholesky: Murray, "Differentiation of the Cholesky decomposition", arXiv:1602.07527, 2016. qr: Seeger, Hetzel, Dai,
Meissner & Lawrence, "Auto-differentiating linear algebra", arXiv:1710.08717, 2017, with LAPACK's real diagonal of r; the
further columns of a complete q: Ballard et al., "Reconstructing Householder vectors from tall-skinny QR", 2014.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..errors import MissingRuleError
from ..layouts import in_c_order
from ..op import define, implements
from .lapack import adjoint, c_ordered, check_matrices, onto_triangle, part, real_dtype, result_dtype, workspace
from .linear_algebra import conjugated
from .solving import pinv, solve


def _cholesky_rule(g: Any, y: Any) -> Any:
    factor = adjoint(y)
    inner = np.tril(np.matmul(factor, conjugated(g)))
    inner = inner * (1 - 0.5 * np.eye(y.shape[-1], dtype=real_dtype(y.dtype)))
    half = solve(factor, inner)
    return conjugated(onto_triangle(adjoint(solve(factor, adjoint(half))), "L"))


CHOLESKY = define(
    "cholesky",
    c_ordered(np.linalg.cholesky),
    inputs="a",
    rules=_cholesky_rule,
    infer=lambda a: phantom.contiguous(a.shape, result_dtype(a)),
    flops=lambda out, a: 0.33 * a.size * a.shape[-1],
    workspace=workspace(1),
)


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """Record a Cholesky factor.

    NumPy reads one triangle of `a` only, the lower one (with `upper`, the upper one), so the gradient has zeros in the
    other, and an element off the diagonal carries the derivative of both of its mirror images.
    """
    check_matrices(a, square=True)
    return in_c_order(adjoint(apply(CHOLESKY, (adjoint(a),)))) if upper else apply(CHOLESKY, (a,))


def _run_qr(a: np.ndarray) -> np.ndarray:
    q, r = np.linalg.qr(a)
    return np.concatenate([q, r], axis=-2)


def _qr_rule(g: Any, y: Any) -> Any:
    n = y.shape[-1]
    m = y.shape[-2] - n
    q, r = y[..., :m, :], y[..., m:, :]
    gq, gr = conjugated(g[..., :m, :]), np.triu(conjugated(g[..., m:, :]))
    overlap = np.matmul(adjoint(q), gq)
    outer = np.matmul(gr, adjoint(r))
    turned = overlap - outer
    inner = outer + np.tril(turned - adjoint(turned), -1)
    if y.dtype.kind == "c":
        inner = inner + 1j * (np.imag(turned) * np.eye(n, dtype=real_dtype(y.dtype)))
    left = np.matmul(q, inner)
    if m > n:
        left = left + gq - np.matmul(q, overlap)
    return conjugated(adjoint(solve(r, adjoint(left))))


QR = define(
    "qr",
    _run_qr,
    inputs="a",
    rules=_qr_rule,
    infer=lambda a: phantom.contiguous((*a.shape[:-2], a.shape[-2] + a.shape[-1], a.shape[-1]), result_dtype(a)),
    flops=lambda out, a: 4.0 * a.size * a.shape[-1],
    workspace=workspace(4, packs=True),
)


def _complement_rule(g: Any, q: Any) -> Any:
    m, n = q.shape[-2:]
    g = conjugated(g)
    unit = np.eye(m, n, dtype=q.dtype)
    inverse = pinv(unit[:n] - q[..., :n, :])
    bottom = np.matmul(q[..., n:, :], inverse)
    pulled = np.matmul(inverse, np.matmul(adjoint(unit - q), g))
    share = np.concatenate([np.matmul(adjoint(bottom), adjoint(pulled)), adjoint(pulled)], axis=-2)
    return conjugated(share - np.matmul(g, bottom))


# With Householder reflections, the first columns of q determine the others (through the reflections):
# q2 = e2 + (e1 - q1) (1 - q11)^-h q21^h. NumPy makes the values, from `a`; all of the derivative goes through q1.
QR_COMPLEMENT = define(
    "qr_complement",
    lambda a, q: np.asarray(np.linalg.qr(a, "complete")[0][..., a.shape[-1] :], order="C"),
    inputs="a q",
    rules=(None, _complement_rule),
    infer=lambda a, q: phantom.contiguous((*a.shape[:-1], a.shape[-2] - a.shape[-1]), result_dtype(a)),
    flops=lambda out, a, q: 4.0 * a.shape[-2] * a.size,
    workspace=workspace(4),
)
_QRResult: Any = type(np.linalg.qr(np.ones((1, 1))))


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """Record a factorisation into a unitary and an upper triangular matrix, in the modes reduced, complete and r.

    The leading columns of `a`, as many as it has rows at most, must be linearly independent for it to have a derivative.
    Raises `MissingRuleError` for the mode raw.
    """
    if mode == "raw":
        raise MissingRuleError(
            "numpy.linalg.qr of a traced array has no mode 'raw' (LAPACK's reflections): use 'reduced', 'complete' or 'r'"
        )
    if mode not in ("reduced", "complete", "r"):
        raise ValueError(f"Unrecognized mode '{mode}'")
    check_matrices(a)
    m, n = a.shape[-2:]
    square = a[..., :m] if n > m else a
    packed = apply(QR, (square,))
    q, r = part(packed, slice(0, m), slice(None)), part(packed, slice(m, None), slice(None))
    if n > m:
        r = np.concatenate([r, np.matmul(adjoint(q), a[..., m:])], axis=-1)
    if mode == "r":
        return r
    if mode == "complete" and m > n:
        q = np.concatenate([q, apply(QR_COMPLEMENT, (a, q))], axis=-1)
        r = np.concatenate([r, np.zeros((*r.shape[:-2], m - n, n), r.dtype)], axis=-2)
    return _QRResult(q, r)
