"""Factorisations of scipy.linalg: Cholesky, triangular (LU), and those of NumPy's with SciPy's signatures."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from ... import phantom
from ...array import apply
from ...errors import MissingRuleError
from ...op import define
from ..replace import constant, refuse, replaces
from .common import adjoint, from_triangle, lower_part, matrix, swapped, upper_part
from .solving import permutation, triangular


@replaces("scipy.linalg", "cholesky")
def cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Factor a positive definite matrix, of which only the wanted triangle is read."""
    factor = np.linalg.cholesky(from_triangle(matrix(a), bool(lower)))
    return factor if lower else adjoint(factor)


@replaces("scipy.linalg", "cho_factor")
def cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Return a Cholesky factor for `cho_solve`; the other triangle holds what `a` held, as SciPy's does."""
    a = matrix(a)
    factor = cholesky(a, lower)
    return (factor + upper_part(a, 1) if lower else factor + lower_part(a, -1)), lower


def _run_lu(a: np.ndarray) -> np.ndarray:
    """Return the factors with the pivots as one row more: an op has one output."""
    lu, pivots = scipy.linalg.lu_factor(a, check_finite=False)
    return np.concatenate([lu, pivots[None].astype(lu.dtype)])


def _lu_rule(g: Any, y: Any) -> Any:
    # Walter & Lehmann, "Algorithmic differentiation of linear algebra functions" (2012), for square matrices.
    n = y.shape[1]
    lu, g = y[:n], g[:n]
    middle = lower_part(np.matmul(swapped(lower_part(lu, -1)) + np.eye(n, dtype=lu.dtype), lower_part(g, -1)), -1)
    middle = middle + upper_part(np.matmul(upper_part(g), swapped(upper_part(lu))))
    right = swapped(triangular(lu, swapped(middle), False, False, False))
    rows = triangular(lu, right, True, True, True)
    return apply(UNPERMUTE, (rows, y))


def _unpermuted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    order = permutation(np.real(y[-1]).astype(np.intp))
    made = np.empty(x.shape, x.dtype)
    made[order] = x
    return made


