"""reduce, accumulate and reduceat of any ufunc of two arrays, composed of the ufunc itself on slices.

Associative ufuncs fold by halves and accumulate by doubling (D. Hillis and G. Steele, Data parallel algorithms, 1986), so
that a long axis takes few calls; the others go through their axis one slice at a time. Sums, products and extrema have
rules of their own, which are used where they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import FUNCTIONS, UFUNCS, Op, define
from .axes import as_operand, axes_of, is_given, is_mask, plain_value, reduced, reduced_first, reduced_shape

ASSOCIATIVE = frozenset(
    (np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot)
)


def _probe(x: Any) -> np.ndarray:
    """Return ones of the dtype and dimensions of `x`, with no extent above 1: NumPy itself tells with them what is wrong."""
    return np.ones(tuple(min(n, 1) for n in x.shape), x.dtype)


def _is_constant(ufunc: np.ufunc) -> bool:
    # What floor_divide has not divided yet, the first element or the only one, it passes on as it is.
    return ufunc in UFUNCS and UFUNCS[ufunc].zero_gradient and ufunc is not np.floor_divide


@lru_cache(maxsize=256)
def _constant_op(ufunc: np.ufunc, method: str) -> Op:
    function = getattr(ufunc, method)

    def infer(x: np.ndarray, where: Any = True, *, axis: Any, **options: Any) -> np.ndarray:
        made = function(_probe(x), axis=axis, **options)
        if method == "accumulate":
            return phantom.elementwise([x], made.dtype)
        return reduced(x, axis, options["keepdims"], made.dtype)

    def run(x: Any, where: Any = True, **options: Any) -> Any:
        return function(x, **options) if where is True else function(x, where=where, **options)

    return define(
        f"{ufunc.__name__}.{method}",
        run,
        inputs="x" if method == "accumulate" else "x where",
        parameters=("axis", "keepdims", "initial"),
        infer=infer,
        workspace=lambda out, x, *_, **options: out.nbytes,
        zero_gradient=True,
    )


def reduce(
    ufunc: np.ufunc,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    keepdims: bool = False,
    initial: Any = np._NoValue,
    where: Any = True,
) -> Any:
    """Return ``ufunc.reduce(array, ...)``."""
    handler = FUNCTIONS.get((ufunc, "reduce"))  # pyright: ignore[reportArgumentType]
    if handler is not None:
        return handler(array, axis, dtype, None, keepdims, initial, where)
    x = as_operand(array)
    options: dict = {"keepdims": bool(keepdims)}
    if initial is not np._NoValue:
        options["initial"] = initial
    plain_options = options | ({"initial": 1} if is_given(initial) else {})
    if is_mask(where):
        plain_options["where"] = np.ones((), bool)
    made = ufunc.reduce(_probe(x), axis=axis, dtype=dtype, **plain_options)  # pyright: ignore
    axis = None if axis is None else axes_of(axis, x.ndim)
    if _is_constant(ufunc):
        if is_given(initial):
            options["initial"] = plain_value(initial)[()]
        if dtype is not None:
            x = x.astype(made.dtype)
        mask = where if is_mask(where) else True
        return apply(_constant_op(ufunc, "reduce"), (x, mask), {"axis": axis, **options})
    if made.dtype != x.dtype:
        x = x.astype(made.dtype)
    start = as_operand(initial).astype(made.dtype) if is_given(initial) else None
    mask = reduced_first(np.broadcast_to(as_operand(where), x.shape), axis)[0] if is_mask(where) else None
    y = _folded(ufunc, reduced_first(x, axis)[0], start, mask)
    return np.reshape(y, reduced_shape(x.shape, axis, bool(keepdims)))


def _folded(ufunc: np.ufunc, x: Any, start: Any, mask: Any) -> Any:
    """Return the fold of `x` along its first axis, from `start` on unless None, over what `mask` lets in unless None."""
    n = x.shape[0]
    neutral = ufunc.identity if start is None else start
    if n == 0:
        return np.sum(x, axis=0) + neutral
    if ufunc is np.subtract:
        x = x if mask is None else np.where(mask, x, 0)
        return x[0] - np.sum(x[1:], axis=0) if start is None else start - np.sum(x, axis=0)
    if ufunc in ASSOCIATIVE:
        if mask is not None:
            x = np.where(mask, x, ufunc.identity if ufunc.identity is not None else neutral)
        y = _halved(ufunc, x)
        return y if start is None else ufunc(start, y)
    y = x[0] if start is None else np.broadcast_to(start, x.shape[1:])
    for k in range(1 if start is None else 0, n):
        if mask is None:
            y = ufunc(y, x[k])
        else:
            y = np.where(mask[k], ufunc(y, np.where(mask[k], x[k], 1)), y)
    return y


def _halved(ufunc: np.ufunc, x: Any) -> Any:
    while x.shape[0] > 1:
        half = x.shape[0] // 2
        paired = ufunc(x[:half], x[half : 2 * half])
        x = np.concatenate([paired, x[2 * half :]]) if x.shape[0] % 2 else paired
    return x[0]


def accumulate(ufunc: np.ufunc, array: Any, axis: int = 0, dtype: Any = None) -> Any:
    """Return ``ufunc.accumulate(array, ...)``."""
    x = as_operand(array)
    made = ufunc.accumulate(_probe(x), axis=axis, dtype=dtype)
    handler = FUNCTIONS.get((ufunc, "accumulate"))  # pyright: ignore[reportArgumentType]
    if handler is not None:
        return handler(x, axis, dtype)
    axis = int(axis) % x.ndim
    if _is_constant(ufunc):
        x = x if dtype is None else x.astype(made.dtype)
        return apply(_constant_op(ufunc, "accumulate"), (x,), {"axis": axis})
    if made.dtype != x.dtype:
        x = x.astype(made.dtype)
    if not x.size:
        return np.copy(x)
    y = np.moveaxis(x, axis, 0)
    n = y.shape[0]
    if ufunc is np.subtract:
        y = np.cumsum(np.concatenate([y[:1], -y[1:]]), axis=0)
    elif ufunc in ASSOCIATIVE:
        step = 1
        while step < n:
            y = np.concatenate([y[:step], ufunc(y[:-step], y[step:])])
            step *= 2
    else:
        slices = [y[0]]
        for k in range(1, n):
            slices.append(ufunc(slices[-1], y[k]))
        y = np.stack(slices)
    return np.moveaxis(y, 0, axis)


def reduceat(ufunc: np.ufunc, array: Any, indices: Any, axis: int = 0, dtype: Any = None) -> Any:
    """Return ``ufunc.reduceat(array, indices, ...)``: one reduction per index, up to the next index if that is larger."""
    x = as_operand(array)
    indices = plain_value(indices)
    ufunc.reduceat(_probe(x), np.zeros(1, np.intp), axis=axis, dtype=dtype)
    axis = int(axis) % x.ndim
    n = x.shape[axis]
    ufunc.reduceat(np.broadcast_to(np.ones((), x.dtype), (n,)), indices)  # raises for indices that are out of bounds
    starts = indices.tolist()
    lead = (slice(None),) * axis
    pieces = [] if starts else [x[(*lead, slice(0, 0))]]
    for start, end in zip(starts, [*starts[1:], n], strict=True):
        stop = end if end > start else start + 1
        pieces.append(reduce(ufunc, x[(*lead, slice(start, stop))], axis, dtype, keepdims=True))
    return np.concatenate(pieces, axis=axis)
