"""Least-squares fits of polynomials: coefficients, and their covariance."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..op import implements
from .axes import as_operand, plain_value


def _checked(x: Any, y: Any, deg: Any) -> tuple[Any, Any]:
    x, y = as_operand(x) + 0.0, as_operand(y) + 0.0
    if deg < 0:
        raise ValueError("expected deg >= 0")
    if x.ndim != 1:
        raise TypeError("expected 1D vector for x")
    if x.size == 0:
        raise TypeError("expected non-empty vector for x")
    if y.ndim < 1 or y.ndim > 2:
        raise TypeError("expected 1D or 2D array for y")
    if x.shape[0] != y.shape[0]:
        raise TypeError("expected x and y to have same length")
    return x, y


@implements(np.polyfit)
def polyfit(x: Any, y: Any, deg: Any, rcond: Any = None, full: Any = False, w: Any = None, cov: Any = False) -> Any:
    """Compose a fit of a least-squares problem whose columns are the powers of `x`, each scaled to length 1."""
    x, y = _checked(x, y, deg)
    order = int(deg) + 1
    rcond = len(x) * np.finfo(x.dtype).eps if rcond is None else rcond
    powers = np.vander(x, order)
    if w is not None:
        w = as_operand(w) + 0.0
        if w.ndim != 1:
            raise TypeError("expected a 1-d array for weights")
        if w.shape[0] != y.shape[0]:
            raise TypeError("expected w and y to have the same length")
        powers = powers * np.reshape(w, (-1, 1))
        y = y * (np.reshape(w, (-1, 1)) if y.ndim == 2 else w)
    scale = np.sqrt(np.sum(powers * powers, axis=0))
    powers = powers / scale
    found, residuals, rank, singular_values = np.linalg.lstsq(powers, y, rcond)
    coefficients = found / (np.reshape(scale, (-1, 1)) if y.ndim == 2 else scale)
    if int(plain_value(rank)) != order and not full:
        warnings.warn("Polyfit may be poorly conditioned", np.exceptions.RankWarning, stacklevel=2)
    if full:
        return coefficients, residuals, rank, singular_values, rcond
    if not cov:
        return coefficients
    covariance = np.linalg.inv(np.dot(np.transpose(powers), powers)) / np.outer(scale, scale)
    factor: Any = 1
    if not (isinstance(cov, str) and cov == "unscaled"):
        if len(x) <= order:
            raise ValueError("the number of data points must exceed order to scale the covariance matrix")
        factor = residuals / (len(x) - order)
    return coefficients, (covariance if y.ndim == 1 else np.expand_dims(covariance, 2)) * factor
