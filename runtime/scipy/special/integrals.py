"""Exponential, sine and hyperbolic integrals, the dilogarithm, Lambert's and Wright's functions: their derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ...array import Array, apply
from ...op import FUNCTIONS, elementwise
from .table import no_rule, of_order, several, slope_series

LAMBERTW = special._ufuncs._lambertw  # pyright: ignore[reportAttributeAccessIssue]


def _expn_slope(n: Any, x: Any) -> Any:
    is_first = np.equal(n, 0)
    lower = special.expn(np.where(is_first, 1, n) - 1, x)
    return np.where(is_first, -np.exp(-x) * (x + 1) / (x * x), -lower)


def _sine_over(x: Any) -> Any:
    return slope_series(x, lambda far: np.sin(far) / far, _even(-1), 0.3)


def _hyperbolic_sine_over(x: Any) -> Any:
    return slope_series(x, lambda far: np.sinh(far) / far, _even(1), 0.3)


def _even(sign: int) -> list[float]:
    """Return the coefficients of ``sin(x) / x`` (sign -1) or ``sinh(x) / x``."""
    return [0.0 if k % 2 else sign ** (k // 2) / math.factorial(k + 1) for k in range(15)]


def _spence_slope(x: Any) -> Any:
    """Return ``log(x) / (1 - x)``, whose value at 1 is -1."""
    return slope_series(x - 1, lambda far: -np.log1p(far) / far, [-((-1.0) ** k) / (k + 1) for k in range(24)], 0.2)


elementwise(special.expi, "x", lambda x: np.exp(x) / x, cost=60)
elementwise(special.exp1, "x", lambda x: -np.exp(-x) / x, cost=60)
of_order(special.expn, "n x", _expn_slope)
several(special.sici, lambda x, y: _sine_over(x), lambda x, y: np.cos(x) / x)
several(special.shichi, lambda x, y: _hyperbolic_sine_over(x), lambda x, y: np.cosh(x) / x)
elementwise(special.spence, "x", _spence_slope, cost=60)
elementwise(special.wrightomega, "x", lambda y: y / (1 + y), cost=100)

_LAMBERTW = elementwise(
    LAMBERTW,
    "x branch tolerance",
    lambda y: np.exp(-y) / (1 + y),
    no_rule("lambertw", "its branch"),
    no_rule("lambertw", "its tolerance"),
    cost=100,
    name="lambertw",
)


def _lambertw(x: Any, branch: Any, tolerance: Any) -> Any:
    # A real argument is cast first: the mixed loop that NumPy finds is the one of complex numbers.
    if type(x) is Array and x.dtype.kind != "c":
        x = x.astype(np.result_type(x.dtype, np.complex64))
    return apply(_LAMBERTW, (x, branch, tolerance))


FUNCTIONS[LAMBERTW] = _lambertw
