"""Structured matrices of scipy.linalg, each gathered from the vectors that it is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...array import Array
from ..replace import replaces


def _array(a: Any) -> Any:
    return a if type(a) is Array else np.asarray(a)


def _vector(a: Any) -> Any:
    return np.reshape(_array(a), (-1,))


@replaces("scipy.linalg", "toeplitz")
def toeplitz(c: Any, r: Any = None) -> Any:
    """Return the matrix of constant diagonals with first column `c` and first row `r` (its first entry not read)."""
    c = _vector(c)
    r = np.conjugate(c) if r is None else _vector(r)
    values = np.concatenate([np.flip(c), r[1:]])
    rows, columns = c.shape[0], r.shape[0]
    return values[np.arange(rows)[::-1, None] + np.arange(columns)]


@replaces("scipy.linalg", "hankel")
def hankel(c: Any, r: Any = None) -> Any:
    """Return the matrix of constant antidiagonals with first column `c` and last row `r` (its first entry not read)."""
    c = _vector(c)
    r = np.zeros_like(c) if r is None else _vector(r)
    values = np.concatenate([c, r[1:]])
    return values[np.arange(c.shape[0])[:, None] + np.arange(r.shape[0])]


@replaces("scipy.linalg", "circulant")
def circulant(c: Any) -> Any:
    """Return the circulant matrices whose first columns are the last axis of `c`."""
    c = _array(c)
    n = c.shape[-1]
    return c[..., (np.arange(n)[:, None] - np.arange(n)) % n]


@replaces("scipy.linalg", "block_diag")
def block_diag(*arrs: Any) -> Any:
    """Return the matrix with the given blocks along its diagonal."""
    blocks = [np.reshape(a, (1, -1)) if a.ndim < 2 else a for a in map(_array, arrs)]
    dtype = np.result_type(*[b.dtype for b in blocks])
    width = sum(b.shape[1] for b in blocks)
    rows = []
    start = 0
    for block in blocks:
        height, extent = block.shape
        before = np.zeros((height, start), dtype)
        after = np.zeros((height, width - start - extent), dtype)
        rows.append(np.concatenate([before, block.astype(dtype), after], axis=1))
        start += extent
    return np.concatenate(rows, axis=0)


@replaces("scipy.linalg", "companion")
def companion(a: Any) -> Any:
    """Return the matrix whose characteristic polynomial has the coefficients `a`."""
    a = _array(a)
    n = a.shape[-1] - 1
    first = np.expand_dims(-a[..., 1:] / a[..., :1], -2)
    rest = np.broadcast_to(np.eye(n - 1, n, dtype=first.dtype), (*a.shape[:-1], n - 1, n))
    return np.concatenate([first, rest], axis=-2)


@replaces("scipy.linalg", "khatri_rao")
def khatri_rao(a: Any, b: Any) -> Any:
    """Return the column-wise Kronecker product."""
    a, b = _array(a), _array(b)
    product = np.expand_dims(a, -2) * np.expand_dims(b, -3)
    return np.reshape(product, (*product.shape[:-3], a.shape[-2] * b.shape[-2], product.shape[-1]))
