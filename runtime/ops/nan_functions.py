"""Reductions that leave out NaN, composed of the plain ones on arrays in which NaN is replaced."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from ..op import implements
from .axes import as_operand, is_given, is_kept, is_mask, plain_value
from .extrema import maximum, minimum
from .products import cumprod, product
from .roots import root, squares
from .statistics import chosen_ddof, real_dtype
from .sums import cumsum, total


def _without_nan(a: Any, fill: Any) -> Any:
    """Return `a` with `fill` for NaN; the replaced ones get no gradient."""
    a = as_operand(a)
    if a.dtype.kind not in "fc":
        return a
    return np.where(np.isnan(a), np.asarray(fill, a.dtype), a)


@implements(np.nansum)
def nansum(a, axis=None, dtype=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Compose a sum without NaN."""
    return total(_without_nan(a, 0), axis, dtype, keepdims=keepdims, initial=initial, where=where)


@implements(np.nanprod)
def nanprod(a, axis=None, dtype=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Compose a product without NaN."""
    return product(_without_nan(a, 1), axis, dtype, keepdims=keepdims, initial=initial, where=where)


@implements(np.nancumsum)
def nancumsum(a, axis=None, dtype=None, out=None) -> Any:
    """Compose running sums without NaN."""
    return cumsum(_without_nan(a, 0), axis, dtype)


@implements(np.nancumprod)
def nancumprod(a, axis=None, dtype=None, out=None) -> Any:
    """Compose running products without NaN."""
    return cumprod(_without_nan(a, 1), axis, dtype)


def _extremum(handler: Any, worst: float, a: Any, axis: Any, keepdims: Any, initial: Any, where: Any) -> Any:
    a = as_operand(a)
    if a.dtype.kind not in "fc":
        return handler(a, axis, keepdims=keepdims, initial=initial, where=where)
    lowest = complex(worst, worst) if a.dtype.kind == "c" else worst
    y = handler(_without_nan(a, lowest), axis, keepdims=keepdims, initial=initial, where=where)
    if is_given(initial):
        return y
    all_nan = np.all(np.isnan(a), axis=axis, keepdims=is_kept(keepdims))
    if not np.any(all_nan):
        return y
    warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=2)
    return np.where(all_nan, np.asarray(math.nan, a.dtype), y)


@implements(np.nanmax)
def nanmax(a, axis=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Compose a maximum without NaN; ties share the gradient equally."""
    return _extremum(maximum, -math.inf, a, axis, keepdims, initial, where)


@implements(np.nanmin)
def nanmin(a, axis=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Compose a minimum without NaN; ties share the gradient equally."""
    return _extremum(minimum, math.inf, a, axis, keepdims, initial, where)


def _numbers(a: Any, axis: Any, keepdims: Any, where: Any, ddof: Any, warning: str) -> Any:
    """Return how many numbers count in each slice, less `ddof`: NaN, after the warning, where too few are left."""
    present = np.logical_not(np.isnan(a))
    if is_mask(where):
        present = np.logical_and(present, where)
    left = np.sum(present, axis=axis, keepdims=is_kept(keepdims)).astype(real_dtype(a.dtype)) - ddof
    too_few = np.less_equal(left, 0)
    if np.any(too_few):
        warnings.warn(warning, RuntimeWarning, stacklevel=3)
        left = np.where(too_few, np.asarray(math.nan, left.dtype), left)
    return left


def _require_inexact(dtype: Any) -> None:
    if is_given(dtype) and np.dtype(dtype).kind not in "fc":
        raise TypeError("If a is inexact, then dtype must be inexact")


@implements(np.nanmean)
def nanmean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True) -> Any:
    """Compose a mean without NaN."""
    a = as_operand(a)
    if a.dtype.kind not in "fc":
        return np.mean(a, axis=axis, dtype=dtype, keepdims=is_kept(keepdims), where=where)
    _require_inexact(dtype)
    y = total(_without_nan(a, 0), axis, dtype, keepdims=keepdims, where=where)
    return y / _numbers(a, axis, keepdims, where, 0, "Mean of empty slice").astype(real_dtype(y.dtype))


@implements(np.nanvar)
def nanvar(
    a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=np._NoValue, correction=np._NoValue
) -> Any:
    """Compose a variance without NaN."""
    a = as_operand(a)
    ddof = chosen_ddof(ddof, correction)
    if a.dtype.kind not in "fc":
        return np.var(a, axis=axis, dtype=dtype, ddof=ddof, keepdims=is_kept(keepdims), where=where, mean=mean)
    _require_inexact(dtype)
    center: Any = mean
    if not is_given(mean):
        present = np.sum(np.logical_not(np.isnan(a)), axis=axis, keepdims=True, where=where).astype(real_dtype(a.dtype))
        # A slice without numbers has no mean either; what it gets here is left out again below.
        center = total(_without_nan(a, 0), axis, dtype, keepdims=True, where=where) / np.maximum(present, 1)
    deviation = np.where(np.isnan(a), np.asarray(0, a.dtype), a - as_operand(center).astype(a.dtype))
    square = squares(deviation)
    y = total(square, axis, real_dtype(dtype) if is_given(dtype) else None, keepdims=keepdims, where=where)
    y = y / _numbers(a, axis, keepdims, where, ddof, "Degrees of freedom <= 0 for slice.").astype(y.dtype)
    return y.astype(dtype) if is_given(dtype) and y.dtype != dtype else y


@implements(np.nanstd)
def nanstd(a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, **keywords) -> Any:
    """Compose a standard deviation without NaN; its gradient is 0 where all numbers are equal."""
    return root(nanvar(a, axis, dtype, None, ddof, keepdims, **keywords))


def _place(function: Any) -> None:
    def place(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        return function(plain_value(a), axis=axis, keepdims=is_kept(keepdims))

    place.__name__ = function.__name__
    implements(function)(place)


_place(np.nanargmax)
_place(np.nanargmin)
