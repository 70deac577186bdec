"""The functions of numpy.emath: elementary functions that leave the real numbers where their arguments do."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import implements
from .axes import as_operand


def _widened(x: Any, leaves: Any) -> Any:
    """Return `x`, complex if `leaves(x)` holds anywhere: of the result's dtype the values decide."""
    x = as_operand(x)
    if x.dtype.kind == "c" or not bool(np.any(leaves(x))):
        return x
    return x.astype(np.complex64 if x.dtype in (np.float32, np.float16) else np.complex128)


def _is_negative(x: Any) -> Any:
    return np.less(x, 0)


def _is_beyond_one(x: Any) -> Any:
    return np.greater(np.absolute(x), 1)


@implements(np.emath.sqrt)
def sqrt(x: Any) -> Any:
    """Return square roots, imaginary ones of negative numbers."""
    return np.sqrt(_widened(x, _is_negative))


@implements(np.emath.log)
def log(x: Any) -> Any:
    """Return natural logarithms, complex ones of negative numbers."""
    return np.log(_widened(x, _is_negative))


@implements(np.emath.log2)
def log2(x: Any) -> Any:
    """Return logarithms to base 2, complex ones of negative numbers."""
    return np.log2(_widened(x, _is_negative))


@implements(np.emath.log10)
def log10(x: Any) -> Any:
    """Return logarithms to base 10, complex ones of negative numbers."""
    return np.log10(_widened(x, _is_negative))


@implements(np.emath.logn)
def logn(n: Any, x: Any) -> Any:
    """Return logarithms of `x` to base `n`."""
    return log(x) / log(n)


@implements(np.emath.power)
def power(x: Any, p: Any) -> Any:
    """Return ``x ** p``, complex where a negative number is raised to a power."""
    x = _widened(x, _is_negative)
    p = as_operand(p)
    return np.power(x, p * 1.0 if p.dtype.kind in "iu" and bool(np.any(_is_negative(p))) else p)


@implements(np.emath.arccos)
def arccos(x: Any) -> Any:
    """Return inverse cosines, complex ones of numbers beyond 1."""
    return np.arccos(_widened(x, _is_beyond_one))


@implements(np.emath.arcsin)
def arcsin(x: Any) -> Any:
    """Return inverse sines, complex ones of numbers beyond 1."""
    return np.arcsin(_widened(x, _is_beyond_one))


@implements(np.emath.arctanh)
def arctanh(x: Any) -> Any:
    """Return inverse hyperbolic tangents, complex ones of numbers beyond 1."""
    return np.arctanh(_widened(x, _is_beyond_one))
