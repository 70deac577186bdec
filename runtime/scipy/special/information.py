"""Logistic, entropy, power-transform and loss functions, and the ufuncs that SciPy has beside NumPy's: their derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ...op import elementwise
from .table import singular, slope_series

DEGREE = math.pi / 180


def _quotient(x: Any, b: Any) -> Any:
    """Return x / b, and 0 where x is 0: the slope of ``x * log(b)`` there, for every b."""
    is_zero = np.equal(x, 0)
    return np.where(is_zero, 0, x) / np.where(is_zero, 1, b)


def exprel_slope(x: Any) -> Any:
    """Return the derivative of ``(exp(x) - 1) / x``."""
    return slope_series(
        x,
        lambda far: (np.exp(far) - special.exprel(far)) / far,
        [(k + 1) / math.factorial(k + 2) for k in range(12)],
        0.3,
    )


def _box_slope(log: Any, power: Any) -> Any:
    # boxcox(x, p) = log(x) * exprel(p * log(x))
    return np.square(log) * exprel_slope(power * log)


def _inverse_box_slope(grown: Any, x: Any, power: Any) -> Any:
    """Return the slope of ``grown = (1 + power x)**(1 / power)`` in the power."""

    def direct(u: Any) -> Any:
        return (u / (1 + u) - np.log1p(u)) / np.square(u)

    coefficients = [-((-1.0) ** k) * (k + 1) / (k + 2) for k in range(12)]
    return grown * np.square(x) * slope_series(power * x, direct, coefficients, 0.03)


elementwise(special.expit, "x", lambda y: y * (1 - y), cost=20)
elementwise(special.log_expit, "x", lambda x: special.expit(-x), cost=30)
singular(special.logit, "x", lambda x: 1 / (x * (1 - x)), cost=20)
singular(special.xlogy, "x b", lambda b: np.log(b), _quotient, cost=20)
singular(special.xlog1py, "x b", lambda b: np.log1p(b), lambda x, b: _quotient(x, 1 + b), cost=20)
singular(special.entr, "x", lambda x: -np.log(x) - 1, cost=20)
singular(special.rel_entr, "x b", lambda x, b: np.log(x / b) + 1, lambda x, b: -_quotient(x, b), cost=20)
singular(special.kl_div, "x b", lambda x, b: np.log(x / b), lambda x, b: 1 - _quotient(x, b), cost=20)

elementwise(
    special.huber,
    "delta r",
    lambda delta, r: np.where(np.less_equal(np.absolute(r), delta), 0, np.absolute(r) - delta),
    lambda delta, r: np.where(np.less_equal(np.absolute(r), delta), r, delta * np.sign(r)),
    cost=4,
)
elementwise(
    special.pseudo_huber,
    "delta r",
    lambda delta, r, y: 2 * y / delta - r * r / (np.sqrt(np.square(r / delta) + 1) * delta),
    lambda delta, r: r / np.sqrt(np.square(r / delta) + 1),
    cost=10,
)
elementwise(special.exprel, "x", exprel_slope, cost=20)
elementwise(
    special.boxcox,
    "x power",
    lambda x, power: np.power(x, power - 1),
    lambda x, power: _box_slope(np.log(x), power),
    cost=60,
)
elementwise(
    special.boxcox1p,
    "x power",
    lambda x, power: np.power(x + 1, power - 1),
    lambda x, power: _box_slope(np.log1p(x), power),
    cost=60,
)
elementwise(
    special.inv_boxcox,
    "x power",
    lambda x, power, y: y / (power * x + 1),
    lambda x, power, y: _inverse_box_slope(y, x, power),
    cost=60,
)
elementwise(
    special.inv_boxcox1p,
    "x power",
    lambda x, power, y: (y + 1) / (power * x + 1),
    lambda x, power, y: _inverse_box_slope(y + 1, x, power),
    cost=60,
)
elementwise(
    special.powm1,
    "x b",
    lambda x, b: b * np.power(x, b - 1),
    lambda x, y: np.log(x) * (y + 1),
    cost=40,
)
elementwise(special.cosm1, "x", lambda x: -np.sin(x), cost=20)
elementwise(special.sindg, "x", lambda x: special.cosdg(x) * DEGREE, cost=20)
elementwise(special.cosdg, "x", lambda x: special.sindg(x) * -DEGREE, cost=20)
elementwise(special.tandg, "x", lambda y: (y * y + 1) * DEGREE, cost=30)
elementwise(special.cotdg, "x", lambda y: (y * y + 1) * -DEGREE, cost=30)
elementwise(special.radian, "degrees minutes seconds", DEGREE, DEGREE / 60, DEGREE / 3600, cost=4)
elementwise(special.cbrt, "x", lambda x, y: y / (3 * x), cost=30, name="scipy_cbrt")
elementwise(special.exp2, "x", lambda y: y * math.log(2.0), cost=12, name="scipy_exp2")
elementwise(special.exp10, "x", lambda y: y * math.log(10.0), cost=12)
elementwise(special.expm1, "x", lambda y: y + 1, cost=20, name="scipy_expm1")
elementwise(special.log1p, "x", lambda x: 1 / (x + 1), cost=20, name="scipy_log1p")
elementwise(special.round, "x", None, name="scipy_round")
