"""What the ops on LAPACK have in common: their dtypes, workspace, checks of shape, and packing of several outputs in one.

Notation of the rules: ``adjoint(x)`` is the conjugate transpose. Cotangents are paired with tangents without conjugation
(``sum(g * t)``); where a rule is derived for the pairing ``<x, y> = re(sum(conj(x) * y))``, as in the papers, it
conjugates what comes and what goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply
from ..layouts import lies_as
from ..op import OPS
from .indexing import gather
from .linear_algebra import conjugated
from .masked import product

_TAKEN = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.complex64), np.dtype(np.complex128))


def result_dtype(*arrays: Any) -> np.dtype:
    """Return the dtype of `numpy.linalg`'s results on `arrays`. Raises `TypeError` for one that LAPACK does not take."""
    dtypes = []
    for a in arrays:
        if a.dtype.kind in "biu":
            dtypes.append(np.dtype(np.float64))
        elif a.dtype in _TAKEN:
            dtypes.append(a.dtype)
        else:
            raise TypeError(f"array type {a.dtype.name} is unsupported in linalg")
    return np.result_type(*dtypes)


def real_dtype(dtype: Any) -> np.dtype:
    """Return the dtype of the real part."""
    return np.finfo(dtype).dtype


def check_matrices(a: Any, *, square: bool = False) -> None:
    """Raise `LinAlgError` unless `a` holds matrices, square ones where asked, of a dtype that LAPACK takes."""
    if a.ndim < 2:
        raise np.linalg.LinAlgError(f"{a.ndim}-dimensional array given. Array must be at least two-dimensional")
    if square and a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    result_dtype(a)


