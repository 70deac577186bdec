"""Norms of vectors and matrices, and condition numbers; where a norm has a corner at 0, its gradient there is 0.

See `roots` for what the second derivatives of Euclidean norms and of their powers are there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..op import implements
from .axes import as_operand, axes_of
from .lapack import check_matrices, real_dtype
from .roots import norm_over, root_of_powers
from .singular_values import svdvals


def _power_norm(size: Any, ord: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    """Return ``sum(size ** ord) ** (1 / ord)``; up to an `ord` of 1 zeros are left out, for powers have poles there."""
    if ord > 1:
        return root_of_powers(np.sum(size**ord, axis=axis, keepdims=keepdims), 1 / ord)
    is_zero = np.equal(size, 0)
    powers = np.where(is_zero, 0, np.where(is_zero, 1, size) ** ord)
    total = np.sum(powers, axis=axis, keepdims=keepdims)
    is_empty = np.equal(total, 0)
    y = np.where(is_empty, 0, np.where(is_empty, 1, total) ** (1 / ord))
    return y if ord > 0 else np.where(np.any(is_zero, axis=axis, keepdims=keepdims), 0, y)


def _vector_norm(x: Any, ord: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    if ord is None or ord == 2:
        return norm_over(x, axis, keepdims)
    if ord == 0:
        return np.sum(np.not_equal(x, 0).astype(real_dtype(x.dtype)), axis=axis, keepdims=keepdims)
    size = np.absolute(x)
    if ord == 1 or ord == math.inf and not x.size:
        return np.sum(size, axis=axis, keepdims=keepdims)
    if ord == math.inf:
        return np.max(size, axis=axis, keepdims=keepdims)
    if ord == -math.inf:
        return np.min(size, axis=axis, keepdims=keepdims)
    return _power_norm(size, ord if isinstance(ord, int) else float(ord), axis, keepdims)


def _matrix_norm(x: Any, ord: Any, axis: tuple[int, ...]) -> Any:
    """Return a norm that is not Frobenius'."""
    row, column = axis
    if ord in (1, -1, math.inf, -math.inf):
        inside, outside = (row, column) if abs(ord) == 1 else (column, row)
        sums = np.sum(np.absolute(x), axis=inside, keepdims=True)
        if ord > 0 and not sums.shape[outside]:
            return np.sum(sums, axis=axis)
        return (np.max if ord > 0 else np.min)(sums, axis=axis)
    if ord not in (2, -2, "nuc"):
        raise ValueError("Invalid norm order for matrices.")
    s = svdvals(np.moveaxis(x, axis, (-2, -1)))
    s = np.where(np.equal(s, 0), 0, s)
    if ord == "nuc" or ord == 2 and not s.shape[-1]:
        return np.sum(s, axis=-1)
    return np.max(s, axis=-1) if ord == 2 else np.min(s, axis=-1)


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Compose vector and matrix norms; the gradient at 0 is 0, and ties share it equally."""
    x = as_operand(x)
    keepdims = bool(keepdims)
    if axis is None and (ord is None or x.ndim == 2 and ord in ("f", "fro") or x.ndim == 1 and ord == 2):
        return norm_over(x, tuple(range(x.ndim)), keepdims)
    given = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (int(axis),)
    for k in given:
        if not -x.ndim <= k < x.ndim:
            raise np.exceptions.AxisError(k, x.ndim)
    axes = tuple(k % x.ndim for k in given)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) != 2:
        raise ValueError("Improper number of dimensions to norm.")
    if axes[0] == axes[1]:
        raise ValueError("Duplicate axes given.")
    if ord in (None, "fro", "f"):
        return norm_over(x, axes, keepdims)
    y = _matrix_norm(x, ord, axes)
    return np.expand_dims(y, tuple(sorted(axes))) if keepdims else y


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Compose norms of the matrices in the last two axes."""
    return norm(x, ord, (-2, -1), keepdims)


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """Compose vector norms over any number of axes."""
    axes = axes_of(axis, x.ndim)
    if ord == 2:
        return norm_over(x, axes, bool(keepdims))
    if len(axes) != 1:
        rest = tuple(k for k in range(x.ndim) if k not in axes)
        flat = np.transpose(x, (*rest, *axes)) if x.ndim else x
        flat = np.reshape(flat, (*(x.shape[k] for k in rest), math.prod(x.shape[k] for k in axes)))
        y = _vector_norm(flat, ord, (len(rest),), False)
        return np.expand_dims(y, axes) if keepdims and axes else y
    return _vector_norm(x, ord, axes, bool(keepdims))


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """Compose a condition number of singular values, or of norms of the matrix and its inverse."""
    check_matrices(x)
    if not x.shape[-1] or not x.shape[-2]:
        raise np.linalg.LinAlgError("cond is not defined on empty arrays")
    if p is None or p in (2, -2):
        s = svdvals(x)
        above, below = (s[..., -1], s[..., 0]) if p == -2 else (s[..., 0], s[..., -1])
        is_singular = np.equal(below, 0)
        return np.where(is_singular, math.inf, above / np.where(is_singular, 1, below))
    return norm(x, p, (-2, -1)) * norm(np.linalg.inv(x), p, (-2, -1))
