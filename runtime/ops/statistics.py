"""Means, variances, weighted means and covariances, composed of sums and products."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..array import Array
from ..op import implements
from .axes import as_operand, axes_of, checked_axis, count, is_given, is_kept, is_mask, masked
from .roots import norm_over, root, squares
from .sums import total


def _floating(a: Any, dtype: Any) -> Any:
    """Return integers and truths in the dtype that NumPy averages them in."""
    return a.astype(dtype if is_given(dtype) else np.float64) if a.dtype.kind in "biu" else a


def real_dtype(dtype: Any) -> np.dtype:
    """Return the dtype of the real parts."""
    return np.zeros((), dtype).real.dtype


def _counted(a: Any, axis: Any, keepdims: Any, where: Any) -> Any:
    """Return how many elements go into each mean: a number, or an array where a mask decides."""
    if not is_mask(where):
        return float(count(a, axis))
    mask = np.broadcast_to(as_operand(where), a.shape)
    return np.sum(mask, axis=axis, keepdims=is_kept(keepdims)).astype(real_dtype(a.dtype))


@implements(np.mean)
def mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=True) -> Any:
    """Compose a mean of a sum."""
    if type(a) is Array and axis is None and dtype is None and where is True and a.dtype.itemsize > 2 and a.size:
        return total(a, keepdims=keepdims) / a.size
    a = as_operand(a)
    checked_axis(axis, a.ndim)
    if is_given(dtype) and np.dtype(dtype).kind not in "fc":
        return (total(a, axis, dtype, keepdims=keepdims, where=where) / _counted(a, axis, keepdims, where)).astype(dtype)
    a = _floating(a, dtype)
    if a.dtype == np.float16 and not is_given(dtype):
        # As NumPy does: a half-precision sum would soon overflow.
        return mean(a.astype(np.float32), axis, keepdims=keepdims, where=where).astype(np.float16)
    if not is_mask(where) and not count(a, axis):
        warnings.warn("Mean of empty slice.", RuntimeWarning, stacklevel=2)
    return total(a, axis, dtype, keepdims=keepdims, where=where) / _counted(a, axis, keepdims, where)


@implements(np.var)
def var(
    a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=np._NoValue, correction=np._NoValue
) -> Any:
    """Compose a variance."""
    deviation, freedom = _deviation(a, axis, dtype, chosen_ddof(ddof, correction), keepdims, where, mean)
    square = squares(deviation)
    y = total(square, axis, real_dtype(dtype) if is_given(dtype) else None, keepdims=keepdims) / freedom
    return y.astype(dtype) if is_given(dtype) and y.dtype != dtype else y


def _deviation(a: Any, axis: Any, dtype: Any, ddof: Any, keepdims: Any, where: Any, mean: Any) -> tuple[Any, Any]:
    """Return what is left of `a` without its mean, and what the sum of its squares is divided by."""
    a = _floating(as_operand(a), dtype)
    center = mean if is_given(mean) else np.mean(a, axis=axis, dtype=dtype, keepdims=True, where=where)
    deviation = a - center
    freedom = _counted(a, axis, keepdims, where) - ddof
    if is_mask(where):
        return masked(deviation, where, 0), np.maximum(freedom, 0)
    if freedom <= 0:
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=3)
        freedom = 0.0
    return deviation, freedom


def chosen_ddof(ddof: Any, correction: Any) -> Any:
    """Return what is taken off the count, by either of its names."""
    if not is_given(correction):
        return ddof
    if ddof != 0:
        raise ValueError("ddof and correction can't be provided simultaneously.")
    return correction


@implements(np.std)
def std(
    a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=True, mean=np._NoValue, correction=np._NoValue
) -> Any:
    """Compose a standard deviation; its gradient is 0 where all values are equal."""
    ddof = chosen_ddof(ddof, correction)
    if is_given(dtype) or is_mask(where) or count(as_operand(a), axis) <= ddof:
        return root(var(a, axis, dtype, None, ddof, keepdims, where=where, mean=mean))
    deviation, freedom = _deviation(a, axis, dtype, ddof, keepdims, where, mean)
    return norm_over(deviation, axes_of(axis, deviation.ndim), is_kept(keepdims), freedom)


def weights_over(weights: Any, a: Any, axes: Any) -> Any:
    """Return `weights` so shaped that they broadcast against `a`; `axes` are the ones weighted, in the caller's order.

    Raises `TypeError` and `ValueError` as NumPy does.
    """
    weights = as_operand(weights)
    if weights.shape == a.shape:
        return weights
    if axes is None:
        raise TypeError("Axis must be specified when shapes of a and weights differ.")
    if weights.shape != tuple(a.shape[k] for k in axes):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    ordered = np.transpose(weights, tuple(np.argsort(axes).tolist()))
    return np.reshape(ordered, tuple(n if k in axes else 1 for k, n in enumerate(a.shape)))


def in_given_order(axis: Any, ndim: int) -> Any:
    """Return the axes as a tuple of non-negative integers in the caller's order, or None for all of them."""
    if axis is None:
        return None
    checked_axis(axis, ndim)
    return tuple(int(k) % max(ndim, 1) for k in (axis if isinstance(axis, tuple) else (axis,)))


