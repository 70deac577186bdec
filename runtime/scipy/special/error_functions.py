"""erf and its relatives, the normal distribution function, Faddeeva's w and Fresnel's integrals: their derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ...op import elementwise
from .table import is_complex, several

TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
ROOT_HALF_PI = math.sqrt(math.pi / 2)
ROOT_TWO_PI = math.sqrt(2 * math.pi)
FAR = 30.0
# (2k + 1)!! / 2**(k + 1): the asymptotic series of the slopes (DLMF 7.12.1).
SERIES = (0.5, 0.75, 1.875, 6.5625, 29.53125, 162.421875, 1055.7421875)


def _far(x: Any, near: Any, series: tuple[float, ...]) -> Any:
    """Return `near` up to |x| = 30; beyond, where it has cancelled, ``sum(c_k / x**(2 k + 2))`` of the asymptotic series."""
    if is_complex(x):
        return near
    is_far = np.greater(np.absolute(x), FAR)
    inverse = 1 / np.square(np.where(is_far, x, 1))
    total: Any = 0.0
    for coefficient in reversed(series):
        total = (total + coefficient) * inverse
    return np.where(is_far, total, near)


def _erfcx_slope(x: Any, y: Any) -> Any:
    slope = 2 * x * y - TWO_OVER_ROOT_PI
    if is_complex(x):
        return slope
    # To the left there is no cancellation: erfcx grows as exp(x * x).
    far = _far(
        np.where(np.greater(x, 0), x, 1), slope, tuple(-((-1) ** k) * c * TWO_OVER_ROOT_PI for k, c in enumerate(SERIES))
    )
    return far


def _log_ndtr_slope(x: Any, y: Any) -> Any:
    if is_complex(x):
        return np.exp(-x * x / 2 - y) / ROOT_TWO_PI
    is_left = np.less(x, 0)
    left = 1 / (ROOT_HALF_PI * special.erfcx(np.where(is_left, -x, 0) / math.sqrt(2)))
    right = np.where(is_left, 0, x)
    return np.where(is_left, left, np.exp(-right * right / 2 - np.where(is_left, 0, y)) / ROOT_TWO_PI)


def _voigt_z(x: Any, sigma: Any, gamma: Any) -> Any:
    return (x + 1j * gamma) / (sigma * math.sqrt(2))


def _voigt_slope(x: Any, sigma: Any, gamma: Any) -> Any:
    """Return the complex slope of w over 2 sigma^2 root pi: its real part is that in x, minus its imaginary that in gamma."""
    z = _voigt_z(x, sigma, gamma)
    return (-2 * z * special.wofz(z) + 1j * TWO_OVER_ROOT_PI) / (2 * math.sqrt(math.pi) * sigma * sigma)


def _voigt_slope_in_sigma(x: Any, sigma: Any, gamma: Any, y: Any) -> Any:
    # The profile is homogeneous of degree -1 in its three arguments.
    slope = _voigt_slope(x, sigma, gamma)
    return -(y + x * np.real(slope) - gamma * np.imag(slope)) / sigma


elementwise(special.erf, "x", lambda x: TWO_OVER_ROOT_PI * np.exp(-x * x), cost=30)
elementwise(special.erfc, "x", lambda x: -TWO_OVER_ROOT_PI * np.exp(-x * x), cost=30)
elementwise(special.erfi, "x", lambda x: TWO_OVER_ROOT_PI * np.exp(x * x), cost=60)
elementwise(special.erfcx, "x", _erfcx_slope, cost=60)
elementwise(special.erfinv, "x", lambda y: np.exp(y * y) / TWO_OVER_ROOT_PI, cost=60)
elementwise(special.erfcinv, "x", lambda y: -np.exp(y * y) / TWO_OVER_ROOT_PI, cost=60)
elementwise(special.dawsn, "x", lambda x, y: _far(x, 1 - 2 * x * y, tuple(-c for c in SERIES)), cost=60)
elementwise(special.wofz, "x", lambda x, y: -2 * x * y + 1j * TWO_OVER_ROOT_PI, cost=100)
elementwise(special.ndtr, "x", lambda x: np.exp(-x * x / 2) / ROOT_TWO_PI, cost=30)
elementwise(special.log_ndtr, "x", _log_ndtr_slope, cost=60)
elementwise(special.ndtri, "x", lambda y: ROOT_TWO_PI * np.exp(y * y / 2), cost=60)
elementwise(special.ndtri_exp, "x", lambda y: ROOT_HALF_PI * special.erfcx(-y / math.sqrt(2)), cost=100)
elementwise(
    special.voigt_profile,
    "x sigma gamma",
    lambda x, sigma, gamma: np.real(_voigt_slope(x, sigma, gamma)),
    _voigt_slope_in_sigma,
    lambda x, sigma, gamma: -np.imag(_voigt_slope(x, sigma, gamma)),
    cost=100,
)
elementwise(
    special.owens_t,
    "h a",
    lambda h, a: -np.exp(-h * h / 2) * special.erf(a * h / math.sqrt(2)) / (2 * ROOT_TWO_PI),
    lambda h, a: np.exp(-h * h * (1 + a * a) / 2) / (2 * math.pi * (1 + a * a)),
    cost=100,
)
several(
    special.fresnel,
    lambda x, y: np.sin(math.pi / 2 * x * x),
    lambda x, y: np.cos(math.pi / 2 * x * x),
)