def _permuted(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x[permutation(np.real(y[-1]).astype(np.intp))]


UNPERMUTE = define(
    "unpermute_rows",
    _unpermuted,
    inputs="x factors",
    rules=(lambda g, factors: apply(PERMUTE, (g, factors)), None),
    jvp=(lambda t, factors: apply(UNPERMUTE, (t, factors)), None),
    infer=lambda x, factors: phantom.contiguous(x.shape, x.dtype),
)
PERMUTE = define(
    "permute_rows",
    _permuted,
    inputs="x factors",
    rules=(lambda g, factors: apply(UNPERMUTE, (g, factors)), None),
    jvp=(lambda t, factors: apply(PERMUTE, (t, factors)), None),
    infer=lambda x, factors: phantom.contiguous(x.shape, x.dtype),
)
LU = define(
    "lu",
    _run_lu,
    inputs="a",
    rules=_lu_rule,
    infer=lambda a: phantom.contiguous((a.shape[0] + 1, a.shape[1]), a.dtype),
    flops=lambda out, a: 0.67 * a.shape[0] ** 3,
    workspace=lambda out, a: 2 * a.nbytes,
)


@replaces("scipy.linalg", "lu_factor")
def lu_factor(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Return the packed factors of a square matrix and their pivots, for `lu_solve`."""
    a = matrix(a)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise MissingRuleError(f"scipy.linalg.lu_factor of a traced array takes one square matrix, not {a.shape}")
    packed = apply(LU, (a,))
    pivots = np.real(packed[-1]).astype(np.int32)
    return packed[:-1], pivots


@replaces("scipy.linalg", "lu")
def lu(a: Any, permute_l: bool = False, overwrite_a: bool = False, check_finite: bool = True, p_indices: bool = False) -> Any:
    """Return the factors of a square matrix; the permutation is a plain array."""
    factors, pivots = lu_factor(a)
    n = factors.shape[0]
    order = np.argsort(permutation(np.asarray(constant(pivots, "the pivots of lu"))))
    lower = lower_part(factors, -1) + np.eye(n, dtype=factors.dtype)
    upper = upper_part(factors)
    if permute_l:
        return lower[order], upper
    return (order if p_indices else np.eye(n, dtype=np.real(np.zeros((), factors.dtype)).dtype)[order]), lower, upper


@replaces("scipy.linalg", "det")
def det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Return a determinant by NumPy's `det`, in double precision as SciPy does."""
    a = matrix(a)
    return np.linalg.det(a.astype(np.complex128 if a.dtype.kind == "c" else np.float64))


@replaces("scipy.linalg", "norm")
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    """Return a vector or matrix norm by NumPy's `norm`; in double precision where SciPy asks BLAS for a Python number."""
    a = matrix(a)
    y = np.linalg.norm(a, ord, axis, keepdims)
    by_blas = a.ndim == 1 and ord in (None, 2) or a.ndim == 2 and ord in (1, np.inf)
    return y.astype(np.float64) if by_blas and axis is None and not keepdims else y


@replaces("scipy.linalg", "eigh")
def eigh(
    a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, overwrite_a: bool = False,
    overwrite_b: bool = False, type: int = 1, check_finite: bool = True, subset_by_index: Any = None,
    subset_by_value: Any = None, driver: Any = None,
) -> Any:  # fmt: skip
    """Return eigenvalues and vectors of a Hermitian matrix, or of ``a v = w b v`` by the Cholesky factor of `b`.

    The sign (phase) of each vector is that of NumPy's `eigh`, which may be the opposite of SciPy's.
    """
    refuse("scipy.linalg.eigh", subset_by_value=subset_by_value, type=0 if type == 1 else type)
    a = from_triangle(matrix(a), lower)
    factor = None
    if b is not None:
        factor = np.linalg.cholesky(from_triangle(matrix(b), lower))
        left = triangular(factor, a, True, False, False)
        a = adjoint(triangular(factor, adjoint(left), True, False, False))
        a = (a + adjoint(a)) / 2
    chosen = slice(None) if subset_by_index is None else slice(int(subset_by_index[0]), int(subset_by_index[1]) + 1)
    if eigvals_only:
        return np.linalg.eigvalsh(a)[..., chosen]
    values, vectors = np.linalg.eigh(a)
    if factor is not None:
        turned = np.conjugate(factor) if factor.dtype.kind == "c" else factor
        vectors = triangular(turned, vectors, True, True, False)
    return values[..., chosen], vectors[..., chosen]


@replaces("scipy.linalg", "eigvalsh")
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, **keywords: Any) -> Any:
    """Return the eigenvalues of `eigh`."""
    return eigh(a, b, lower=lower, eigvals_only=True, **keywords)


@replaces("scipy.linalg", "eig")
def eig(
    a: Any, b: Any = None, left: bool = False, right: bool = True, overwrite_a: bool = False, overwrite_b: bool = False,
    check_finite: bool = True, homogeneous_eigvals: bool = False,
) -> Any:  # fmt: skip
    """Return eigenvalues and right vectors by NumPy's `eig`, complex as SciPy's are."""
    refuse("scipy.linalg.eig", b=b is not None, left=left, homogeneous_eigvals=homogeneous_eigvals)
    a = matrix(a)
    a = a.astype(np.result_type(a.dtype, np.complex64))
    return np.linalg.eig(a) if right else np.linalg.eigvals(a)


@replaces("scipy.linalg", "eigvals")
def eigvals(
    a: Any, b: Any = None, overwrite_a: bool = False, check_finite: bool = True, homogeneous_eigvals: bool = False
) -> Any:
    """Return eigenvalues by NumPy's `eigvals`, complex as SciPy's are."""
    return eig(a, b, right=False, homogeneous_eigvals=homogeneous_eigvals)


@replaces("scipy.linalg", "svd")
def svd(
    a: Any, full_matrices: bool = True, compute_uv: bool = True, overwrite_a: bool = False, check_finite: bool = True,
    lapack_driver: str = "gesdd",
) -> Any:  # fmt: skip
    """Return a singular value decomposition by NumPy's `svd`."""
    return np.linalg.svd(matrix(a), full_matrices=full_matrices, compute_uv=compute_uv)


@replaces("scipy.linalg", "svdvals")
def svdvals(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """Return singular values."""
    return np.linalg.svd(matrix(a), compute_uv=False)


@replaces("scipy.linalg", "qr")
def qr(
    a: Any, overwrite_a: bool = False, lwork: Any = None, mode: str = "full", pivoting: bool = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    """Return an orthogonal factorisation by NumPy's `qr`."""
    refuse("scipy.linalg.qr", pivoting=pivoting, mode="" if mode in ("full", "economic", "r") else mode)
    a = matrix(a)
    if mode == "r":
        # SciPy's has as many rows as `a`.
        r: Any = np.linalg.qr(a, mode="r")
        rows = a.shape[-2] - r.shape[-2]
        return (np.concatenate([r, np.zeros((*r.shape[:-2], rows, r.shape[-1]), r.dtype)], axis=-2),) if rows else (r,)
    return tuple(np.linalg.qr(a, mode="complete" if mode == "full" else "reduced"))


@replaces("scipy.linalg", "polar")
def polar(a: Any, side: str = "right") -> Any:
    """Return the unitary and the positive factor, by a singular value decomposition."""
    left, values, right = np.linalg.svd(matrix(a), full_matrices=False)
    scaled = adjoint(right) if side == "right" else left
    values = values.astype(scaled.dtype)
    positive = np.matmul(scaled * values[..., None, :], adjoint(scaled))
    return np.matmul(left, right), positive


@replaces("scipy.linalg", "pinv")
def pinv(
    a: Any, *, atol: float | None = None, rtol: float | None = None, return_rank: bool = False, check_finite: bool = True
) -> Any:
    """Return the pseudo-inverse by NumPy's `pinv`."""
    refuse("scipy.linalg.pinv", atol=atol, return_rank=return_rank)
    a = matrix(a)
    return np.linalg.pinv(a, rcond=max(a.shape[-2:]) * float(np.finfo(a.dtype).eps) if rtol is None else rtol)
