"""Products of vectors, matrices and tensors, all of them made from one batched matrix product."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import define, implements
from .axes import as_operand


def _infer_matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: the inner extents of {a.shape} and {b.shape} differ")
    core = (a.shape[-2], b.shape[-1])
    dtype = np.result_type(a, b)
    if a.ndim < 4 and b.ndim < 4 or a.flags.c_contiguous and b.flags.c_contiguous:
        return phantom.contiguous((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *core), dtype)
    # NumPy lays stacks out as its iterator does; each matrix is contiguous.
    if 0 in (*a.shape, *b.shape):
        return phantom.like(np.matmul(a, b))
    stack = phantom.elementwise([a[..., 0, 0], b[..., 0, 0]], dtype)
    strides = tuple(stride * math.prod(core) for stride in stack.strides)
    made = np.lib.stride_tricks.as_strided(
        phantom.contiguous((), dtype), (*stack.shape, *core), (*strides, core[1] * dtype.itemsize, dtype.itemsize)
    )
    return phantom.like(made)


def _matmul_rule_a(g: Any, b: Any, a_shape: tuple[int, ...]) -> Any:
    if len(b.shape) == 2 and len(a_shape) > 2:
        rows = math.prod(a_shape[:-1])
        return np.reshape(np.matmul(np.reshape(g, (rows, g.shape[-1])), np.swapaxes(b, 0, 1)), a_shape)
    return np.matmul(g, np.swapaxes(b, -1, -2))


def _matmul_rule_b(g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    if len(b_shape) == 2 and len(a.shape) > 2:
        # One large product instead of a batch of products that would be summed.
        rows = math.prod(a.shape[:-1])
        return np.matmul(np.swapaxes(np.reshape(a, (rows, a.shape[-1])), 0, 1), np.reshape(g, (rows, g.shape[-1])))
    return np.matmul(np.swapaxes(a, -1, -2), g)


def is_blas_ready(x: np.ndarray) -> bool:
    """Tell whether BLAS can read the last two axes of `x` as they lie."""
    if x.ndim < 2 or x.dtype.kind not in "fc":
        return True
    rows, columns = x.strides[-2:]
    item = x.itemsize
    return (columns == item and rows >= x.shape[-1] * item and rows % item == 0) or (
        rows == item and columns >= x.shape[-2] * item and columns % item == 0
    )


def _matmul_workspace(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> int:
    """NumPy copies an operand that BLAS cannot read, one matrix at a time, and casts one of another dtype whole."""
    copied = sum(math.prod(x.shape[-2:]) * out.itemsize for x in (a, b) if not is_blas_ready(x))
    return copied + sum(x.size * out.itemsize for x in (a, b) if x.dtype != out.dtype)


MATMUL = define(
    "matmul",
    np.matmul,
    inputs="a b",
    rules=(_matmul_rule_a, _matmul_rule_b),
    infer=_infer_matmul,
    flops=lambda out, a, b: 2.0 * out.size * a.shape[-1],
    workspace=_matmul_workspace,
    run_into=lambda out, a, b: np.matmul(a, b, out=out),
    jvp="multilinear",
)


def conjugated(x: Any) -> Any:
    """Return the complex conjugate; of real numbers, themselves and not a copy."""
    return np.conjugate(x) if x.dtype.kind == "c" else x


@implements(np.matmul, np.linalg.matmul)
def matmul(x1: Any, x2: Any, /) -> Any:
    """Record a matrix product; vectors become rows and columns as in NumPy."""
    a, b = as_operand(x1), as_operand(x2)
    if not a.ndim or not b.ndim:
        raise ValueError("matmul: an operand has no dimensions; multiply by a scalar with *")
    if a.ndim > 1 and b.ndim > 1:
        return apply(MATMUL, (a, b))
    rows = np.reshape(a, (1, a.shape[0])) if a.ndim == 1 else a
    columns = np.reshape(b, (b.shape[0], 1)) if b.ndim == 1 else b
    y = apply(MATMUL, (rows, columns))
    shape = y.shape[:-2] + (() if a.ndim == 1 else y.shape[-2:-1]) + (() if b.ndim == 1 else y.shape[-1:])
    return np.reshape(y, shape)


@implements(np.vecdot)
def vecdot(x1: Any, x2: Any, /) -> Any:
    """Compose products of vectors along the last axis; the first ones are conjugated."""
    a, b = as_operand(x1), as_operand(x2)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"vecdot: {a.shape} and {b.shape} do not end in vectors of one length")
    y = matmul(np.expand_dims(conjugated(a), -2), np.expand_dims(b, -1))
    return np.reshape(y, y.shape[:-2])


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Compose products of vectors along `axis`; the first ones are conjugated."""
    a, b = as_operand(x1), as_operand(x2)
    if axis != -1:
        a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    return vecdot(a, b)


