"""Products made of others: Kronecker and cross products, chains and powers of matrices."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..op import implements
from .axes import as_operand
from .linear_algebra import dot, matmul, one_axis


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    """Compose a Kronecker product of a broadcast multiplication and a reshape."""
    a, b = as_operand(a), as_operand(b)
    if a.ndim == 0 or b.ndim == 0:
        return np.multiply(a, b)
    ndim = max(a.ndim, b.ndim)
    outside = (1,) * (ndim - a.ndim) + a.shape
    within = (1,) * (ndim - b.ndim) + b.shape
    spread = np.multiply(
        np.reshape(a, tuple(n for extent in outside for n in (extent, 1))),
        np.reshape(b, tuple(n for extent in within for n in (1, extent))),
    )
    return np.reshape(spread, tuple(n * m for n, m in zip(outside, within, strict=True)))


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """Compose a cross product of vectors of three elements, or of two, whose third is taken as 0."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = as_operand(a), as_operand(b)
    if not a.ndim or not b.ndim:
        raise ValueError("At least one array has zero dimension")
    a, b = np.moveaxis(a, one_axis(axisa, a.ndim), -1), np.moveaxis(b, one_axis(axisb, b.ndim), -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError("incompatible dimensions for cross product\n(dimension must be 2 or 3)")
    last = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    if a.shape[-1] == b.shape[-1] == 2:
        return last
    if a.shape[-1] == 2:
        first, second = a[..., 1] * b[..., 2], -(a[..., 0] * b[..., 2])
    elif b.shape[-1] == 2:
        first, second = -(a[..., 2] * b[..., 1]), a[..., 2] * b[..., 0]
    else:
        first = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
        second = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    y = np.stack([first, second, last], axis=-1)
    return np.moveaxis(y, -1, one_axis(axisc, y.ndim))


@implements(np.linalg.cross)
def linalg_cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Compose a cross product of vectors of three elements."""
    a, b = as_operand(x1), as_operand(x2)
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise ValueError(
            "Both input arrays must be (arrays of) 3-dimensional vectors, "
            f"but they are {a.shape[axis]} and {b.shape[axis]} dimensional instead."
        )
    return cross(a, b, axis=axis)


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """Compose a chain of matrix products in the cheapest order, by dynamic programming (Cormen et al., section 14.2)."""
    arrays = [as_operand(a) for a in arrays]
    if len(arrays) < 2:
        raise ValueError("Expecting at least two arrays.")
    if len(arrays) == 2:
        return dot(*arrays)
    first, last = arrays[0].ndim, arrays[-1].ndim
    arrays[0] = np.atleast_2d(arrays[0])
    if last == 1:
        arrays[-1] = np.expand_dims(arrays[-1], 1)
    for a in arrays:
        if a.ndim != 2:
            raise np.linalg.LinAlgError(f"{a.ndim}-dimensional array given. Array must be two-dimensional")
    y = _chain(arrays, _best_splits([arrays[0].shape[0], *(a.shape[1] for a in arrays)]), 0, len(arrays) - 1)
    return np.reshape(y, y.shape[: first - 1] + (y.shape[1:] if last == 2 else ()))


def _best_splits(extents: list[int]) -> dict[tuple[int, int], int]:
    """Return where to split the chain of matrices lo..hi, for all lo < hi; `extents` are those between them."""
    count = len(extents) - 1
    cost = {(k, k): 0 for k in range(count)}
    split = {}
    for length in range(1, count):
        for lo in range(count - length):
            hi = lo + length
            costs = {k: cost[lo, k] + cost[k + 1, hi] + extents[lo] * extents[k + 1] * extents[hi + 1] for k in range(lo, hi)}
            split[lo, hi] = min(costs, key=costs.__getitem__)
            cost[lo, hi] = costs[split[lo, hi]]
    return split


def _chain(arrays: list, split: dict, lo: int, hi: int) -> Any:
    if lo == hi:
        return arrays[lo]
    middle = split[lo, hi]
    return dot(_chain(arrays, split, lo, middle), _chain(arrays, split, middle + 1, hi))


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    """Compose a power of square matrices of repeated squaring."""
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")
    try:
        n = operator.index(n)
    except TypeError as error:
        raise TypeError("exponent must be an integer") from error
    if n == 0:
        unit = np.zeros_like(a)
        unit[...] = np.eye(a.shape[-1], dtype=a.dtype)
        return unit
    if n < 0:
        a, n = np.linalg.inv(a), -n
    result = None
    while True:
        n, bit = divmod(n, 2)
        if bit:
            result = a if result is None else matmul(result, a)
        if n == 0:
            return result
        a = matmul(a, a)
