"""What the rooms of scipy.linalg share: arrays with a dtype that LAPACK has, transposes, triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...array import Array


def matrix(a: Any) -> Any:
    """Return `a` as an array, plain or traced, of float32, float64, complex64 or complex128."""
    a = a if type(a) is Array else np.asarray(a)
    if a.dtype.char in "fdFD":
        return a
    return a.astype(np.float32 if a.dtype == np.float16 else np.float64)


def doubled(a: Any) -> Any:
    """Return `a` in double precision, where SciPy computes in it whatever it is given."""
    a = matrix(a)
    return a.astype(np.result_type(a.dtype, np.float64))


def swapped(a: Any) -> Any:
    """Return the transposed matrices."""
    return np.swapaxes(a, -1, -2)


def adjoint(a: Any) -> Any:
    """Return the conjugate-transposed matrices."""
    return swapped(np.conjugate(a)) if a.dtype.kind == "c" else swapped(a)


def lower_part(a: Any, k: int = 0) -> Any:
    """Return `a` with what stands above diagonal `k` set to 0."""
    return np.where(np.tri(a.shape[-2], a.shape[-1], k, bool), a, 0)


def upper_part(a: Any, k: int = 0) -> Any:
    """Return `a` with what stands below diagonal `k` set to 0."""
    return np.where(np.tri(a.shape[-2], a.shape[-1], k - 1, bool), 0, a)


def from_triangle(a: Any, lower: bool, *, is_hermitian: bool = True) -> Any:
    """Return the Hermitian (or symmetric) matrix that LAPACK sees: it reads one triangle only."""
    turned = adjoint(a) if is_hermitian else swapped(a)
    full = lower_part(a) + upper_part(turned, 1) if lower else upper_part(a) + lower_part(turned, -1)
    if not is_hermitian or a.dtype.kind != "c":
        return full
    return np.where(np.eye(a.shape[-1], dtype=bool), np.real(full), full)