if hasattr(np, "matvec"):  # since NumPy 2.2

    @implements(np.matvec)
    def matvec(x1: Any, x2: Any, /) -> Any:
        """Compose products of matrices and vectors."""
        y = matmul(x1, np.expand_dims(as_operand(x2), -1))
        return np.reshape(y, y.shape[:-1])

    @implements(np.vecmat)
    def vecmat(x1: Any, x2: Any, /) -> Any:
        """Compose products of vectors, which are conjugated, and matrices."""
        y = matmul(np.expand_dims(conjugated(as_operand(x1)), -2), x2)
        return np.reshape(y, (*y.shape[:-2], y.shape[-1]))


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Compose `np.dot` of multiply, matmul or tensordot."""
    a, b = as_operand(a), as_operand(b)
    if a.ndim == 0 or b.ndim == 0:
        return np.multiply(a, b)
    if a.shape[-1] != b.shape[max(b.ndim - 2, 0)]:
        raise ValueError(f"shapes {a.shape} and {b.shape} not aligned: {a.shape[-1]} != {b.shape[max(b.ndim - 2, 0)]}")
    if b.ndim <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((a.ndim - 1,), (b.ndim - 2,)))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    """Compose the product of two flattened arrays; the first one is conjugated."""
    return matmul(conjugated(np.ravel(as_operand(a))), np.ravel(as_operand(b)))


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """Compose the product over the last axes."""
    a, b = as_operand(a), as_operand(b)
    if a.ndim == 0 or b.ndim == 0:
        return np.multiply(a, b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"shapes {a.shape} and {b.shape} not aligned: {a.shape[-1]} != {b.shape[-1]}")
    return tensordot(a, b, ((a.ndim - 1,), (b.ndim - 1,)))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """Compose the outer product of two flattened arrays."""
    a, b = np.ravel(as_operand(a)), np.ravel(as_operand(b))
    return np.multiply(np.expand_dims(a, 1), np.expand_dims(b, 0))


@implements(np.linalg.outer)
def linalg_outer(x1: Any, x2: Any, /) -> Any:
    """Compose the outer product of two vectors."""
    a, b = as_operand(x1), as_operand(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"Input arrays must be one-dimensional, but they are x1.ndim={a.ndim} and x2.ndim={b.ndim}.")
    return outer(a, b)


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Compose a contraction of transposes, reshapes and one matmul."""
    a, b = as_operand(a), as_operand(b)
    if np.ndim(axes) == 0 and not isinstance(axes, (tuple, list)):
        left, right = list(range(-operator.index(axes), 0)), list(range(operator.index(axes)))
    else:
        left, right = ([k] if np.ndim(k) == 0 else list(k) for k in axes)
    if len(left) != len(right):
        raise ValueError("shape-mismatch for sum")
    left = [_axis(k, a.ndim) for k in left]
    right = [_axis(k, b.ndim) for k in right]
    if len(set(left)) != len(left) or len(set(right)) != len(right):
        raise ValueError("duplicate axes are not allowed in tensordot")
    if [a.shape[k] for k in left] != [b.shape[k] for k in right]:
        raise ValueError(f"shape-mismatch for sum: the extents of {a.shape} over {left} and of {b.shape} over {right} differ")
    free_a = [k for k in range(a.ndim) if k not in left]
    free_b = [k for k in range(b.ndim) if k not in right]
    inside = math.prod(a.shape[k] for k in left)
    rows, columns = [a.shape[k] for k in free_a], [b.shape[k] for k in free_b]
    y = matmul(
        np.reshape(np.transpose(a, (*free_a, *left)), (math.prod(rows), inside)),
        np.reshape(np.transpose(b, (*right, *free_b)), (inside, math.prod(columns))),
    )
    return np.reshape(y, (*rows, *columns))


def _axis(axis: Any, ndim: int) -> int:
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


@implements(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Compose a contraction."""
    return tensordot(x1, x2, axes)


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
    a, b = np.moveaxis(a, _axis(axisa, a.ndim), -1), np.moveaxis(b, _axis(axisb, b.ndim), -1)
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
    return np.moveaxis(y, -1, _axis(axisc, y.ndim))


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
        return np.zeros_like(a) + np.eye(a.shape[-1], dtype=a.dtype)
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
