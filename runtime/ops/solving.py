"""Linear systems: solutions, inverses, pseudo-inverses, least squares and determinants of (stacked) matrices.

Rules of solve, inv, det and slogdet: Giles, "Collected matrix derivative results for forward and reverse mode
algorithmic differentiation", 2008. Of pinv and lstsq: Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973), for matrices
whose rank does not change.
"""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply, read
from ..op import OPS, define, implements
from . import lapack
from .axes import as_operand
from .lapack import adjoint, c_ordered, check_matrices, part, real_dtype, result_dtype, workspace
from .linear_algebra import conjugated, matmul


def _transposed(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def _infer_solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return phantom.contiguous((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), result_dtype(a, b))


SOLVE = define(
    "solve",
    c_ordered(np.linalg.solve),
    inputs="a b",
    rules=(
        lambda g, a, y: -np.matmul(solve(_transposed(a), g), _transposed(y)),
        lambda g, a: solve(_transposed(a), g),
    ),
    infer=_infer_solve,
    flops=lambda out, a, b: 0.67 * a.shape[-1] ** 3 * math.prod(a.shape[:-2]) + 2.0 * out.size * a.shape[-1],
    workspace=workspace(2),
    jvp=(lambda t, a, y: -solve(a, np.matmul(t, y)), lambda t, a: solve(a, t)),
)
INVERSE = define(
    "inv",
    c_ordered(np.linalg.inv),
    inputs="a",
    rules=lambda g, y: -np.matmul(_transposed(y), np.matmul(g, _transposed(y))),
    infer=lambda a: phantom.contiguous(a.shape, result_dtype(a)),
    flops=lambda out, a: 2.0 * out.size * a.shape[-1],
    workspace=workspace(2),
    jvp=lambda t, y: -np.matmul(y, np.matmul(t, y)),
)


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """Record the solution of linear systems; a `b` of one dimension is one right-hand side."""
    a, b = as_operand(a), as_operand(b)
    check_matrices(a, square=True)
    if b.ndim == 0 or b.shape[0 if b.ndim == 1 else -2] != a.shape[-1]:
        raise ValueError(f"solve: matrices of shape {a.shape} and right-hand sides of shape {b.shape} do not match")
    if b.ndim == 1:
        y = apply(SOLVE, (a, np.expand_dims(b, 1)))
        return np.reshape(y, y.shape[:-1])
    return apply(SOLVE, (a, b))


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    """Record an inverse."""
    check_matrices(a, square=True)
    return apply(INVERSE, (a,))


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """Compose the solution of a tensor equation of a reshape and `solve`."""
    a, b = as_operand(a), as_operand(b)
    if axes is not None:
        order = list(range(a.ndim))
        for k in axes:
            order.remove(k)
            order.insert(a.ndim, k)
        a = np.transpose(a, order)
    shape = a.shape[-(a.ndim - b.ndim) :]
    size = math.prod(shape)
    if a.size != size**2:
        raise np.linalg.LinAlgError(
            "Input arrays must satisfy the requirement prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        )
    return np.reshape(solve(np.reshape(a, (size, size)), np.reshape(b, (b.size,))), shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """Compose the inverse of a tensor of a reshape and `inv`."""
    if operator.index(ind) <= 0:
        raise ValueError("Invalid ind argument.")
    size = math.prod(a.shape[ind:])
    return np.reshape(inv(np.reshape(a, (size, -1))), a.shape[ind:] + a.shape[:ind])


def _pinv_rule(g: Any, a: Any, y: Any) -> Any:
    g = conjugated(g)
    yh = adjoint(y)
    result = -np.matmul(yh, np.matmul(g, yh))
    # Without full rank neither of these two terms vanishes; with it, one of them is zero or both are.
    outer = np.matmul(np.matmul(adjoint(g), y), yh)
    result = result + outer - np.matmul(a, np.matmul(y, outer))
    outer = np.matmul(yh, np.matmul(y, adjoint(g)))
    return conjugated(result + outer - np.matmul(np.matmul(outer, y), a))


PSEUDO_INVERSE = define(
    "pinv",
    c_ordered(lambda a, rcond: np.linalg.pinv(a, np.asarray(rcond))),
    inputs="a",
    parameters=("rcond",),
    rules=_pinv_rule,
    infer=lambda a, rcond: phantom.contiguous((*a.shape[:-2], a.shape[-1], a.shape[-2]), result_dtype(a)),
    flops=lambda out, a, rcond: 20.0 * out.size * min(a.shape[-2:]),
    workspace=workspace(9),
)


def _constant(x: Any, purpose: str) -> Any:
    """Return nested tuples of the plain numbers of `x`, on which the result depends piecewise constantly."""
    x = read(apply(OPS["stop_gradient"], (x,)), purpose) if type(x) is Array else np.asarray(x)
    return tuple(_constant(row, purpose) for row in x) if x.ndim else x.item()


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    """Record a pseudo-inverse; its derivative is that along changes of `a` that keep its rank."""
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    a = as_operand(a)
    check_matrices(a, square=bool(hermitian))
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else rtol
    if rcond is None:
        rcond = max(a.shape[-2:]) * float(np.finfo(a.dtype).eps)
    if hermitian:
        a = lapack.hermitian(a, "L")
    return apply(PSEUDO_INVERSE, (a,), {"rcond": _constant(rcond, "rcond of pinv")})


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> tuple:
    """Compose least squares of a pseudo-inverse: the solution, the squared residuals, the rank, the singular values.

    Where `a` has more rows than columns, whether there are residuals depends on its rank, which is then read.
    """
    a, b = as_operand(a), as_operand(b)
    columns = np.expand_dims(b, 1) if b.ndim == 1 else b
    for matrix in (a, columns):
        if matrix.ndim != 2:
            raise np.linalg.LinAlgError(f"{matrix.ndim}-dimensional array given. Array must be two-dimensional")
    m, n = a.shape
    if columns.shape[0] != m:
        raise np.linalg.LinAlgError("Incompatible dimensions")
    dtype = result_dtype(a, columns)
    a, columns = (x if x.dtype == dtype else x.astype(dtype) for x in (a, columns))
    cutoff = float(np.finfo(np.float64).eps) * max(m, n) if rcond is None else _constant(rcond, "rcond of lstsq")
    # A negative cutoff stands for the machine precision in LAPACK.
    cutoff = float(np.finfo(np.float64).eps) if cutoff < 0 else cutoff
    s = np.linalg.svdvals(a)
    rank = np.sum(np.greater(s, cutoff * np.max(s)), dtype=np.int32) if s.size else np.zeros((), np.int32)
    x = matmul(pinv(a, cutoff), columns)
    residuals = np.zeros(0, real_dtype(dtype))
    if m > n and int(rank) == n:
        left = columns - matmul(a, x)
        residuals = np.sum(np.real(conjugated(left) * left), axis=0)
    return (np.reshape(x, (n,)) if b.ndim == 1 else x), residuals, rank, s


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
        y = np.linalg.det(a)[..., None, None] * _transposed(np.linalg.inv(a))
    else:
        u, s, v, phase = _factors(a)
        y = phase * np.matmul(np.conj(u) * _others(s)[..., None, :], _transposed(v))
    return np.asarray(y, a.dtype, order="C")


def _run_cofactors_tangent(a: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return how the cofactors of `a` change along `x`, by products of all singular values but two."""
    u, s, v, phase = _factors(a)
    change = np.matmul(adjoint(u), np.matmul(x, v))
    n = s.shape[-1]
    products = _others(np.where(np.eye(n, dtype=bool), 1, s[..., None, :]))
    products[..., np.arange(n), np.arange(n)] = 0
    inner = -products * _transposed(change)
    inner[..., np.arange(n), np.arange(n)] = np.matmul(products, np.diagonal(change, 0, -2, -1)[..., None])[..., 0]
    return np.asarray(phase * np.matmul(np.matmul(np.conj(u), inner), _transposed(v)), a.dtype, order="C")


def _trace(x: Any) -> Any:
    return np.sum(x * np.eye(x.shape[-1], dtype=x.dtype), axis=(-2, -1), keepdims=True)


def _cofactors_tangent_rule(g: Any, a: Any, x: Any) -> Any:
    """The third derivative of det, by the inverse: of ``det(a) (tr y tr z - tr(y z))``, y = a^-1 x, z = a^-1 g."""
    inverse = inv(a)
    y, z = np.matmul(inverse, x), np.matmul(inverse, g)
    yz, zy = np.matmul(y, z), np.matmul(z, y)
    eye = np.eye(a.shape[-1], dtype=a.dtype)
    inner = (_trace(y) * _trace(z) - _trace(yz)) * eye - _trace(z) * y - _trace(y) * z + yz + zy
    return _transposed(np.matmul(inner, inverse)) * np.expand_dims(det(a), (-2, -1))


# The determinant and its derivatives are polynomials, also where the matrix is singular or has repeated singular values:
# so the cofactors (its first derivative) and their derivative are ops of their own, which the singular value
# decomposition evaluates, and not compositions of it. The third derivative asks for a matrix that has an inverse.
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
    return np.expand_dims(weight, (-2, -1)) * _transposed(inv(a))


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


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """Return the rank of plain numbers: it is piecewise constant."""
    values = [read(apply(OPS["stop_gradient"], (x,)), "a rank") if type(x) is Array else x for x in (A, tol, rtol)]
    return np.linalg.matrix_rank(values[0], values[1], hermitian, rtol=values[2])
