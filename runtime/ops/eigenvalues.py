"""Eigenvalues and eigenvectors of (stacked) matrices, Hermitian and general.

Rules: Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation", 2008. The
length and the phase of eigenvectors are LAPACK's, and so are their derivatives: of a Hermitian matrix, the first
component is real (the last one, where the upper triangle is read); of a general one, the length is 1 and the component
of largest magnitude is real. What LAPACK leaves open is the sign: that of the vectors of a complex pair of a real matrix
may flip from one matrix to the next close by, which a difference of two of them sees and the derivative does not.

Where eigenvalues are equal (to rounding), their eigenvectors may be any basis of one space. First derivatives of symmetric
functions of the eigenvalues are right there, and so are those of the vectors of other eigenvalues. All else has no
derivative, or one that w and v cannot tell: it is NaN. That goes for ``v @ diag(f(w)) @ v.T`` and for second derivatives of
``sum(f(w))``, which hold the slope of f between equal eigenvalues, and for projectors, which are of the same form. Of
`eigvalsh`, equal eigenvalues that are not treated alike share their cotangent, as the ties of a maximum do. (One case is
left: in reverse mode, ``v @ diag(f(w)) @ v.T`` with an f of exactly 0 at equal eigenvalues looks as if it did not use their
vectors; it is told from that by its derivative by w, unless that is the same for all of them.)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply, read
from ..op import OPS, define, implements
from .lapack import (
    adjoint,
    alike,
    check_matrices,
    inverse_gaps,
    onto_triangle,
    part,
    real_dtype,
    result_dtype,
    shared,
    with_diagonal,
    workspace,
)
from .linear_algebra import conjugated
from .masked import product
from .solving import solve


def _packed(w: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.concatenate([w[..., None, :], v], axis=-2, dtype=v.dtype)


def _infer_packed(a: np.ndarray, **_: Any) -> np.ndarray:
    return phantom.contiguous((*a.shape[:-2], a.shape[-1] + 1, a.shape[-1]), result_dtype(a))


def with_phase(g: Any, turned: Any, vectors: Any, row: int) -> Any:
    """Return the cotangent of complex vectors, for a rule that lets none of them turn its phase.

    `turned` is the derivative by the phases of the vectors (a row of angles). LAPACK keeps `row` of the vectors real, so
    what else moves the phase of that row turns the whole vector back. (A component that is 0 keeps no phase.)
    """
    n = vectors.shape[-2]
    real = np.real(vectors[..., row : row + 1 or n, :])
    is_kept = np.greater(np.absolute(real), math.sqrt(float(np.finfo(real.dtype).eps)))
    rate = np.where(is_kept, turned / np.where(is_kept, real, 1), 0)
    place = np.equal(np.arange(n), row % n)[:, None]
    return g - np.where(place, 1j * rate, 0)


def _eigh_rule(g: Any, y: Any, uplo: str) -> Any:
    w, v = np.real(y[..., 0, :]), y[..., 1:, :]
    gw, gv = np.real(g[..., 0, :]), conjugated(g[..., 1:, :])
    vh = adjoint(v)
    if y.dtype.kind == "c":
        turned = np.imag(np.sum(conjugated(v) * gv, axis=-2, keepdims=True))
        gv = with_phase(gv, turned, v, 0 if uplo == "L" else -1)
    inner = with_diagonal(product(np.matmul(vh, gv), inverse_gaps(w)), shared(alike(gw, w), w))
    return conjugated(onto_triangle(np.matmul(v, np.matmul(inner, vh)), uplo))


EIGH = define(
    "eigh",
    lambda a, uplo: _packed(*np.linalg.eigh(a, uplo)),
    inputs="a",
    parameters=("uplo",),
    rules=_eigh_rule,
    infer=_infer_packed,
    flops=lambda out, a, uplo: 9.0 * a.size * a.shape[-1],
    workspace=workspace(3, packs=True),
)


def _eigvalsh_rule(g: Any, a: Any, uplo: str) -> Any:
    w, v = eigh(a, uplo)
    g = np.expand_dims(shared(g, w), -2)
    v = np.where(np.equal(g, 0), 0, v)  # equal eigenvalues that are not asked for make no NaN of the second derivative
    return conjugated(onto_triangle(np.matmul(v * g, adjoint(v)), uplo))


EIGVALSH = define(
    "eigvalsh",
    lambda a, uplo: np.asarray(np.linalg.eigvalsh(a, uplo), order="C"),
    inputs="a",
    parameters=("uplo",),
    rules=_eigvalsh_rule,
    infer=lambda a, uplo: phantom.contiguous(a.shape[:-1], real_dtype(result_dtype(a))),
    flops=lambda out, a, uplo: 1.33 * a.size * a.shape[-1],
    workspace=workspace(2),
)
_EighResult: Any = type(np.linalg.eigh(np.ones((1, 1))))
_EigResult: Any = type(np.linalg.eig(np.ones((1, 1))))


def _triangle(UPLO: str) -> str:
    if UPLO.upper() not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return UPLO.upper()


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """Record the eigenvalues and eigenvectors of Hermitian matrices, of which NumPy reads the triangle `UPLO` only.

    So the gradient has zeros in the other triangle, and elements off the diagonal carry the derivative of both of their
    mirror images.
    """
    uplo = _triangle(UPLO)
    check_matrices(a, square=True)
    packed = apply(EIGH, (a,), {"uplo": uplo})
    return _EighResult(np.real(part(packed, 0, slice(None))), part(packed, slice(1, None), slice(None)))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """Record the eigenvalues of Hermitian matrices (see `eigh`)."""
    uplo = _triangle(UPLO)
    check_matrices(a, square=True)
    return apply(EIGVALSH, (a,), {"uplo": uplo})


def _eig_rule(g: Any, y: Any) -> Any:
    w, v = y[..., 0, :], y[..., 1:, :]
    gw, gv = g[..., 0, :], g[..., 1:, :]
    n = w.shape[-1]
    # The component that LAPACK made real: of those whose imaginary part is exactly 0, the largest.
    size = np.where(np.equal(np.imag(v), 0), np.absolute(v), -1)
    place = np.equal(np.arange(n)[:, None], np.argmax(size, axis=-2, keepdims=True))
    pivot = np.sum(np.where(place, np.real(v), 0), axis=-2, keepdims=True)
    moved = np.sum(gv * v, axis=-2, keepdims=True)
    gv = gv - np.real(moved) * conjugated(v) - np.where(place, 1j * (np.imag(moved) / pivot), 0)
    transposed = np.swapaxes(v, -1, -2)
    inner = with_diagonal(product(np.matmul(transposed, gv), inverse_gaps(w)), shared(alike(gw, w), w))
    return np.matmul(solve(transposed, inner), transposed)


def _run_eig(a: np.ndarray) -> np.ndarray:
    w, v = np.linalg.eig(a)
    return _packed(w, v).astype(np.result_type(v.dtype, np.complex64), copy=False)


EIG = define(
    "eig",
    _run_eig,
    inputs="a",
    rules=_eig_rule,
    infer=lambda a: phantom.contiguous((*a.shape[:-2], a.shape[-1] + 1, a.shape[-1]), np.result_type(result_dtype(a), "c8")),
    flops=lambda out, a: 25.0 * a.size * a.shape[-1],
    workspace=workspace(3, packs=True),
)


# Up to NumPy 2.4, those of a real matrix are real where all of them are.
_MAY_BE_REAL = np.lib.NumpyVersion(np.__version__) < "2.5.0"


def _parts(a: Any) -> tuple:
    """Return eigenvalues and eigenvectors, real where NumPy's are."""
    check_matrices(a, square=True)
    packed = apply(EIG, (a,))
    w, v = part(packed, 0, slice(None)), part(packed, slice(1, None), slice(None))
    if _MAY_BE_REAL and a.dtype.kind != "c":
        is_complex = np.any(np.not_equal(np.imag(apply(OPS["stop_gradient"], (w,))), 0))
        if not (read(is_complex, "whether eigenvalues are complex") if type(is_complex) is Array else is_complex):
            return np.real(w), np.real(v)
    return w, v


@implements(np.linalg.eig)
def eig(a: Any) -> Any:
    """Record the eigenvalues and eigenvectors of general matrices.

    Up to 2.4, NumPy returns real ones of a real matrix when all eigenvalues are real: that is read off the values.
    """
    return _EigResult(*_parts(a))


@implements(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    """Record the eigenvalues of general matrices (with the eigenvectors, which their derivatives are made of)."""
    return _parts(a)[0]
