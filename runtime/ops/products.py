"""Products and running products, with exact derivatives of every order where factors are zero.

Nothing is divided. The product of all other factors comes down a binary tree of partial products, and the derivatives
of running products obey a linear recurrence, solved pairwise as a scan (Blelloch, "Prefix sums and their applications",
1990). Both take O(n) multiplications of whole slices.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import define, implements
from .axes import (
    as_operand,
    axes_of,
    checked_axis,
    expand,
    is_given,
    is_kept,
    is_mask,
    masked,
    reduced,
)
from .sums import along_first, cumulative, running, sum_dtype, with_initial


def _others(x: Any) -> Any:
    """Return, along the last axis, the product of all the other elements."""
    n = x.shape[-1]
    if n < 2:
        return np.ones(x.shape, x.dtype)
    if n == 2:
        return x[..., ::-1]
    half = n // 2
    left, right, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    outside = _others(np.concatenate([left * right, rest], axis=-1))
    above = outside[..., :half]
    return np.concatenate([above * right, above * left, outside[..., half:]], axis=-1)


def _others_over(x: Any, axis: Any) -> Any:
    """Return the product of all other elements that a product over `axis` multiplies."""
    shape = x.shape
    if not shape:
        return np.ones((), x.dtype)
    axes = axes_of(axis, len(shape))
    order = (*(k for k in range(len(shape)) if k not in axes), *axes)
    moved = np.transpose(x, order)
    merged = np.reshape(moved, (*moved.shape[: len(shape) - len(axes)], math.prod(shape[k] for k in axes)))
    return np.transpose(np.reshape(_others(merged), moved.shape), tuple(np.argsort(order).tolist()))


PRODUCT = define(
    "prod",
    lambda x, axis, keepdims: np.multiply.reduce(x, axis=axis, keepdims=keepdims),
    inputs="x",
    parameters=("axis", "keepdims"),
    rules=lambda g, x, axis, keepdims: expand(g, x.shape, axis, keepdims) * _others_over(x, axis),
    infer=lambda x, axis, keepdims: reduced(x, axis, keepdims, sum_dtype(np.result_type(x))),
    flops=lambda out, x, axis, keepdims: float(x.size),
    jvp=lambda t, x, axis, keepdims: np.sum(t * _others_over(x, axis), axis=axis, keepdims=keepdims),
)


@implements(np.prod)
def product(a, axis=None, dtype=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Record a product."""
    a = as_operand(a)
    if is_mask(where):
        a = masked(a, where, 1)
    if is_given(dtype):
        a = a.astype(dtype)
    y = apply(PRODUCT, (a,), {"axis": checked_axis(axis, a.ndim), "keepdims": is_kept(keepdims)})
    return with_initial(np.multiply, y, initial)


def _recurrence(a: Any, b: Any) -> Any:
    """Return h along the last axis, where ``h[k] = a[k] * h[k - 1] + b[k]`` and ``h[0] = b[0]``."""
    n = b.shape[-1]
    if n < 2:
        return b
    pairs = n // 2
    even, odd = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    ends = _recurrence(a[..., odd] * a[..., even], a[..., odd] * b[..., even] + b[..., odd])
    inner = a[..., 2::2] * ends[..., : (n - 1) // 2] + b[..., 2::2]
    starts = np.concatenate([b[..., :1], inner], axis=-1)
    woven = np.reshape(np.stack([starts[..., :pairs], ends], axis=-1), (*b.shape[:-1], 2 * pairs))
    return np.concatenate([woven, starts[..., pairs:]], axis=-1) if n % 2 else woven


def _before(x: Any) -> Any:
    """Return the products of all earlier elements along the last axis."""
    ones = np.ones((*x.shape[:-1], 1), x.dtype)
    return np.concatenate([ones, np.cumprod(x[..., :-1], axis=-1)], axis=-1)


def _cumprod_rule(g: Any, x: Any, axis: int) -> Any:
    x, g = np.swapaxes(x, axis, -1), np.swapaxes(g, axis, -1)
    # What reaches x[k] through all later products, divided by the ones before it: s[k] = g[k] + x[k + 1] * s[k + 1].
    factors = np.concatenate([np.ones((*x.shape[:-1], 1), x.dtype), x[..., :0:-1]], axis=-1)
    later = _recurrence(factors, g[..., ::-1])[..., ::-1]
    return np.swapaxes(_before(x) * later, axis, -1)


def _cumprod_tangent(t: Any, x: Any, axis: int) -> Any:
    x, t = np.swapaxes(x, axis, -1), np.swapaxes(t, axis, -1)
    return np.swapaxes(_recurrence(x, _before(x) * t), axis, -1)


CUMPROD = define(
    "cumprod",
    lambda x, axis: np.cumprod(x, axis=axis),
    inputs="x",
    parameters=("axis",),
    rules=_cumprod_rule,
    infer=lambda x, axis: phantom.elementwise([x], sum_dtype(x.dtype)),
    jvp=_cumprod_tangent,
)


@implements(np.cumprod)
def cumprod(a, axis=None, dtype=None, out=None) -> Any:
    """Record running products."""
    a, axis = running(a, axis)
    return apply(CUMPROD, (a.astype(dtype) if is_given(dtype) else a,), {"axis": axis})


@implements(np.cumulative_prod)
def cumulative_prod(x, /, *, axis=None, dtype=None, out=None, include_initial=False) -> Any:
    """Compose running products, with a one in front if asked."""
    return cumulative(cumprod, x, axis, dtype, 1, include_initial)


implements((np.multiply, "reduce"))(along_first(product))  # pyright: ignore[reportArgumentType]
implements((np.multiply, "accumulate"))(along_first(cumprod))  # pyright: ignore[reportArgumentType]