@implements(np.average)
def average(a, axis=None, weights=None, returned=False, *, keepdims=False) -> Any:
    """Compose a weighted mean."""
    a = as_operand(a)
    axes = in_given_order(axis, a.ndim)
    if weights is None:
        result = np.mean(a, axis=axes, keepdims=is_kept(keepdims))
        weight = np.full(result.shape, count(a, axes), result.dtype)
    else:
        weights = weights_over(weights, a, axes)
        others = (np.float64,) if a.dtype.kind in "biu" else ()
        dtype = np.result_type(a.dtype, weights.dtype, *others)
        weight = np.sum(weights, axis=axes, dtype=dtype, keepdims=is_kept(keepdims))
        if np.any(np.equal(weight, 0)):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        product = a.astype(dtype, copy=False) * weights.astype(dtype, copy=False)
        result = np.sum(product, axis=axes, keepdims=is_kept(keepdims)) / weight
        if weight.shape != result.shape:
            weight = np.copy(np.broadcast_to(weight, result.shape))
    return (result, weight) if returned else result


def _observations(m: Any, dtype: Any, rowvar: bool, is_turned: bool) -> Any:
    """Return one variable a row."""
    x = np.atleast_2d(m.astype(dtype, copy=False))
    return np.transpose(x) if not rowvar and is_turned else x


def _sample_weights(weights: Any, samples: int, name: str) -> Any:
    weights = as_operand(weights).astype(np.float64, copy=False)
    if name == "fweights" and np.any(np.not_equal(weights, np.rint(weights))):
        raise TypeError("fweights must be integer")
    if weights.ndim > 1:
        raise RuntimeError(f"cannot handle multidimensional {name}")
    if weights.shape[0] != samples:
        raise RuntimeError(f"incompatible numbers of samples and {name}")
    if np.any(np.less(weights, 0)):
        raise ValueError(f"{name} cannot be negative")
    return weights


@implements(np.cov)
def cov(m, y=None, rowvar=True, bias=False, ddof=None, fweights=None, aweights=None, *, dtype=None) -> Any:
    """Compose a covariance matrix."""
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    parts = [as_operand(part) for part in (m, y) if part is not None]
    for part, name in zip(parts, "my", strict=False):
        if part.ndim > 2:
            raise ValueError(f"{name} has more than 2 dimensions")
    dtype = np.result_type(*(part.dtype for part in parts), np.float64) if dtype is None else np.dtype(dtype)
    x = _observations(parts[0], dtype, rowvar, parts[0].ndim != 1)
    if x.shape[0] == 0:
        return np.zeros((0, 0))
    if len(parts) > 1:
        other = parts[1]
        x = np.concatenate([x, _observations(other, dtype, rowvar, np.atleast_2d(other).shape[0] != 1)], axis=0)
    samples = x.shape[1]
    repeats = None if fweights is None else _sample_weights(fweights, samples, "fweights")
    weights = None if aweights is None else _sample_weights(aweights, samples, "aweights")
    w = weights if repeats is None else repeats if weights is None else repeats * weights
    if ddof is None:
        ddof = 0 if bias else 1
    if w is None:
        freedom = samples - ddof
        center = np.mean(x, axis=1, keepdims=True)
    else:
        weight = np.sum(w)
        if np.any(np.equal(weight, 0)):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        center = np.sum(x * w, axis=1, keepdims=True) / weight
        freedom = weight
        if ddof:
            freedom = weight - ddof * (1 if weights is None else np.sum(w * weights) / weight)
    if np.any(np.less_equal(freedom, 0)):
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=2)
        freedom = np.zeros((), np.float64)
    x = x - center
    turned = np.transpose(x if w is None else x * w)
    products = np.matmul(x, np.conjugate(turned) if x.dtype.kind == "c" else turned)
    return np.squeeze(products * _reciprocal(freedom, products.dtype))


def _reciprocal(freedom: Any, dtype: np.dtype) -> Any:
    scale = np.true_divide(1, freedom)
    return scale.astype(real_dtype(dtype), copy=False) if hasattr(scale, "astype") else scale


def _clipped(x: Any) -> Any:
    return np.clip(x, -1, 1)


@implements(np.corrcoef)
def corrcoef(x, y=None, rowvar=True, *, dtype=None) -> Any:
    """Compose a matrix of correlation coefficients."""
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    deviation = np.sqrt(np.real(np.diagonal(c)))
    c = c / deviation[:, None] / deviation[None, :]
    if c.dtype.kind != "c":
        return _clipped(c)
    return _clipped(np.real(c)) + 1j * _clipped(np.imag(c))
