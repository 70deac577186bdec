"""Gamma draws, with a derivative by their concentration: implicit reparameterisation.

A draw z at a fixed probability P(a, z) moves with its concentration a by dz/da = -(dP/da) / (dP/dz); P is the regularised
incomplete gamma function. Figurnov, Mohamed & Mnih, "Implicit reparameterization gradients", NeurIPS 2018.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..errors import MissingRuleError
from ..op import define
from .random_draws import generator_at


def _digamma(x: np.ndarray) -> np.ndarray:
    """Return the logarithmic derivative of the gamma function for x >= 1, by its asymptotic series beyond 9."""
    total = np.zeros_like(x)
    for _ in range(8):
        total -= 1 / x
        x = x + 1
    r = 1 / (x * x)
    return total + np.log(x) - 0.5 / x - r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r / 132))))


def _slope_by_series(a: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return dz/da by the series of P around z = 0.

    With P = z^a e^-z / Gamma(a + 1) * sum of z^n / ((a + 1) ... (a + n)), the quotient is z / a times the sum of the same
    terms, each times digamma(a + n + 1) - log(z).
    """
    psi = _digamma(a + 1) - np.log(z)
    term, n = np.ones_like(z), 0
    total = np.zeros_like(z)
    while True:
        total += term * psi
        n += 1
        psi += 1 / (a + n)
        term *= z / (a + n)
        if np.all((n > z - a) & (term * np.abs(psi) <= 1e-17 * np.abs(total))) or n > 3000:
            return z / a * total


def _slope_by_expansion(a: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return dz/da for a large `a`, where z is a polynomial in the standard normal quantile x and powers of a.

    Cornish-Fisher expansion of the chi-square quantile: Goldberg & Levine, Annals of Mathematical Statistics 17, 1946.
    """
    root = np.sqrt(a)

    def quantile(x: np.ndarray) -> np.ndarray:
        third = (x * x - 1) / 3 + (x**3 - 7 * x) / (36 * root)
        return (
            a
            + root * x
            + third
            - (3 * x**4 + 7 * x * x - 16) / (810 * a)
            + x * (9 * x**4 + 256 * x * x - 433) / (38880 * a * root)
        )

    x = (z - a) / root
    for _ in range(4):
        x = x - (quantile(x) - z) / (root + 2 * x / 3 + (3 * x * x - 7) / (36 * root))
    return (
        1
        + x / (2 * root)
        - (x**3 - 7 * x) / (72 * a * root)
        + (3 * x**4 + 7 * x * x - 16) / (810 * a * a)
        - x * (9 * x**4 + 256 * x * x - 433) / (25920 * a * a * root)
    )


def _run_gamma_slope(concentration: Any, z: Any) -> np.ndarray:
    """Return dz/da of a gamma draw z at fixed probability P(a, z); 0 where z has underflowed to 0."""
    a, z64 = np.broadcast_arrays(np.asarray(concentration, np.float64), np.asarray(z, np.float64))
    slope = np.zeros(a.shape)
    for chosen, method in ((a <= 1000, _slope_by_series), (a > 1000, _slope_by_expansion)):
        chosen = chosen & (z64 > 0)
        if np.any(chosen):
            slope[chosen] = method(a[chosen], z64[chosen])
    return slope.astype(np.result_type(z))


def _no_second_order(g: Any) -> Any:
    raise MissingRuleError(
        "a gamma draw has a first derivative by its concentration only: take the second derivative by other arguments, or "
        "say retape.stop_gradient(concentration)"
    )


GAMMA_SLOPE = define(
    "gamma_slope",
    _run_gamma_slope,
    inputs="concentration z",
    rules=(_no_second_order, _no_second_order),
    infer=lambda concentration, z: phantom.contiguous(z.shape, z.dtype),
    flops=lambda out, *_: 2000.0 * out.size,
    workspace=lambda out, *_: 80 * out.size,
)


def _gamma_into(out: np.ndarray, concentration: Any, place: np.ndarray, shape: tuple, dtype: np.dtype) -> np.ndarray:
    generator_at(place).standard_gamma(concentration, dtype=out.dtype, out=out)  # pyright: ignore
    return out


GAMMA = define(
    "draw_gamma",
    lambda concentration, place, shape, dtype: _gamma_into(np.empty(shape, dtype), concentration, place, shape, dtype),
    inputs="concentration place",
    parameters=("shape", "dtype"),
    rules=(lambda g, concentration, y: g * apply(GAMMA_SLOPE, (concentration, y)), None),
    jvp=(lambda t, concentration, y: t * apply(GAMMA_SLOPE, (concentration, y)), None),
    infer=lambda concentration, place, shape, dtype: phantom.contiguous(shape, dtype),
    flops=lambda out, *_, **__: 200.0 * out.size,
    run_into=_gamma_into,
)