def workspace(matrices: float, *, packs: bool = False) -> Callable:
    """Return the workspace of an op whose kernel holds so many `matrices` beside its operands and result.

    NumPy computes one matrix of a stack at a time, in double precision, with whole copies of operands and results of
    another dtype. Results that are packed, or laid out in C order, stand twice.
    """

    def count(out: np.ndarray, *arrays: np.ndarray, **_: Any) -> int:
        item = 16 if any(a.dtype.kind == "c" for a in (out, *arrays)) else 8
        stack = max(math.prod(np.broadcast_shapes(*(a.shape[:-2] for a in arrays))), 1)
        largest = max(out.size // stack, *(math.prod(a.shape[-2:]) for a in arrays), min(arrays[0].shape[-2:]) ** 2)
        casts = sum(a.size for a in (out, *arrays) if a.dtype.itemsize != item)
        stands_twice = packs or any(a.ndim > 3 and not a.flags.c_contiguous for a in arrays)
        return math.ceil(matrices * largest + casts) * item + stands_twice * out.nbytes

    return count


def c_ordered(function: Callable) -> Callable:
    """Return `function` with its result in C order (NumPy lays results out as their operands lie)."""
    return lambda *arrays, **parameters: np.asarray(function(*arrays, **parameters), order="C")


def adjoint(x: Any) -> Any:
    """Return the conjugate transpose of the last two axes."""
    return conjugated(np.swapaxes(x, -1, -2))


def transposed(x: Any) -> Any:
    """Return the transpose of the last two axes, without conjugation."""
    return np.swapaxes(x, -1, -2)


def part(packed: Any, *index: Any) -> Any:
    """Return ``packed[..., *index]`` as an array that shares no writes with the other parts, nor memory in NumPy."""
    made = gather(packed, (Ellipsis, *index), ())
    return lies_as(made, phantom.contiguous(made.shape, made.dtype))


def shaped(x: Any, shape: tuple[int, ...]) -> Any:
    """Return `x` reshaped, as an array that shares no writes with `x`."""
    if type(x) is not Array:
        return np.reshape(x, shape)
    return lies_as(apply(OPS["reshape"], (x,), {"shape": shape}), phantom.contiguous(shape, x.dtype))


def diagonal_mask(n: int) -> np.ndarray:
    """Return where the diagonal of an n x n matrix is."""
    return np.eye(n, dtype=bool)


def with_diagonal(matrix: Any, diagonal: Any) -> Any:
    """Return `matrix` with its diagonal replaced."""
    return np.where(diagonal_mask(matrix.shape[-1]), np.expand_dims(diagonal, -2), matrix)


def reciprocal(x: Any, size: Any, at_zero: Any) -> Any:
    """Return 1 / x, and `at_zero` where x is 0 to rounding beside numbers of the given `size`."""
    is_zero = _is_zero(x, size)
    return np.where(is_zero, at_zero, 1 / np.where(is_zero, 1, x))


def _is_zero(x: Any, size: Any) -> Any:
    return np.less_equal(np.absolute(x), size * (4 * float(np.finfo(x.dtype).eps)))


def magnitude(values: Any) -> Any:
    """Return the size that errors of computed eigenvalues or singular values are relative to: sqrt(n) times the largest."""
    count = values.shape[-1]
    size = np.absolute(values)
    return (np.max if count else np.sum)(size, axis=-1, keepdims=True) * math.sqrt(count)


def _gaps(values: Any) -> tuple[Any, Any]:
    """Return the matrix of ``values[j] - values[i]``, and the size that its rounding errors are relative to."""
    return np.expand_dims(values, -2) - np.expand_dims(values, -1), np.expand_dims(magnitude(values), -1)


def inverse_gaps(values: Any) -> Any:
    """Return the matrix of ``1 / (values[j] - values[i])``, with NaN where two values are equal to rounding.

    On the diagonal it is 0. To be multiplied by `product`, which leaves out what is not asked for.
    """
    gaps, size = _gaps(values)
    return reciprocal(gaps, size, np.where(diagonal_mask(values.shape[-1]), 0, math.nan))


def shared(g: Any, values: Any) -> Any:
    """Return a cotangent of values with the mean of those of equal ones (to rounding) in the place of each.

    As ties of a maximum share its cotangent; and the same number whatever basis of their space their vectors are.
    """
    is_equal = _is_zero(*_gaps(values))
    total = np.sum(np.where(is_equal, np.expand_dims(g, -2), 0), axis=-1)
    return total / np.sum(is_equal.astype(real_dtype(values.dtype)), axis=-1)


def alike(g: Any, values: Any) -> Any:
    """Return a cotangent of values, with NaN where that of an equal one differs: what depends on how equal ones split."""
    size = np.absolute(g)
    tolerance = (np.max if size.shape[-1] else np.sum)(size, axis=-1, keepdims=True) * math.sqrt(np.finfo(g.dtype).eps)
    apart = np.absolute(np.expand_dims(g, -2) - np.expand_dims(g, -1)) > np.expand_dims(tolerance, -1)
    splits = np.any(np.logical_and(_is_zero(*_gaps(values)), apart), axis=-1)
    return product(g, np.where(splits, math.nan, np.ones((), real_dtype(g.dtype))))


def hermitian(a: Any, uplo: str) -> Any:
    """Return the Hermitian matrix that LAPACK sees when it reads one triangle of `a`, and the real part of its diagonal."""
    n = a.shape[-1]
    lower = np.tri(n, k=-1, dtype=bool)
    mirrored = np.where(lower if uplo == "L" else lower.T, a, adjoint(a))
    return np.where(diagonal_mask(n), np.real(a), mirrored)


def onto_triangle(s: Any, uplo: str) -> Any:
    """Return the cotangent of what `hermitian` reads, given that of the Hermitian matrix it makes (under <x, y>)."""
    n = s.shape[-1]
    weights = np.tri(n, k=-1, dtype=bool).astype(real_dtype(s.dtype))
    if uplo == "U":
        weights = weights.T
    return (s + adjoint(s)) * (weights + 0.5 * np.eye(n, dtype=weights.dtype))
