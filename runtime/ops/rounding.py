"""Piecewise constant ufuncs, and those that take a number apart: rounding, remainders, mantissas, signs."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import by_rules, define, elementwise, implements

for _ufunc in (
    np.floor, np.ceil, np.trunc, np.rint, np.signbit, np.isnan, np.isinf, np.isfinite, np.logical_not, np.invert,
    np.spacing, np.bitwise_count,
):  # fmt: skip
    elementwise(_ufunc, "x", None)
for _ufunc in (
    np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.logical_and, np.logical_or,
    np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.floor_divide, np.left_shift, np.right_shift,
    np.gcd, np.lcm,
):  # fmt: skip
    elementwise(_ufunc, "a b", None, None)

elementwise(np.remainder, "a b", 1, lambda a, b: -np.floor_divide(a, b), cost=10)
# The quotient is read off the result, for a / b may round up to the next integer.
elementwise(np.fmod, "a b", 1, lambda a, b, y: -np.rint((a - y) / b), cost=10)
elementwise(np.copysign, "a b", lambda a, y: np.sign(a) * np.sign(y), None)
by_rules(np.heaviside, "a b", None, lambda g, a: np.where(np.equal(a, 0), g, 0))
LDEXP = by_rules(np.ldexp, "a b", lambda g, b: np.ldexp(g, b), None)

ROUND = define(
    "round",
    lambda x, decimals: np.round(x, decimals),
    inputs="x",
    parameters=("decimals",),
    infer=lambda x, decimals: phantom.elementwise([x], np.round(np.zeros(1, x.dtype), decimals).dtype),
    workspace=lambda out, x, decimals: out.nbytes,
    zero_gradient=True,
)
FRACTION = define(
    "fraction",
    lambda x: np.modf(x)[0],
    inputs="x",
    rules=lambda g: g,
    infer=lambda x: phantom.of_ufunc(np.modf, (x,)),
    workspace=lambda out, x: out.nbytes,
    jvp=lambda t: t,
)
EXPONENT = define(
    "exponent",
    lambda x: np.frexp(x)[1],
    inputs="x",
    infer=lambda x: phantom.elementwise([x], np.dtype(np.intc)),
    workspace=lambda out, x: x.nbytes,
    zero_gradient=True,
)


@implements(np.round, np.around)
def rounded(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """Record rounding to decimals: its gradient is zero."""
    return apply(ROUND, (a,), {"decimals": int(decimals)})


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    """Round towards zero."""
    return np.trunc(x)


@implements(np.divmod)
def quotient_and_remainder(a: Any, b: Any) -> tuple:
    """Return the quotient, rounded down, and the remainder."""
    return np.floor_divide(a, b), np.remainder(a, b)


@implements(np.modf)
def fraction_and_whole(x: Any) -> tuple:
    """Return the part after the point, which moves with `x`, and the part before it, which does not."""
    return apply(FRACTION, (x,)), np.trunc(x)


@implements(np.frexp)
def mantissa_and_exponent(x: Any) -> tuple:
    """Return ``(m, e)`` with x = m * 2 ** e; the exponent is piecewise constant."""
    exponent = apply(EXPONENT, (x,))
    return np.ldexp(x, np.negative(exponent)), exponent


@implements(np.ldexp)
def ldexp(a: Any, b: Any) -> Any:
    """Record ``a * 2 ** b``."""
    # As an array: a Python number would reach the rule in the dtype of the output, and an exponent is an integer.
    return apply(LDEXP, (a, np.asarray(b) if isinstance(b, int) else b))
