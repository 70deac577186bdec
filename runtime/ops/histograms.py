"""Histograms: weights summed by bin, and bin edges that follow the data; what falls where is piecewise constant."""

from __future__ import annotations

import builtins
import math
import operator
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply, read
from ..op import define, implements
from .elementwise import stop_gradient
from .index_templates import Slot
from .indexing import gather


def _sums_by_bin(values: Any, indices: np.ndarray, length: int) -> np.ndarray:
    """Return ``sum(values[indices == k])`` for each bin k, in the dtype of the values."""
    values, indices = np.ravel(values), np.ravel(indices)
    if values.dtype.kind != "c":
        return np.bincount(indices, values, length).astype(values.dtype, copy=False)
    made = np.empty(length, values.dtype)
    made.real = np.bincount(indices, values.real, length)
    made.imag = np.bincount(indices, values.imag, length)
    return made


SUMS_BY_BIN = define(
    "sums_by_bin",
    _sums_by_bin,
    inputs="values indices",
    parameters=("length",),
    rules=(lambda g, indices: gather(g, (Slot(0),), (indices,)), None),
    infer=lambda values, indices, length: phantom.contiguous((length,), values.dtype),
    flops=lambda out, values, indices, length: float(values.size),
    workspace=lambda out, values, indices, length: 3 * values.nbytes + indices.nbytes + 2 * out.nbytes,
    jvp=(lambda t, indices, length: sums_by_bin(t, indices, length), None),
)
BIN = define(
    "bin",
    # NumPy's bins hold their left edge, and the last one holds its right edge too; 0 and len(edges) stand for outside.
    lambda a, edges: np.searchsorted(edges, a, side="right") - (np.asarray(a) == edges[-1]),
    inputs="a edges",
    infer=lambda a, edges: phantom.contiguous(np.shape(a), np.intp),
    workspace=lambda out, a, edges: 2 * out.nbytes,
    zero_gradient=True,
)


def sums_by_bin(values: Any, indices: Any, length: int) -> Any:
    """Return the sum of the values in each of `length` bins; `indices` names the bin of each value."""
    return apply(SUMS_BY_BIN, (values, indices), {"length": length})


def _plain(x: Any) -> Any:
    """Return the numbers of `x` for a decision that is piecewise constant."""
    if type(x) is Array:
        return read(stop_gradient(x), "a choice of bins")
    return [_plain(item) for item in x] if isinstance(x, (list, tuple)) else x


def _array(x: Any) -> Any:
    if isinstance(x, (list, tuple)) and any(type(item) is Array for item in x):
        return np.stack(x)
    return x if type(x) is Array else np.asarray(x)


@implements(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    """Record sums of weights by bin, in double precision as NumPy has them; counts are plain."""
    x = np.asarray(_plain(x))
    if weights is None or type(weights) is not Array:
        return np.bincount(x, weights, minlength)
    length = np.bincount(x, minlength=minlength).size
    if weights.shape != x.shape:
        raise ValueError("The weights and list don't have the same length.")
    if weights.dtype.kind == "c":
        raise TypeError(f"Cannot cast array data from {weights.dtype!r} to dtype('float64') according to the rule 'safe'")
    return sums_by_bin(weights.astype(np.float64), x, length)


def _spaced(first: Any, last: Any, count: int, dtype: Any) -> Any:
    """Return `count + 1` equally spaced edges whose ends may be traced; `dtype` None is that of the ends."""
    if type(first) is not Array and type(last) is not Array:
        return np.linspace(first, last, count + 1, dtype=dtype)
    # As np.linspace has them, to the last bit: an edge decides what falls into a bin.
    ends = [end if type(end) is Array else np.asarray(end) for end in (first, last)]
    inner = np.result_type(*(end.dtype for end in ends), np.float16)
    inner = np.dtype(np.float64) if all(end.dtype.kind in "iub" for end in ends) else inner
    first, last = (np.reshape(end.astype(inner), (1,)) for end in ends)
    edges = np.arange(count, dtype=inner) * ((last - first) / count) + first
    return np.concatenate([edges, last]).astype(inner if dtype is None else dtype)


def _outer_edges(a: Any, range: Any) -> tuple[Any, Any]:
    """Return the ends of equally spaced bins, which follow the least and the greatest value where no range is given."""
    if range is not None:
        first, last = range
    elif a.size == 0:
        first, last = 0, 1
    else:
        first, last = np.min(a), np.max(a)
    low, high = _plain(first), _plain(last)
    if low > high:
        raise ValueError("max must be larger than min in range parameter.")
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"the range of [{low}, {high}] is not finite")
    return (first - 0.5, last + 0.5) if low == high else (first, last)


