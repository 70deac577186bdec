"""Powers: by a fixed number, by an array, and in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply
from ..op import by_rules, define, implements
from ..recorders import apply_inputs
from ..views import alias
from .masked import product
from .roots import of_square, power_of_root
from .slopes import pulled, pushed


def _base_rule(g: Any, a: Any, b: Any, divided: Callable) -> Any:
    """Multiply by b * a ** (b - 1): 0 where b is 0, infinite where a is 0 and b lies below 1."""
    lower = np.where(np.equal(b, 0), 1, b - 1)
    if a.dtype.kind == "c" or b.dtype.kind != "f":
        return product(g, b * np.power(a, lower))
    pole = np.logical_and(np.equal(a, 0), np.less(lower, 0))
    slope = b * np.power(np.where(pole, 1, a), lower)
    return divided(product(g, slope), np.where(pole, a + 0.0, 1).astype(slope.dtype))


def _exponent_rule(g: Any, a: Any, y: Any) -> Any:
    """Multiply by log(a) * y: 0 where a is 0, for 0 ** b does not move with b > 0; NaN where a is negative."""
    is_zero = np.equal(a, 0)
    base = np.where(is_zero, 1, a)
    if y.dtype.kind == "c" and base.dtype.kind != "c":
        base = base.astype(y.dtype)
    return product(g, np.log(base) * np.where(is_zero, 0, y))


def _by_base(divided: Callable) -> Callable:
    return lambda g, a, b: _base_rule(g, a, b, divided)


POWER, _ = (
    by_rules(ufunc, "a b", _by_base(pulled), _exponent_rule, jvp=(_by_base(pushed), _exponent_rule), cost=40)
    for ufunc in (np.power, np.float_power)
)


def _infer_fixed_power(x: np.ndarray, exponent: float) -> np.ndarray:
    dtype = phantom.result_dtypes(np.power, (x.dtype, type(exponent)))[0]
    return phantom.elementwise([x], dtype)


def _fixed_power_rule(g: Any, x: Any, exponent: float, divided: Callable) -> Any:
    if exponent == 2:
        return g * (2 * x)
    if exponent == 1:
        return g
    if exponent == 0:
        return g * 0.0
    if exponent < 1:
        return divided(g * exponent, x ** (1 - exponent))
    if isinstance(exponent, int):
        return g * (exponent * x ** (exponent - 1))
    return product(g, exponent * x ** (exponent - 1))


FIXED_POWER = define(
    "fixed_power",
    lambda x, exponent: np.asarray(x) ** exponent,  # of a NumPy scalar, ** has other last bits
    inputs="x",
    parameters=("exponent",),
    rules=lambda g, x, exponent: _fixed_power_rule(g, x, exponent, pulled),
    infer=_infer_fixed_power,
    flops=lambda out, x, exponent: out.size * (1 if exponent in (1, 2) else 40),
    jvp=lambda t, x, exponent: _fixed_power_rule(t, x, exponent, pushed),
)


@implements(np.power)
def power(a: Any, b: Any) -> Any:
    """Record ``a ** b``; an exponent that is a Python number is a parameter of the call, not a value."""
    if type(a) is Array and type(b) in (int, float):
        of_root = power_of_root(a, b)
        if of_root is not None:
            return of_root
        y = apply(FIXED_POWER, (a,), {"exponent": b})
        if b != 0.5:
            return y
        base = alias(a)
        return of_square(y, lambda: base)
    return apply_inputs(POWER, a, b)
