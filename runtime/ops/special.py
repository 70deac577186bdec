"""sinc and the Bessel function i0, each with derivatives of every order that are exact at 0."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import define, implements


def _horner(coefficients: list[float], x: np.ndarray) -> np.ndarray:
    y = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        y *= x
        y += c
    return y


def _sinc_derivative(x: Any, order: int) -> np.ndarray:
    """Return the derivative of sin(s) / s at s = pi x.

    Near 0 by its Taylor series; elsewhere upwards, from s f = sin(s): s f^(n) = sin^(n)(s) - n f^(n-1).
    """
    s = np.asarray(math.pi * x, np.result_type(x, np.float64))
    is_near = np.less(np.absolute(s), order + 2.0)
    near = np.where(is_near, s, 0)
    far = np.where(is_near, order + 2.0, s)
    first = (order + 1) // 2
    terms = [
        (-1.0) ** k * math.factorial(2 * k) / (math.factorial(2 * k - order) * math.factorial(2 * k + 1))
        for k in range(first, first + 16 + 2 * order)
    ]
    series = _horner(terms, near * near)
    if order % 2:
        series *= near
    sines = (np.sin(far), np.cos(far))
    y = sines[0] / far
    for n in range(1, order + 1):
        y = ((-1.0 if n % 4 in (2, 3) else 1.0) * sines[n % 2] - n * y) / far
    return np.where(is_near, series, y).astype(x.dtype)


def _bessel_i(x: Any, order: int) -> np.ndarray:
    """Return the modified Bessel function I_n: the power series below 20, the asymptotic one above.

    F. W. J. Olver et al., NIST Handbook of Mathematical Functions (2010), equations 10.25.2 and 10.40.1.
    """
    size = np.absolute(np.asarray(x, np.result_type(x, np.float64)))
    limit = 20.0 + order * order
    is_near = np.less(size, limit)
    half = np.where(is_near, size, 0) / 2
    count = 30 + int(1.5 * limit)
    terms = [math.exp(-math.lgamma(k + 1) - math.lgamma(k + order + 1)) for k in range(count)]
    series = _horner(terms, half * half) * half**order
    far = np.where(is_near, limit, size)
    factors = [1.0]
    for k in range(1, 24):
        factors.append(-factors[-1] * (4 * order * order - (2 * k - 1) ** 2) / (8 * k))
    root = np.exp(far / 2)  # in two factors: exp(far) overflows before the function does
    y = np.where(is_near, series, root * (root * (_horner(factors, 1 / far) / np.sqrt(2 * math.pi * far))))
    return (np.sign(x) * y if order % 2 else y).astype(x.dtype)


def _like(x: np.ndarray, order: int) -> np.ndarray:
    return phantom.elementwise([x], x.dtype)


def _workspace(out: np.ndarray, x: np.ndarray, order: int) -> int:
    return 10 * out.size * np.result_type(x, np.float64).itemsize  # the series are summed in double precision


SINC = define(
    "sinc",
    lambda x, order: np.sinc(x) if order == 0 else _sinc_derivative(x, order),
    inputs="x",
    parameters=("order",),
    rules=lambda g, x, order: g * (math.pi * apply(SINC, (x,), {"order": order + 1})),
    infer=_like,
    flops=lambda out, x, order: 40.0 * (order + 1) * out.size,
    workspace=_workspace,
    jvp=lambda t, x, order: t * (math.pi * apply(SINC, (x,), {"order": order + 1})),
)


def _bessel_rule(g: Any, x: Any, order: int) -> Any:
    above = apply(BESSEL_I, (x,), {"order": order + 1})
    if order == 0:
        return g * above
    return g * ((apply(BESSEL_I, (x,), {"order": order - 1}) + above) / 2)


BESSEL_I = define(
    "bessel_i",
    lambda x, order: np.i0(x) if order == 0 else _bessel_i(x, order),
    inputs="x",
    parameters=("order",),
    rules=_bessel_rule,
    infer=_like,
    flops=lambda out, x, order: 150.0 * out.size,
    workspace=_workspace,
    jvp=_bessel_rule,
)


@implements(np.sinc)
def sinc(x: Any) -> Any:
    """Record ``sin(pi x) / (pi x)``."""
    return apply(SINC, (x,), {"order": 0})


@implements(np.i0)
def i0(x: Any) -> Any:
    """Record the modified Bessel function of order 0; NumPy has it for real numbers only."""
    return apply(BESSEL_I, (x,), {"order": 0})
