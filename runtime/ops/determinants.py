"""Determinants of (stacked) matrices, and their signs and logarithms.

Rules: Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation", 2008, with
cofactors in place of the inverse where the matrix may have none.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import OPS, define, implements
from .lapack import adjoint, c_ordered, check_matrices, part, result_dtype, transposed, workspace
from .solving import inv


def _others(s: np.ndarray) -> np.ndarray:
    """Return, for each number of the last axis, the product of all the others."""
    ones = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([ones, s[..., :-1]], axis=-1), axis=-1)
    after = np.cumprod(np.concatenate([ones, s[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
    return before * after


def _is_well_conditioned(a: np.ndarray) -> bool:
    """Tell whether inverses of all matrices lose at most half of the digits."""
    if not a.size:
        return True
    with np.errstate(all="ignore"):
        try:
            inverse = np.linalg.inv(a)
        except np.linalg.LinAlgError:
            return False
        condition = np.abs(a).sum(axis=-1).max(axis=-1) * np.abs(inverse).sum(axis=-1).max(axis=-1)
    return bool(np.all(condition < 0.1 / math.sqrt(np.finfo(a.dtype).eps)))


def _factors(a: np.ndarray) -> tuple:
    """Return u, s, v and the determinant of ``u @ v^h``, of a singular value decomposition."""
    u, s, vh = np.linalg.svd(a)
    return u, s, adjoint(vh), np.linalg.det(np.matmul(u, vh))[..., None, None]


def _run_cofactors(a: np.ndarray) -> np.ndarray:
    if _is_well_conditioned(a):
        y = np.linalg.det(a)[..., None, None] * transposed(np.linalg.inv(a))
    else:
        u, s, v, phase = _factors(a)
        y = phase * np.matmul(np.conj(u) * _others(s)[..., None, :], transposed(v))
    return np.asarray(y, a.dtype, order="C")


def _run_cofactors_tangent(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return how the cofactors of `a` change along `x`, by products of all singular values but two."""
    u, s, v, phase = _factors(a)
    change = np.matmul(adjoint(u), np.matmul(x, v))
    n = s.shape[-1]
    products = _others(np.where(np.eye(n, dtype=bool), 1, s[..., None, :]))
    products[..., np.arange(n), np.arange(n)] = 0
    inner = -products * transposed(change)
    inner[..., np.arange(n), np.arange(n)] = np.matmul(products, np.diagonal(change, 0, -2, -1)[..., None])[..., 0]
    return np.asarray(phase * np.matmul(np.matmul(np.conj(u), inner), transposed(v)), a.dtype, order="C")


def _trace(x: Any) -> Any:
    return np.sum(x * np.eye(x.shape[-1], dtype=x.dtype), axis=(-2, -1), keepdims=True)


def _cofactors_tangent_rule(g: Any, a: Any, x: Any) -> Any:
    """The third derivative of det, by the inverse: of ``det(a) (tr y tr z - tr(y z))``, y = a^-1 x, z = a^-1 g.

    Of three rows or less, det has degree 3 or less: its third derivative is the same everywhere.
    """
    if a.shape[-1] < 3:
        return np.zeros(a.shape, a.dtype)
    if a.shape[-1] == 3:
        return apply(COFACTORS_TANGENT, (g, x))
    inverse = inv(a)
    y, z = np.matmul(inverse, x), np.matmul(inverse, g)
    yz, zy = np.matmul(y, z), np.matmul(z, y)
    eye = np.eye(a.shape[-1], dtype=a.dtype)
    inner = (_trace(y) * _trace(z) - _trace(yz)) * eye - _trace(z) * y - _trace(y) * z + yz + zy
    return transposed(np.matmul(inner, inverse)) * np.expand_dims(det(a), (-2, -1))


# The determinant and its derivatives are polynomials, also where the matrix is singular or has repeated singular values:
# so the cofactors (its first derivative) and their derivative are ops of their own, which the singular value
# decomposition evaluates, and not compositions of it. The third derivative of more than three rows asks for an inverse.
COFACTORS = define(
    "cofactors",
    _run_cofactors,
    inputs="a",
    rules=lambda g, a: apply(COFACTORS_TANGENT, (a, g)),
    infer=lambda a: phantom.contiguous(a.shape, a.dtype),
    flops=lambda out, a: 4.0 * out.size * a.shape[-1],
    workspace=workspace(8),
    jvp=lambda t, a: apply(COFACTORS_TANGENT, (a, t)),
)
COFACTORS_TANGENT = define(
    "cofactors_tangent",
    _run_cofactors_tangent,
    inputs="a x",
    rules=(_cofactors_tangent_rule, lambda g, a: apply(COFACTORS_TANGENT, (a, g))),
    infer=lambda a, x: phantom.contiguous(a.shape, a.dtype),
    flops=lambda out, a, x: 30.0 * out.size * a.shape[-1],
    workspace=workspace(9),
)
DETERMINANT = define(
    "det",
    c_ordered(np.linalg.det),
    inputs="a",
    rules=lambda g, a: np.expand_dims(g, (-2, -1)) * apply(COFACTORS, (a,)),
    infer=lambda a: phantom.contiguous(a.shape[:-2], result_dtype(a)),
    flops=lambda out, a: 0.67 * a.size * a.shape[-1],
    workspace=workspace(1),
    jvp=lambda t, a: np.sum(t * apply(COFACTORS, (a,)), axis=(-2, -1)),
)


@implements(np.linalg.det)
def det(a: Any) -> Any:
    """Record a determinant; its gradient, the cofactors, is exact for singular matrices too."""
    check_matrices(a, square=True)
    return apply(DETERMINANT, (a,))


def _run_slogdet(a: np.ndarray) -> np.ndarray:
    sign, logarithm = np.linalg.slogdet(a)
    return np.asarray(np.stack([sign, logarithm.astype(sign.dtype)], axis=-1), order="C")


def _slogdet_rule(g: Any, a: Any, y: Any) -> Any:
    weight = g[..., 1]
    if a.dtype.kind == "c":
        # The sign is exp(i angle), and the angle moves by the imaginary part of tr(a^-1 da).
        weight = np.real(weight) + 1j * np.imag(g[..., 0] * y[..., 0])
    return np.expand_dims(weight, (-2, -1)) * transposed(inv(a))


SLOGDET = define(
    "slogdet",
    _run_slogdet,
    inputs="a",
    rules=_slogdet_rule,
    infer=lambda a: phantom.contiguous((*a.shape[:-2], 2), result_dtype(a)),
    flops=lambda out, a: 0.67 * a.size * a.shape[-1],
    workspace=workspace(1, packs=True),
)
_SlogdetResult: Any = type(np.linalg.slogdet(np.ones((1, 1))))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """Record the sign and the logarithm of the absolute value of a determinant; the sign of a real one is constant."""
    check_matrices(a, square=True)
    packed = apply(SLOGDET, (a,))
    sign = part(packed, 0)
    if a.dtype.kind != "c":
        sign = apply(OPS["stop_gradient"], (sign,))
    return _SlogdetResult(sign, np.real(part(packed, 1)))
