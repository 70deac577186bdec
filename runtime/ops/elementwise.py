"""Arithmetic and elementary functions: ufuncs of one or two arrays, each with its partial derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..op import UFUNCS, by_rules, elementwise
from .casts import cast, stop_gradient
from .masked import over, product, quotient
from .slopes import pulled, pushed

__all__ = ["cast", "stop_gradient"]

LOG2, LOG10 = math.log(2.0), math.log(10.0)

elementwise(np.add, "a b", 1, 1)
elementwise(np.subtract, "a b", 1, -1)
elementwise(np.multiply, "a b", lambda b: b, lambda a: a)
by_rules(np.true_divide, "a b", lambda g, b: quotient(g, b), lambda g, b, y: -quotient(product(g, y), b), cost=4)
UFUNCS.setdefault(np.divide, UFUNCS[np.true_divide])
elementwise(np.negative, "x", -1)
elementwise(np.positive, "x", 1)
elementwise(np.square, "x", lambda x: 2 * x, run=lambda x: np.square(np.asarray(x)))  # of a complex number it has other bits
by_rules(np.reciprocal, "x", lambda g, x: -quotient(g, x * x), cost=4)
by_rules(np.sqrt, "x", lambda g, y: pulled(0.5 * g, y), jvp=(lambda t, y: pushed(0.5 * t, y),), cost=6)
by_rules(np.cbrt, "x", lambda g, y: pulled(g, 3 * (y * y)), jvp=(lambda t, y: pushed(t, 3 * (y * y)),), cost=30)

by_rules(np.exp, "x", lambda g, y: product(g, y), cost=12)
by_rules(np.exp2, "x", lambda g, y: product(g, y * LOG2), cost=12)
by_rules(np.expm1, "x", lambda g, x: product(g, np.exp(x)), cost=20)  # not y + 1, which has no digits left below -30
by_rules(np.log, "x", lambda g, x: quotient(g, x), cost=12)
by_rules(np.log2, "x", lambda g, x: quotient(g, x * LOG2), cost=12)
by_rules(np.log10, "x", lambda g, x: quotient(g, x * LOG10), cost=12)
by_rules(np.log1p, "x", lambda g, x: quotient(g, x + 1), cost=20)

elementwise(np.sin, "x", lambda x: np.cos(x), cost=20)
elementwise(np.cos, "x", lambda x: -np.sin(x), cost=20)
elementwise(np.tan, "x", lambda y: y * y + 1, cost=30)
# Not 1 - x * x, which has no digits left near 1; nor 1 - x, which loses the sign of an imaginary 0, and with it the side of
# the cut. (Here and below, `np.multiply` of what may be two complex numbers has the bits that it has of arrays; ``*`` not.)
by_rules(np.arcsin, "x", lambda g, x: quotient(g, np.sqrt(-np.multiply(x - 1, x + 1))), cost=30)
by_rules(np.arccos, "x", lambda g, x: -quotient(g, np.sqrt(-np.multiply(x - 1, x + 1))), cost=30)
by_rules(np.arctan, "x", lambda g, x: quotient(g, x * x + 1), cost=30)
by_rules(np.sinh, "x", lambda g, x: product(g, np.cosh(x)), cost=20)
by_rules(np.cosh, "x", lambda g, x: product(g, np.sinh(x)), cost=20)
elementwise(np.tanh, "x", lambda y: 1 - y * y, cost=12)  # not cosh(x), which overflows where tanh is flat


def _arcsinh_rule(g: Any, x: Any) -> Any:
    return quotient(g, np.sqrt(x * x + 1) if x.dtype.kind == "c" else np.hypot(x, 1))


by_rules(np.arcsinh, "x", _arcsinh_rule, cost=30)
# Two roots, for one root of the product would lie on the other branch where the real part is negative.
by_rules(np.arccosh, "x", lambda g, x: quotient(g, np.multiply(np.sqrt(x - 1), np.sqrt(x + 1))), cost=30)
by_rules(np.arctanh, "x", lambda g, x: quotient(g, np.multiply(1 - x, 1 + x)), cost=30)

for _ufunc in (np.deg2rad, np.radians):
    elementwise(_ufunc, "x", math.pi / 180)
for _ufunc in (np.rad2deg, np.degrees):
    elementwise(_ufunc, "x", 180 / math.pi)


def _arctan2_rule(g: Any, other: Any, a: Any, b: Any) -> Any:
    # Two divisions by the length: its square overflows and underflows too soon.
    length = np.hypot(a, b)
    return g * over(over(other, length), length)


by_rules(
    np.arctan2,
    "a b",
    lambda g, a, b: _arctan2_rule(g, b, a, b),
    lambda g, a, b: -_arctan2_rule(g, a, a, b),
    cost=40,
)


def _share(a: Any, y: Any) -> Any:
    """Return ``a - y``, the logarithm of the share of `a` in a sum y = log(exp(a) + exp(b)); -inf where both are -inf."""
    height = np.where(np.isinf(y), 0, y)
    return np.where(np.equal(a, math.inf), 0, np.where(np.isinf(y), -math.inf, a)) - height


elementwise(np.logaddexp, "a b", lambda a, y: np.exp(_share(a, y)), lambda b, y: np.exp(_share(b, y)), cost=40)
elementwise(np.logaddexp2, "a b", lambda a, y: np.exp2(_share(a, y)), lambda b, y: np.exp2(_share(b, y)), cost=40)
