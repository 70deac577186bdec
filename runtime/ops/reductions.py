"""Sums, products, extrema, means and cumulative sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import define, implements


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """Return the reduced axes as a sorted tuple of non-negative integers."""
    if axis is None:
        return tuple(range(ndim))
    axis = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(int(a) % ndim if ndim else 0 for a in axis))


def _reduced_shape(shape: tuple[int, ...], axis: Any, keepdims: bool) -> tuple[int, ...]:
    axes = axes_of(axis, len(shape))
    if keepdims:
        return tuple(1 if k in axes else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def expand(g: Any, shape: tuple[int, ...], axis: Any, keepdims: bool) -> Any:
    """Return a reduction's cotangent (or result), broadcastable against the reduced input of `shape`."""
    if keepdims or not shape:
        return g
    return np.reshape(g, _reduced_shape(shape, axis, True))


def _infer(ufunc: np.ufunc):
    def infer(x: Any, axis: Any, keepdims: bool) -> np.ndarray:
        dtype = np.result_type(x)
        if ufunc in (np.add, np.multiply) and dtype.kind in "biu" and dtype.itemsize < 8:
            dtype = np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
        return phantom.contiguous(_reduced_shape(np.shape(x), axis, keepdims), dtype)

    return infer


def _reduction(name: str, ufunc: np.ufunc, rule: Any) -> Any:
    return define(
        name,
        lambda x, axis, keepdims: ufunc.reduce(x, axis=axis, keepdims=keepdims),
        inputs="x",
        parameters=("axis", "keepdims"),
        rules=rule,
        infer=_infer(ufunc),
        flops=lambda out, x, axis, keepdims: float(x.size),
    )


def _extremum_rule(g: Any, x: Any, y: Any, axis: Any, keepdims: bool) -> Any:
    shape = x.shape
    won = np.equal(x, expand(y, shape, axis, keepdims)).astype(g.dtype)
    count = np.sum(won, axis=axis, keepdims=True)
    return won * (expand(g, shape, axis, keepdims) / count)


def _product_rule(g: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Multiply by the product of all the others: exclusive products from both ends, so zeros are exact."""
    shape = x.shape
    axes = axes_of(axis, len(shape))
    rest = [k for k in range(len(shape)) if k not in axes]
    moved = np.transpose(x, (*rest, *axes))
    flat = np.reshape(moved, (*(shape[k] for k in rest), math.prod(shape[k] for k in axes)))
    ones = np.ones((*flat.shape[:-1], 1), x.dtype)
    before = np.concatenate([ones, cumulative_product(flat[..., :-1])], axis=-1)
    after = np.flip(np.concatenate([ones, cumulative_product(np.flip(flat, -1)[..., :-1])], axis=-1), -1)
    others = np.transpose(np.reshape(before * after, moved.shape), tuple(np.argsort((*rest, *axes)).tolist()))
    return expand(g, shape, axis, keepdims) * others


def cumulative_product(x: Any) -> Any:
    """Return running products along the last axis, by doubling (log n multiplications of whole arrays)."""
    n = x.shape[-1]
    step = 1
    while step < n:
        x = np.concatenate([x[..., :step], x[..., step:] * x[..., :-step]], axis=-1)
        step *= 2
    return x


SUM = _reduction(
    "sum",
    np.add,
    lambda g, x_shape, axis, keepdims: np.broadcast_to(expand(g, x_shape, axis, keepdims), x_shape),
)
PRODUCT = _reduction("prod", np.multiply, _product_rule)
MAXIMUM = _reduction("max", np.maximum, _extremum_rule)
MINIMUM = _reduction("min", np.minimum, _extremum_rule)


def _normalised(x: Any, axis: Any) -> Any:
    ndim = np.ndim(x)
    if axis is None:
        return None
    axes = axis if isinstance(axis, tuple) else (axis,)
    for a in axes:
        if not -max(ndim, 1) <= int(a) < max(ndim, 1):
            raise np.exceptions.AxisError(int(a), ndim)
    return axes_of(axis, ndim) if isinstance(axis, tuple) else int(axis)


def _reduce(op: Any, x: Any, axis: Any, dtype: Any, keepdims: Any, initial: Any, where: Any, identity: Any) -> Any:
    if where is not True and where is not np._NoValue:
        x = np.where(where, x, identity if identity is not None else initial)
    if dtype is not None:
        x = x.astype(dtype)
    y = apply(op, (x,), {"axis": _normalised(x, axis), "keepdims": keepdims is True})
    if initial is np._NoValue or initial is None:
        return y
    combine = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}[op.name]
    return combine(y, initial)


def _along_first(handler: Any) -> Any:
    """Return a reduction as a ufunc's method has it: its axis is 0 unless one is given."""

    def method(array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, *args: Any, **keywords: Any) -> Any:
        if dtype is not None:
            array = array.astype(dtype)
        return handler(array, axis, None, None, *args, **keywords)

    return method


def _extremum_along_first(handler: Any) -> Any:
    return _along_first(lambda array, axis, dtype, out, *args, **keywords: handler(array, axis, None, *args, **keywords))


@implements(np.sum)
def total(a, axis=None, dtype=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Record a sum."""
    return _reduce(SUM, a, axis, dtype, keepdims, initial, where, 0)


@implements(np.prod)
def product(a, axis=None, dtype=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Record a product."""
    return _reduce(PRODUCT, a, axis, dtype, keepdims, initial, where, 1)


@implements(np.max, np.amax)
def maximum(a, axis=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Record a maximum; ties share the gradient equally."""
    return _reduce(MAXIMUM, a, axis, None, keepdims, initial, where, None)


@implements(np.min, np.amin)
def minimum(a, axis=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Record a minimum; ties share the gradient equally."""
    return _reduce(MINIMUM, a, axis, None, keepdims, initial, where, None)


def _count(x: Any, axis: Any) -> int:
    return math.prod(x.shape[k] for k in axes_of(axis, len(x.shape)))


@implements(np.mean)
def mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True) -> Any:
    """Compose a mean of a sum."""
    if where is not True and where is not np._NoValue:
        count = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims is True).astype(a.dtype)
        return total(a, axis, dtype, keepdims=keepdims, where=where) / count
    if np.dtype(a.dtype).kind in "biu":
        a = a.astype(dtype or np.float64)
    if a.dtype == np.float16 and dtype is None:
        # As NumPy does: a half-precision sum would soon overflow.
        return mean(a.astype(np.float32), axis, keepdims=keepdims).astype(np.float16)
    return total(a, axis, dtype, keepdims=keepdims) / float(_count(a, axis))


@implements(np.var)
def var(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=None, correction=None) -> Any:
    """Compose a variance."""
    if correction is not None and correction is not np._NoValue:
        ddof = correction
    is_masked = where is not True and where is not np._NoValue
    if mean is None or mean is np._NoValue:
        mean = np.mean(a, axis=axis, dtype=dtype, keepdims=True, where=where)
    deviation = np.where(where, a - mean, 0) if is_masked else a - mean
    if is_masked:
        count = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims is True).astype(a.dtype) - ddof
    else:
        count = float(_count(a, axis) - ddof)
    return total(deviation * deviation, axis, dtype, keepdims=keepdims) / count


