"""Medians, quantiles and percentiles: gathers of order statistics, and straight lines between two of them.

The places are found on plain values; only the two neighbours of each quantile are gathered, so that the gradient of a
median is a sparse scatter. The methods are the nine of Hyndman and Fan, "Sample quantiles in statistical packages"
(1996), and NumPy's own four.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array
from ..layouts import in_order_of, layout
from ..op import implements
from ..python_numbers import is_python_number
from .axes import as_operand, checked_axis, is_kept, plain_value, reduced, reduced_first, reduced_shape
from .statistics import in_given_order


@dataclass(frozen=True, slots=True)
class Method:
    """Where a quantile lies: at ``place(n, q)`` among n sorted values, rounded to `nearby` if it is one of them.

    Between two values the share of the upper one is the fraction of the place, or ``share(place)`` where that is fixed.
    """

    place: Callable
    nearby: Callable | None = None
    share: Callable | None = None


def _between(alpha: float, beta: float) -> Method:
    return Method(lambda n, q: n * q + (alpha + q * (1 - alpha - beta)) - 1)


def _after(place: Any) -> Any:
    """Return the place itself where there is a value, else the next one."""
    low = np.floor(place)
    return np.where(np.equal(place, low), low, low + 1)


def _nearest_odd(place: Any) -> Any:
    low = np.floor(place)
    return np.where(np.logical_and(np.equal(place, low), np.equal(low % 2, 1)), low, low + 1)


METHODS = {
    "inverted_cdf": Method(lambda n, q: n * q - 1, _after),
    "averaged_inverted_cdf": Method(lambda n, q: n * q - 1, share=lambda p: np.where(np.equal(p, np.floor(p)), 0.5, 1.0)),
    "closest_observation": Method(lambda n, q: n * q - 1 - 0.5, _nearest_odd),
    "interpolated_inverted_cdf": _between(0, 1),
    "hazen": _between(0.5, 0.5),
    "weibull": _between(0, 0),
    "linear": Method(lambda n, q: (n - 1) * q),
    "median_unbiased": _between(1 / 3.0, 1 / 3.0),
    "normal_unbiased": _between(3 / 8.0, 3 / 8.0),
    "lower": Method(lambda n, q: (n - 1) * q, np.floor),
    "higher": Method(lambda n, q: (n - 1) * q, np.ceil),
    "midpoint": Method(
        lambda n, q: 0.5 * (np.floor((n - 1) * q) + np.ceil((n - 1) * q)),
        share=lambda p: np.where(np.equal(p % 1, 0), 0.0, 0.5),
    ),
    "nearest": Method(lambda n, q: (n - 1) * q, np.around),
}


def _gathered(x: Any, rows: np.ndarray) -> Any:
    """Return ``x[rows[..., i, j], i, j]`` for all slices i, j: rows has the shape of the rest, broadcast, behind its own."""
    rest = x.shape[1:]
    grid = [np.arange(n).reshape([-1 if j == k else 1 for j in range(len(rest))]) for k, n in enumerate(rest)]
    return x[(np.broadcast_to(rows, np.broadcast_shapes(rows.shape, rest)), *grid)]


def _numbers(plain: np.ndarray, ignores_nan: bool) -> tuple[Any, Any]:
    """Return how many numbers each slice holds (an int where none holds NaN), and which slices are spoilt by NaN."""
    if plain.dtype.kind not in "fc":
        return plain.shape[0], np.zeros(plain.shape[1:], bool)
    missing = np.isnan(plain)
    if not missing.any():
        return plain.shape[0], np.zeros(plain.shape[1:], bool)
    if not ignores_nan:
        return plain.shape[0], missing.any(axis=0)
    present = plain.shape[0] - missing.sum(axis=0)
    spoilt = present == 0
    for _ in range(np.count_nonzero(spoilt)):
        warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=4)
    return np.maximum(present, 1), spoilt


def _rows(plain: np.ndarray, spoilt: np.ndarray, *ranks: Any) -> list[np.ndarray]:
    """Return where the values of the given ranks stand; in a spoilt slice, where a NaN does."""
    n = plain.shape[0]
    ranks = tuple(np.asarray(np.where(spoilt, n - 1, rank), np.intp) for rank in ranks)
    wanted = np.unique(np.concatenate([rank.ravel() for rank in ranks]))
    order = np.argpartition(plain, wanted, axis=0) if wanted.size else np.zeros(plain.shape, np.intp)
    shape = plain.shape[1:]
    grid = [np.arange(m).reshape([-1 if j == k else 1 for j in range(len(shape))]) for k, m in enumerate(shape)]
    return [order[(rank, *grid)] for rank in ranks]


def _median(a: Any, axis: Any, keepdims: Any, ignores_nan: bool) -> Any:
    a = as_operand(a)
    axis = checked_axis(axis, a.ndim)
    shape = reduced_shape(a.shape, axis, is_kept(keepdims))
    x, _ = reduced_first(a, axis)
    if not x.size:
        return np.mean(a, axis=axis, keepdims=is_kept(keepdims))
    plain = plain_value(x)
    n, spoilt = _numbers(plain, ignores_nan)
    if isinstance(n, int) and n % 2:
        (rows,) = _rows(plain, spoilt, (n - 1) // 2)
        middle = _gathered(x, rows[None])
    else:
        middle = _gathered(x, np.stack(_rows(plain, spoilt, (n - 1) // 2, n // 2)))
    result = np.reshape(np.mean(middle, axis=0), shape)
    if ignores_nan or not isinstance(axis, int):
        return result
    return in_order_of(result, reduced(layout(a), axis, is_kept(keepdims), result.dtype))  # what np.mean makes of a copy


@implements(np.median)
def median(a, axis=None, out=None, overwrite_input=False, keepdims=False) -> Any:
    """Compose a median: the mean of the one or two middle values."""
    return _median(a, axis, keepdims, ignores_nan=False)


@implements(np.nanmedian)
def nanmedian(a, axis=None, out=None, overwrite_input=False, keepdims=False) -> Any:
    """Compose a median without NaN."""
    a = as_operand(a)
    if not a.size:
        return np.nanmean(a, axis=axis, keepdims=is_kept(keepdims))
    return _median(a, axis, keepdims, ignores_nan=True)


def _quantile(a: Any, q: Any, axis: Any, method: str, keepdims: Any, weights: Any, scale: Any, function: Any) -> Any:
    result = _quantiles(a, q, axis, method, keepdims, weights, scale, function)
    count = np.ndim(q)
    if function not in (np.nanquantile, np.nanpercentile) or axis is None or not count or result.ndim < 2:
        return result
    # NumPy goes along one line at a time, and has what it finds there innermost in memory.
    order = (*range(count, result.ndim), *range(count))
    return in_order_of(result, phantom.in_axes(result.shape, result.dtype, order))


def _quantiles(a: Any, q: Any, axis: Any, method: str, keepdims: Any, weights: Any, scale: Any, function: Any) -> Any:
    ignores_nan = function in (np.nanquantile, np.nanpercentile)
    a = as_operand(a)
    if a.dtype.kind == "c":
        raise TypeError("a must be an array of real numbers")
    if method not in METHODS:
        raise ValueError(f"{method!r} is not a valid method. Use one of: {', '.join(METHODS)}")
    # A Python number has no say in the result's dtype.
    is_weak = type(q) in (int, float) or type(q) is Array and is_python_number(q)
    q = as_operand(q)
    if scale != 1:
        q = np.true_divide(q, scale)
    if q.ndim > 2:
        raise ValueError("q must be a scalar or 1d")
    fraction = plain_value(q)
    if not np.all((fraction >= 0) & (fraction <= 1)):
        raise ValueError(f"{'Quantiles' if scale == 1 else 'Percentiles'} must be in the range [0, {scale}]")
    axes = in_given_order(axis, a.ndim)
    shape = (*q.shape, *reduced_shape(a.shape, axes, is_kept(keepdims)))
    x, rest = reduced_first(a, axes)
    if not x.size:
        # NumPy raises here, or has a result without elements or of NaN: neither has a gradient to lose.
        plain = function(plain_value(a), plain_value(q) * scale, axis=axes, method=method, keepdims=is_kept(keepdims))
        return np.sum(x) + plain
    if weights is not None:
        return np.reshape(_weighted(a, x, fraction, axes, method, plain_value(weights), ignores_nan), shape)
    rule = METHODS[method]
    plain = plain_value(x)
    n, spoilt = _numbers(plain, ignores_nan)
    q = np.reshape(q, (*q.shape, *(1 for _ in rest)))
    if isinstance(n, np.ndarray) and q.dtype.kind == "f":
        n = n.astype(q.dtype)  # a count of each slice has no more say in the dtype than one of all
    place = rule.place(n, q)
    last = n - 1
    known = plain_value(place)
    if rule.nearby is not None or method == "linear" and known.dtype.kind in "iu":
        rank = np.clip(known if rule.nearby is None else rule.nearby(known), 0, last)
        return np.reshape(_gathered(x, _rows(plain, spoilt, rank)[0]), shape)
    low = np.clip(np.floor(known), 0, last)
    high = np.clip(np.floor(known) + 1, 0, last)
    low, high = (_gathered(x, rows) for rows in _rows(plain, spoilt, low, high))
    share = place - np.floor(known) if rule.share is None else rule.share(known).astype(known.dtype)
    # As NumPy does, count from the nearer end.
    from_high = plain_value(share) >= 0.5
    share = np.where(from_high, share - 1, share)
    if is_weak and x.dtype.kind == "f":
        share = share.astype(x.dtype)
    return np.reshape(np.where(from_high, high, low) + (high - low) * share, shape)


def _weighted(a: Any, x: Any, q: Any, axes: Any, method: str, weights: Any, ignores_nan: bool) -> Any:
    """Return weighted quantiles: NumPy names the values, which are among the given ones, and they are gathered."""
    if method != "inverted_cdf":
        raise ValueError(f"Only method 'inverted_cdf' supports weights. Got: {method}.")
    function = np.nanquantile if ignores_nan else np.quantile
    values = function(plain_value(a), q, axis=axes, method=method, weights=weights)
    plain = plain_value(x)
    chosen = np.reshape(values, (-1, *x.shape[1:]))
    rows = [
        np.argmax(
            (plain == value) | (np.isnan(plain) & np.isnan(value)) if plain.dtype.kind == "f" else plain == value, axis=0
        )
        for value in chosen
    ]
    return _gathered(x, np.stack(rows)) if rows else x[:0]


@implements(np.quantile)
def quantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None) -> Any:
    """Compose quantiles."""
    return _quantile(a, q, axis, method, keepdims, weights, 1, np.quantile)


@implements(np.percentile)
def percentile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None) -> Any:
    """Compose percentiles."""
    return _quantile(a, q, axis, method, keepdims, weights, 100, np.percentile)


@implements(np.nanquantile)
def nanquantile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None) -> Any:
    """Compose quantiles without NaN."""
    return _quantile(a, q, axis, method, keepdims, weights, 1, np.nanquantile)


@implements(np.nanpercentile)
def nanpercentile(a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None) -> Any:
    """Compose percentiles without NaN."""
    return _quantile(a, q, axis, method, keepdims, weights, 100, np.nanpercentile)
