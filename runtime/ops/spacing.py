"""Evenly spaced numbers between traced ends: on a line, on a logarithmic scale, and in geometric progression."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..array import Array
from ..op import implements
from .conversion import asarray


def _dtype(*operands: Any) -> np.dtype:
    return np.result_type(*(o.dtype if type(o) is Array else o for o in operands), 0.0)


@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """Compose evenly spaced numbers of the start and multiples of the step; the last one is `stop` itself."""
    num = operator.index(num)
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    inner = _dtype(start, stop)
    start, stop = (asarray(end).astype(inner) for end in (start, stop))
    delta = stop - start
    intervals = num - 1 if endpoint else num
    numbers = np.reshape(np.arange(0, num).astype(inner), (num,) + (1,) * delta.ndim)
    step = delta / intervals if intervals > 0 else np.full_like(delta, np.nan)
    y = numbers * (step if intervals > 0 else delta) + start
    if endpoint and num > 1:
        y = np.concatenate([y[:-1], np.broadcast_to(stop, (1, *delta.shape))])
    if axis != 0:
        y = np.moveaxis(y, 0, axis)
    if dtype is not None and np.dtype(dtype) != inner:
        y = (np.floor(y) if np.dtype(dtype).kind in "iu" else y).astype(dtype)
    return (y, step) if retstep else y


@implements(np.logspace)
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Compose powers of `base` whose exponents are evenly spaced."""
    if not isinstance(base, (float, int)) and np.ndim(base):
        start, stop, base = (asarray(a) for a in (start, stop, base))
        ndim = max(a.ndim for a in (start, stop, base))
        start, stop, base = (np.reshape(a, (1,) * (ndim - a.ndim) + a.shape) for a in (start, stop, base))
        base = np.expand_dims(base, axis)
    if type(start) is Array or type(stop) is Array:
        exponents = linspace(start, stop, num, endpoint, axis=axis)
    else:
        exponents = np.linspace(start, stop, num, endpoint, axis=axis)
    y = np.power(base, exponents)
    return y if dtype is None else y.astype(dtype)


@implements(np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """Compose a geometric progression: its logarithms are evenly spaced, its ends are exact."""
    start, stop = asarray(start), asarray(stop)
    if np.any(np.equal(start, 0)) or np.any(np.equal(stop, 0)):
        raise ValueError("Geometric sequence cannot include zero")
    inner = np.result_type(start.dtype, stop.dtype, np.zeros((), dtype))
    start, stop = start.astype(inner), stop.astype(inner)
    # Turned so that the start is a positive number: a negative progression has no logarithm.
    turn = np.sign(start)
    first, last = np.broadcast_arrays(start / turn, stop / turn)
    y = np.power(10.0, np.linspace(np.log10(first), np.log10(last), num, endpoint))
    if num > 0:
        ends = [y[1:-1], np.expand_dims(last, 0)] if num > 1 and endpoint else [y[1:]]
        y = np.concatenate([np.expand_dims(first, 0), *ends])
    y = y * turn
    if axis != 0:
        y = np.moveaxis(y, 0, axis)
    return y if dtype is None else y.astype(dtype)