@implements(np.std)
def std(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, **keywords) -> Any:
    """Compose a standard deviation; its gradient is 0 where all values are equal."""
    variance = var(a, axis, dtype, out, ddof, keepdims, **keywords)
    is_zero = np.equal(variance, 0)
    return np.where(is_zero, 0, np.sqrt(np.where(is_zero, 1, variance)))


@implements(np.average)
def average(a, axis=None, weights=None, returned=False, *, keepdims=False) -> Any:
    """Compose a weighted mean."""
    if weights is None:
        result = np.mean(a, axis=axis, keepdims=keepdims is True)
        total = result * 0 + float(_count(a, axis))
    else:
        weights = np.asarray(weights) if isinstance(weights, (list, tuple)) else weights
        if weights.shape != a.shape:
            shape = [1] * a.ndim
            shape[axis] = -1
            weights = np.reshape(weights, shape)
        weights = np.broadcast_to(weights, a.shape)
        total = np.sum(weights, axis=axis, keepdims=keepdims is True)
        result = np.sum(a * weights, axis=axis, keepdims=keepdims is True) / total
    return (result, total) if returned else result


CUMSUM = define(
    "cumsum",
    lambda x, axis: np.cumsum(x, axis=axis),
    inputs="x",
    parameters=("axis",),
    rules=lambda g, axis: np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis),
    infer=lambda x, axis: phantom.contiguous(x.shape, np.cumsum(np.zeros(1, x.dtype)).dtype),
)


@implements(np.cumsum)
def cumsum(a, axis=None, dtype=None, out=None) -> Any:
    """Record running sums."""
    if dtype is not None:
        a = a.astype(dtype)
    if axis is None:
        a, axis = np.reshape(a, (-1,)), 0
    return apply(CUMSUM, (a,), {"axis": int(axis)})


@implements(np.cumprod)
def cumprod(a, axis=None, dtype=None, out=None) -> Any:
    """Compose running products."""
    if dtype is not None:
        a = a.astype(dtype)
    if axis is None:
        a, axis = np.reshape(a, (-1,)), 0
    return np.swapaxes(cumulative_product(np.swapaxes(a, axis, -1)), axis, -1)


for _ufunc, _reduced in ((np.add, total), (np.multiply, product)):
    implements((_ufunc, "reduce"))(_along_first(_reduced))  # pyright: ignore[reportArgumentType]
for _ufunc, _reduced in ((np.maximum, maximum), (np.minimum, minimum)):
    implements((_ufunc, "reduce"))(_extremum_along_first(_reduced))  # pyright: ignore[reportArgumentType]
for _ufunc, _running in ((np.add, cumsum), (np.multiply, cumprod)):
    implements((_ufunc, "accumulate"))(_along_first(_running))  # pyright: ignore[reportArgumentType]


def _constant_reduction(name: str, function: Any, dtype: Any) -> None:
    op = define(
        name,
        lambda x, axis, keepdims: function(x, axis=axis, keepdims=keepdims),
        inputs="x",
        parameters=("axis", "keepdims"),
        infer=lambda x, axis, keepdims: phantom.contiguous(_reduced_shape(x.shape, axis, keepdims), dtype),
        zero_gradient=True,
    )

    @implements(function)
    def reduce(a, axis=None, out=None, keepdims=False) -> Any:
        return apply(op, (a,), {"axis": axis, "keepdims": keepdims is True})


_constant_reduction("argmax", np.argmax, np.intp)
_constant_reduction("argmin", np.argmin, np.intp)
_constant_reduction("any", np.any, np.bool_)
_constant_reduction("all", np.all, np.bool_)


@implements(np.count_nonzero)
def count_nonzero(a, axis=None, *, keepdims=False) -> Any:
    """Record a count; `np.count_nonzero` takes its options by keyword."""
    return np.sum(np.not_equal(a, 0), axis=axis, keepdims=keepdims)


@implements(np.ptp)
def ptp(a, axis=None, out=None, keepdims=False) -> Any:
    """Compose the range of the values."""
    return maximum(a, axis, keepdims=keepdims) - minimum(a, axis, keepdims=keepdims)
