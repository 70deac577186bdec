"""Elementwise ufuncs, each with its partial derivatives; powers by a fixed number; the piecewise constant ones."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom, trees
from ..array import Array, apply
from ..errors import MissingRuleError
from ..op import FUNCTIONS, UFUNCS, define, elementwise, implements

LOG2, LOG10 = math.log(2.0), math.log(10.0)

elementwise(np.add, "a b", 1, 1)
elementwise(np.subtract, "a b", 1, -1)
elementwise(np.multiply, "a b", lambda b: b, lambda a: a)
elementwise(np.true_divide, "a b", lambda b: 1 / b, lambda b, y: -y / b, cost=4)
elementwise(np.negative, "x", -1)
elementwise(np.positive, "x", 1)
elementwise(np.square, "x", lambda x: 2 * x)
elementwise(np.sqrt, "x", lambda y: 0.5 / y, cost=6)
elementwise(np.cbrt, "x", lambda x, y: y / (3 * x), cost=30)
elementwise(np.reciprocal, "x", lambda y: -(y * y), cost=4)
elementwise(np.exp, "x", lambda y: y, cost=12)
elementwise(np.exp2, "x", lambda y: y * LOG2, cost=12)
elementwise(np.expm1, "x", lambda y: y + 1, cost=20)
elementwise(np.log, "x", lambda x: 1 / x, cost=12)
elementwise(np.log2, "x", lambda x: 1 / (x * LOG2), cost=12)
elementwise(np.log10, "x", lambda x: 1 / (x * LOG10), cost=12)
elementwise(np.log1p, "x", lambda x: 1 / (x + 1), cost=20)
elementwise(np.sin, "x", lambda x: np.cos(x), cost=20)
elementwise(np.cos, "x", lambda x: -np.sin(x), cost=20)
elementwise(np.tan, "x", lambda y: y * y + 1, cost=30)
elementwise(np.arcsin, "x", lambda x: 1 / np.sqrt(1 - x * x), cost=30)
elementwise(np.arccos, "x", lambda x: -1 / np.sqrt(1 - x * x), cost=30)
elementwise(np.arctan, "x", lambda x: 1 / (x * x + 1), cost=30)
elementwise(np.sinh, "x", lambda x: np.cosh(x), cost=20)
elementwise(np.cosh, "x", lambda x: np.sinh(x), cost=20)
elementwise(np.tanh, "x", lambda y: 1 - y * y, cost=12)
elementwise(np.arcsinh, "x", lambda x: 1 / np.sqrt(x * x + 1), cost=30)
elementwise(np.arccosh, "x", lambda x: 1 / np.sqrt(x * x - 1), cost=30)
elementwise(np.arctanh, "x", lambda x: 1 / (1 - x * x), cost=30)
elementwise(
    np.absolute,
    "x",
    lambda x, y: np.sign(x) if x.dtype.kind != "c" else np.conj(x) / np.where(np.equal(y, 0), 1, y),
)
elementwise(np.fabs, "x", lambda x: np.sign(x))
elementwise(np.deg2rad, "x", math.pi / 180)
elementwise(np.radians, "x", math.pi / 180)
elementwise(np.rad2deg, "x", 180 / math.pi)
elementwise(np.degrees, "x", 180 / math.pi)
elementwise(np.arctan2, "a b", lambda a, b: b / (a * a + b * b), lambda a, b: -a / (a * a + b * b), cost=40)
elementwise(np.hypot, "a b", lambda a, y: a / y, lambda b, y: b / y, cost=10)
elementwise(np.logaddexp, "a b", lambda a, y: np.exp(a - y), lambda b, y: np.exp(b - y), cost=40)
elementwise(np.logaddexp2, "a b", lambda a, y: np.exp2(a - y), lambda b, y: np.exp2(b - y), cost=40)
elementwise(np.remainder, "a b", 1, lambda a, b: -np.floor_divide(a, b), cost=10)
elementwise(np.fmod, "a b", 1, lambda a, b: -np.trunc(a / b), cost=10)
elementwise(np.copysign, "a b", lambda a, y: np.sign(a) * np.sign(y), None)


def _picked(chosen: Any, other: Any, y: Any) -> Any:
    """Return 1 where `chosen` won, 1/2 where both did, 0 elsewhere."""
    won = np.equal(chosen, y).astype(y.dtype)
    return won / (won + np.equal(other, y).astype(y.dtype))


for _ufunc in (np.maximum, np.minimum, np.fmax, np.fmin):
    elementwise(_ufunc, "a b", lambda a, b, y: _picked(a, b, y), lambda a, b, y: _picked(b, a, y))


def _log_or_zero(a: Any) -> Any:
    """Return log(a), and 0 at 0: there 0 ** b does not move with b > 0. NaN for negative bases, as the power is then."""
    return np.log(np.where(np.equal(a, 0), 1, a))


elementwise(
    np.float_power,
    "a b",
    lambda a, b: b * np.float_power(a, np.where(np.equal(b, 0), 1, b - 1)),
    lambda a, y: _log_or_zero(a) * y,
    cost=40,
)
POWER = elementwise(
    np.power,
    "a b",
    lambda a, b: b * np.power(a, np.where(np.equal(b, 0), 1, b - 1)),
    lambda a, y: _log_or_zero(a) * y,
    cost=40,
)

for _ufunc in (
    np.floor, np.ceil, np.trunc, np.rint, np.sign, np.signbit, np.isnan, np.isinf, np.isfinite, np.logical_not,
    np.invert, np.spacing,
):  # fmt: skip
    elementwise(_ufunc, "x", None)
for _ufunc in (
    np.less, np.less_equal, np.greater, np.greater_equal, np.equal, np.not_equal, np.logical_and, np.logical_or,
    np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.floor_divide, np.left_shift, np.right_shift,
    np.heaviside, np.gcd, np.lcm,
):  # fmt: skip
    elementwise(_ufunc, "a b", None, None)


def _infer_fixed_power(x: np.ndarray, exponent: float) -> np.ndarray:
    dtype = phantom.result_dtypes(np.power, (x.dtype, type(exponent)))[0]
    return phantom.elementwise([x], dtype)


def _fixed_power_rule(g: Any, x: Any, exponent: float) -> Any:
    if exponent == 2:
        return g * (2 * x)
    if exponent == 1:
        return g
    if exponent == 0:
        return g * 0.0
    return g * (exponent * x ** (exponent - 1))


FIXED_POWER = define(
    "fixed_power",
    lambda x, exponent: x**exponent,
    inputs="x",
    parameters=("exponent",),
    rules=_fixed_power_rule,
    infer=_infer_fixed_power,
    flops=lambda out, x, exponent: out.size * (1 if exponent in (1, 2) else 40),
)


@implements(np.power)
def power(a: Any, b: Any) -> Any:
    """Record ``a ** b``; an exponent that is a Python number is a parameter of the call, not a value."""
    if type(a) is Array and type(b) in (int, float):
        return apply(FIXED_POWER, (a,), {"exponent": b})
    return apply(POWER, (a, b))


WHERE = define(
    "where",
    np.where,
    inputs="condition a b",
    rules=(None, lambda g, condition: np.where(condition, g, 0), lambda g, condition: np.where(condition, 0, g)),
    infer=lambda condition, a, b: phantom.elementwise(
        [p for p in (condition, a, b) if isinstance(p, np.ndarray)], _promoted(a, b)
    ),
)


def _promoted(*operands: Any) -> np.dtype:
    return np.result_type(*[o.dtype if isinstance(o, np.ndarray) and o.ndim == 0 else o for o in operands])


@implements(np.where)
def where(condition: Any, *values: Any) -> Any:
    """Record ``np.where(condition, a, b)``; the one-argument form reads the condition."""
    if not values:
        return np.nonzero(condition)
    return apply(WHERE, (condition, *values))


@implements(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    """Compose clipping of maximum and minimum; on the edge the gradient is shared, as theirs is."""
    low = a_min if a_min is not None else min
    high = a_max if a_max is not None else max
    result = np.copy(a) if low is None else np.maximum(a, low)
    return result if high is None else np.minimum(result, high)


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """Compose `np.nan_to_num` of where."""
    info = np.finfo(x.dtype)
    y = np.where(np.isnan(x), nan, x)
    y = np.where(np.equal(x, math.inf), float(info.max) if posinf is None else posinf, y)
    y = np.where(np.equal(x, -math.inf), float(info.min) if neginf is None else neginf, y)
    return y if copy else FUNCTIONS["repoint"](x, y)  # pyright: ignore[reportArgumentType]


def _infer_cast(x: Any, dtype: Any) -> np.ndarray:
    return phantom.elementwise([x], np.dtype(dtype)) if isinstance(x, np.ndarray) else phantom.contiguous((), dtype)


CAST = define(
    "astype",
    lambda x, dtype: np.asarray(x).astype(dtype),
    inputs="x",
    parameters=("dtype",),
    rules=lambda g: g,  # the sweep casts every cotangent to its primal's dtype
    infer=_infer_cast,
    jvp=lambda t, dtype: t.astype(dtype),
)
CAST_TO_CONSTANT = define(
    "astype_integer",
    lambda x, dtype: np.asarray(x).astype(dtype),
    inputs="x",
    parameters=("dtype",),
    infer=_infer_cast,
    zero_gradient=True,
)
COPY = define(
    "copy",
    lambda x: np.array(x, order="C"),
    inputs="x",
    rules=lambda g: g,
    infer=lambda x: phantom.contiguous(np.shape(x), getattr(x, "dtype", np.result_type(x))),
)
STOP_GRADIENT = define("stop_gradient", lambda x: x, inputs="x", infer=lambda x: (x, True), is_view=True, zero_gradient=True)
READ = define(
    "read",
    lambda x: np.empty(0, bool),
    inputs="x",
    infer=lambda x: phantom.contiguous((0,), bool),
    zero_gradient=True,
    flops=lambda *_: 0.0,
)


def cast(x: Any, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True) -> Any:
    """Return `x` in another dtype; a cast to integers or booleans is piecewise constant."""
    dtype = np.dtype(dtype)
    if dtype.kind == "O":
        raise MissingRuleError(f"a traced array has no cast to {dtype}")
    if not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(f"cannot cast an array from {x.dtype} to {dtype} according to the rule {casting!r}")
    if not copy and x.dtype == dtype:
        return x
    return apply(CAST if dtype.kind in "fc" else CAST_TO_CONSTANT, (x,), {"dtype": dtype})


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """Record a copy."""
    return apply(COPY, (a,))


@implements(np.round, np.around)
def rounded(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """Compose rounding of rint: its gradient is zero."""
    if decimals == 0:
        return np.rint(a)
    return np.rint(a * 10.0**decimals) / 10.0**decimals


def stop_gradient(x: Any) -> Any:
    """Return `x`, an array or a container of arrays, cut off from its derivatives: a constant to each of them.

    >>> import numpy as np, retape as rt
    >>> float(rt.grad(lambda x: x * rt.stop_gradient(x))(3.0))
    3.0
    """
    if type(x) is Array:
        return apply(STOP_GRADIENT, (x,))
    return trees.map_leaves(lambda leaf: apply(STOP_GRADIENT, (leaf,)) if type(leaf) is Array else leaf, x)


UFUNCS[np.conjugate] = define(
    "conjugate",
    np.conjugate,
    inputs="x",
    rules=lambda g: np.conjugate(g),
    infer=lambda x: phantom.of_ufunc(np.conjugate, (x,)),
    jvp="linear",
)
REAL = define(
    "real",
    lambda x: np.array(np.real(x)),
    inputs="x",
    rules=lambda g: g,
    infer=lambda x: phantom.contiguous(x.shape, np.real(np.zeros((), x.dtype)).dtype),
)
IMAG = define(
    "imag",
    lambda x: np.array(np.imag(x)),
    inputs="x",
    rules=lambda g, x_dtype: g * np.asarray(-1j, x_dtype),
    infer=lambda x: phantom.contiguous(x.shape, np.real(np.zeros((), x.dtype)).dtype),
)


@implements(np.real)
def real(val: Any) -> Any:
    """Return the real part; of a real array, itself."""
    return val if val.dtype.kind != "c" else apply(REAL, (val,))


@implements(np.imag)
def imag(val: Any) -> Any:
    """Return the imaginary part; of a real array, zeros."""
    return np.zeros_like(val) if val.dtype.kind != "c" else apply(IMAG, (val,))


@implements(np.sinc)
def sinc(x: Any) -> Any:
    """Compose ``sin(pi x) / (pi x)``, with 1 - (pi x)^2 / 6 near 0, where the quotient has no derivative."""
    scaled = math.pi * x
    small = np.less(np.absolute(scaled), 1e-4)
    safe = np.where(small, 1.0, scaled)
    return np.where(small, 1 - scaled * scaled / 6, np.sin(safe) / safe)


UFUNCS.setdefault(np.divide, UFUNCS[np.true_divide])