def _edges(a: Any, bins: Any, range: Any, dtype: Any) -> Any:
    """Return the edges of the bins of one dimension, given their number or themselves."""
    if np.ndim(bins) == 0:
        try:
            count = operator.index(_plain(bins))
        except TypeError:
            raise TypeError("`bins` must be an integer, a string, or an array") from None
        if count < 1:
            raise ValueError("`bins` must be positive, when an integer")
        first, last = _outer_edges(a, range)
        edges = _spaced(first, last, count, dtype)
        if np.any(_plain(edges)[:-1] >= _plain(edges)[1:]):
            raise ValueError(f"Too many bins for data range. Cannot create {count} finite-sized bins.")
        return edges
    edges = _array(bins)
    if edges.ndim != 1:
        raise ValueError("`bins` must be 1d, when an array")
    plain = _plain(edges)
    if np.any(plain[:-1] > plain[1:]):
        raise ValueError("`bins` must increase monotonically, when an array")
    return edges


@implements(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    """Compose the edges of bins: equally spaced ones follow the ends of the data."""
    a = np.ravel(_array(a))
    if isinstance(bins, str):
        bins = np.histogram_bin_edges(_plain(a), bins, _plain(range), _plain(weights)).size - 1
    ends = [getattr(end, "dtype", end) for end in (() if range is None else range)]
    dtype = np.result_type(a.dtype, *ends)
    return _edges(a, bins, range, np.result_type(dtype, float) if dtype.kind in "iub" else dtype)


@implements(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """Compose a histogram: gradients reach the weights, the edges, and through the edges the ends of the data."""
    a = _array(a)
    edges = histogram_bin_edges(a, bins, range, weights)
    count = edges.shape[0] - 1
    if weights is None:
        sums = np.histogram(_plain(a), _plain(edges))[0]
    else:
        weights = _array(weights)
        if weights.shape != a.shape:
            raise ValueError("weights should have the same shape as a.")
        sums = sums_by_bin(weights, apply(BIN, (a, edges)), count + 2)[1:-1]
    if not density:
        return sums, edges
    return sums / np.diff(edges).astype(np.float64) / np.sum(sums), edges


def _length(bins: Any) -> int | None:
    """Return how many entries a ``bins`` argument has, None for a number."""
    try:
        return len(bins)
    except TypeError:
        return None


@implements(np.histogram2d)
def histogram2d(x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """Compose a histogram of pairs."""
    if len(x) != len(y):
        raise ValueError("x and y must have the same length.")
    if _length(bins) not in (1, 2):
        bins = [bins, bins]
    sums, (x_edges, y_edges) = histogramdd([x, y], bins, range, density, weights)
    return sums, x_edges, y_edges


@implements(np.histogramdd)
def histogramdd(sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """Compose a histogram of points: the bins of all dimensions in one count."""
    if getattr(sample, "ndim", 0) != 2:
        sample = np.transpose(np.atleast_2d(_array(sample)))
    dimensions = sample.shape[1]
    bins = dimensions * [bins] if _length(bins) is None else bins
    if len(bins) != dimensions:
        raise ValueError("The dimension of bins must be equal to the dimension of the sample x.")
    if range is None:
        range = dimensions * (None,)
    elif len(range) != dimensions:
        raise ValueError("range argument must have one entry per dimension")
    columns = [sample[:, k] for k in builtins.range(dimensions)]
    edges = [_edges(*three, None) for three in zip(columns, bins, range, strict=True)]
    if weights is None:
        sums = np.histogramdd([_plain(column) for column in columns], [_plain(e) for e in edges])[0]
    else:
        sizes = [e.shape[0] + 1 for e in edges]
        place: Any = 0
        for column, e, size in zip(columns, edges, sizes, strict=True):
            place = place * size + apply(BIN, (column, e))
        sums = sums_by_bin(_array(weights).astype(np.float64, casting="safe"), place, math.prod(sizes))
        sums = np.reshape(sums, sizes)[(slice(1, -1),) * dimensions]
    if density:
        total = np.sum(sums)
        for k, e in enumerate(edges):
            sums = sums / np.reshape(np.diff(e), [-1 if j == k else 1 for j in builtins.range(dimensions)])
        sums = sums / total
    return sums, edges
