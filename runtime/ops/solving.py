"""Linear systems: solutions, inverses, pseudo-inverses and least squares of (stacked) matrices.

Rules of solve and inv: Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation", 2008. Of pinv and lstsq: Golub & Pereyra, SIAM J. Numer. Anal. 10 (1973), for matrices
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
from .lapack import adjoint, c_ordered, check_matrices, real_dtype, result_dtype, transposed, workspace
from .linear_algebra import conjugated, matmul


def _infer_solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return phantom.contiguous((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), result_dtype(a, b))


SOLVE = define(
    "solve",
    c_ordered(np.linalg.solve),
    inputs="a b",
    rules=(
        lambda g, a, y: -np.matmul(solve(transposed(a), g), transposed(y)),
        lambda g, a: solve(transposed(a), g),
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
    rules=lambda g, y: -np.matmul(transposed(y), np.matmul(g, transposed(y))),
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


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """Return the rank of plain numbers: it is piecewise constant."""
    values = [read(apply(OPS["stop_gradient"], (x,)), "a rank") if type(x) is Array else x for x in (A, tol, rtol)]
    return np.linalg.matrix_rank(values[0], values[1], hermitian, rtol=values[2])
