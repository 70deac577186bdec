"""Products of vectors, matrices and tensors, all of them made from one batched matrix product."""

from __future__ import annotations

import importlib
import math
import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply
from ..layouts import in_c_order
from ..op import OPS, define, implements
from ..recorders import takes_over
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


def _with_keywords(product: Callable, operands: tuple, axes: Any, dtype: Any, casting: Any) -> Any:
    """Return the product of operands in another dtype, or whose vectors and matrices lie in other axes than the last."""
    moved = [as_operand(a) for a in operands]
    if dtype is not None:
        for a in moved:
            if not np.can_cast(a.dtype, dtype, casting):
                raise TypeError(f"cannot cast an operand from {a.dtype} to {np.dtype(dtype)} by the rule {casting!r}")
        moved = [a if a.dtype == dtype else a.astype(dtype) for a in moved]
    if axes is None:
        return product(*moved)
    places = [(k,) if np.ndim(k) == 0 else tuple(k) for k in axes]
    if len(places) not in (len(moved), len(moved) + 1):
        raise ValueError(f"axes should hold an entry for each of {len(moved)} operands and one for the result")
    y = product(*(np.moveaxis(a, k, range(-len(k), 0)) for a, k in zip(moved, places, strict=False)))
    target = places[len(moved)] if len(places) > len(moved) else ()
    return np.moveaxis(y, range(-len(target), 0), target) if target else y


def _product_with_foreign(a: Any, b: Any) -> Any:
    """Return a product with a sparse matrix of SciPy; of others NotImplemented, for their own class to act."""
    scipy_sparse = sys.modules.get("scipy.sparse")
    if scipy_sparse is None or not (scipy_sparse.issparse(a) or scipy_sparse.issparse(b)):
        return NotImplemented
    return importlib.import_module("..scipy.sparse", __package__).matmul(a, b)


@implements(np.matmul)
def matmul(x1: Any, x2: Any, /, *, axes: Any = None, dtype: Any = None, casting: Any = "same_kind") -> Any:
    """Record a matrix product; vectors become rows and columns as in NumPy."""
    if axes is not None or dtype is not None:
        return _with_keywords(matmul, (x1, x2), axes, dtype, casting)
    if takes_over(x1) or takes_over(x2):
        return _product_with_foreign(x1, x2)
    a, b = as_operand(x1), as_operand(x2)
    if not a.ndim or not b.ndim:
        raise ValueError("matmul: an operand has no dimensions; multiply by a scalar with *")
    if a.ndim > 1 and b.ndim > 1:
        return apply(MATMUL, (a, b))
    rows = _reshaped(a, (1, a.shape[0])) if a.ndim == 1 else a
    columns = _reshaped(b, (b.shape[0], 1)) if b.ndim == 1 else b
    y = apply(MATMUL, (rows, columns))
    shape = y.shape[:-2] + (() if a.ndim == 1 else y.shape[-2:-1]) + (() if b.ndim == 1 else y.shape[-1:])
    return _product_of_vectors(y) if not shape else _reshaped(y, shape)


def _reshaped(a: Any, shape: tuple[int, ...]) -> Any:
    """Return a reshape of an operand or a result that the program has no name for, so that nobody sees it is a view."""
    return apply(OPS["reshape"], (a,), {"shape": shape})


def _product_of_vectors(y: Any) -> Any:
    """Return the one element of a product as a number, which no name sees being changed under another."""
    y = _reshaped(y, ())
    return y if type(y) is Array else y[()]


@implements(np.linalg.matmul)
def linalg_matmul(x1: Any, x2: Any, /) -> Any:
    """Record a matrix product."""
    return matmul(x1, x2)


@implements(np.vecdot)
def vecdot(
    x1: Any, x2: Any, /, *, axis: int | None = None, axes: Any = None, keepdims: bool = False, dtype: Any = None,
    casting: Any = "same_kind",
) -> Any:  # fmt: skip
    """Compose products of vectors along the last axis, or another; the first ones are conjugated."""
    if axis is not None:
        if axes is not None:
            raise TypeError("cannot specify both 'axis' and 'axes'")
        axes = [(axis,), (axis,)]
    if keepdims:
        y = vecdot(x1, x2, axes=axes if axes is None else axes[:2], dtype=dtype, casting=casting)
        return np.expand_dims(y, -1 if axes is None else axes[-1])
    if axes is not None or dtype is not None:
        return _with_keywords(vecdot, (x1, x2), axes, dtype, casting)
    a, b = as_operand(x1), as_operand(x2)
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"vecdot: {a.shape} and {b.shape} do not end in vectors of one length")
    y = matmul(np.expand_dims(conjugated(a), -2), np.expand_dims(b, -1))
    return _product_of_vectors(y) if y.ndim == 2 else _reshaped(y, y.shape[:-2])


@implements(np.linalg.vecdot)
def linalg_vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Compose products of vectors along `axis`; the first ones are conjugated."""
    return vecdot(x1, x2, axis=axis)


if hasattr(np, "matvec"):  # since NumPy 2.2

    @implements(np.matvec)
    def matvec(x1: Any, x2: Any, /, *, axes: Any = None, dtype: Any = None, casting: Any = "same_kind") -> Any:
        """Compose products of matrices and vectors."""
        if axes is not None or dtype is not None:
            return _with_keywords(matvec, (x1, x2), axes, dtype, casting)
        y = matmul(x1, np.expand_dims(as_operand(x2), -1))
        return np.reshape(y, y.shape[:-1])

    @implements(np.vecmat)
    def vecmat(x1: Any, x2: Any, /, *, axes: Any = None, dtype: Any = None, casting: Any = "same_kind") -> Any:
        """Compose products of vectors, which are conjugated, and matrices."""
        if axes is not None or dtype is not None:
            return _with_keywords(vecmat, (x1, x2), axes, dtype, casting)
        y = matmul(np.expand_dims(conjugated(as_operand(x1)), -2), x2)
        return np.reshape(y, (*y.shape[:-2], y.shape[-1]))


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Compose `np.dot` of multiply, matmul or tensordot."""
    a, b = as_operand(a), as_operand(b)
    if a.ndim == 0 or b.ndim == 0:
        return in_c_order(np.multiply(a, b))
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
    left = [one_axis(k, a.ndim) for k in left]
    right = [one_axis(k, b.ndim) for k in right]
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


def one_axis(axis: Any, ndim: int) -> int:
    """Return an axis as a non-negative integer; raises `AxisError`."""
    axis = operator.index(axis)
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim


@implements(np.linalg.tensordot)
def linalg_tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Compose a contraction."""
    return tensordot(x1, x2, axes)
