"""Square roots of sums of squares (norms, deviations, sizes), and their powers, which are smooth where the root is not.

At 0 such a root has no derivative; it is taken as 0 there, the least of its subgradients. Its even powers are polynomials,
and have the derivatives of those: the power of a root is a power of what stands under it. What else is made of a norm at
0 may be smooth or not (``cos(norm(x))`` is, ``norm(x) * x`` is not), which its derivatives cannot tell: the second one
is NaN, along directions that move the vector off 0. The same holds of `numpy.hypot` and of the size of a complex number.

(`numpy.sqrt` itself has an infinite derivative at 0, and none where its cotangent is 0: ``where(x > 0, sqrt(x), 0)``.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply, tied, ties_of
from ..op import HOOKS, by_rules, define, implements
from ..recorders import recorder
from ..views import alias
from . import elementwise  # noqa: F401  (that defines the square root)
from .axes import expand, reduced
from .masked import product
from .slopes import closed_pulled, closed_pushed


def squares(x: Any) -> Any:
    """Return ``|x| ** 2``."""
    if x.dtype.kind != "c":
        return x * x
    re, im = np.real(x), np.imag(x)
    return re * re + im * im


def _over(g: Any, y: Any) -> Any:
    """Return ``g / y``, and 0 where y is 0."""
    is_zero = np.equal(y, 0)
    return np.where(is_zero, 0, g / np.where(is_zero, 1, y))


def _root_rule(g: Any, y: Any) -> Any:
    return _over(0.5 * g, y)


# Not closed slopes: a deviation of one number alone, which is 0 whatever the number, has derivatives of 0 and no NaN.
ROOT = define(
    "root",
    np.sqrt,
    inputs="x",
    rules=_root_rule,
    infer=lambda x: phantom.of_ufunc(np.sqrt, (x,)),
    flops=lambda out, x: 6.0 * out.size,
    jvp=_root_rule,
)


ROOT_OF_POWERS = define(
    "root_of_powers",
    lambda x, exponent: np.asarray(x) ** exponent,
    inputs="x",
    parameters=("exponent",),
    rules=lambda g, y, exponent: closed_pulled(exponent * g, y ** (1 / exponent - 1)),
    infer=lambda x, exponent: phantom.elementwise([x], x.dtype),
    flops=lambda out, x, exponent: 40.0 * out.size,
    jvp=lambda t, y, exponent: closed_pushed(exponent * t, y ** (1 / exponent - 1)),
)


def root_of_powers(x: Any, exponent: float) -> Any:
    """Return ``x ** exponent`` of a sum of powers, with the derivative 0 at 0; `exponent` lies between 0 and 1."""
    return apply(ROOT_OF_POWERS, (x,), {"exponent": exponent})


def root(x: Any) -> Any:
    """Return the square root of a sum of squares, with the derivative 0 at 0."""
    return of_square(apply(ROOT, (x,)), lambda: x)


def _run_norm(x: Any, axis: tuple[int, ...], keepdims: bool, count: float) -> Any:
    squared = x * x if x.dtype.kind != "c" else np.real(np.conjugate(x) * x)
    y = np.add.reduce(squared, axis=axis, keepdims=keepdims)
    return np.sqrt(y if count == 1 else y / count)


def _slope(g: Any, length: Any, x: Any, axis: tuple[int, ...], keepdims: bool, count: float) -> Any:
    return apply(NORM_SLOPE, (g, length, x), {"axis": axis, "keepdims": keepdims, "count": count})


def _run_slope(g: Any, length: Any, x: Any, axis: tuple[int, ...], keepdims: bool, count: float) -> Any:
    x = np.conjugate(x) if x.dtype.kind == "c" else x  # of real numbers it would be a copy
    if not axis:
        return g * _over(x, length)  # 1 / length overflows too soon, where the length of a pair does not
    return expand(_over(g, length) / count, x.shape, axis, keepdims) * x


def _tangent(t: Any, length: Any, x: Any, axis: tuple[int, ...], keepdims: bool, count: float) -> Any:
    return apply(NORM_TANGENT, (t, length, x), {"axis": axis, "keepdims": keepdims, "count": count})


def _run_tangent(t: Any, length: Any, x: Any, axis: tuple[int, ...], keepdims: bool, count: float) -> Any:
    x = np.conjugate(x) if x.dtype.kind == "c" else x
    if not axis:
        return np.real(t * _over(x, length))
    return _over(np.add.reduce(np.real(t * x), axis=axis, keepdims=keepdims) / count, length)


def _turned(h: Any, g: Any, length: Any, axis: tuple[int, ...], keepdims: bool, count: float) -> Any:
    """Return what the change `h` of a vector does to its slope; NaN where the vector is 0 and `h` is not."""
    is_zero = np.equal(length, 0)
    share = np.where(is_zero, math.nan, g / np.where(is_zero, 1, length) / count).astype(length.dtype)
    return product(np.conjugate(h), expand(share, h.shape, axis, keepdims))


_ON_AXIS = ("axis", "keepdims", "count")
NORM = define(
    "norm",
    _run_norm,
    inputs="x",
    parameters=_ON_AXIS,
    rules=lambda g, y, x, axis, keepdims, count: _slope(g, y, x, axis, keepdims, count),
    infer=lambda x, axis, keepdims, count: reduced(x, axis, keepdims, x.real.dtype),
    flops=lambda out, x, **_: 2.0 * x.size,
    workspace=lambda out, x, **_: (2 if x.dtype.kind == "c" else 1) * x.nbytes + out.nbytes,
    jvp=lambda t, y, x, axis, keepdims, count: _tangent(t, y, x, axis, keepdims, count),
)
# The gradient of a norm and its tangent are ops of their own, for their rules see whether a vector of 0 moves.
NORM_SLOPE = define(
    "norm_slope",
    _run_slope,
    inputs="g length x",
    parameters=_ON_AXIS,
    rules=(
        lambda h, length, x, axis, keepdims, count: _tangent(h, length, x, axis, keepdims, count),
        lambda h, g, length, x, axis, keepdims, count: -_over(g * _tangent(h, length, x, axis, keepdims, count), length),
        _turned,
    ),
    infer=lambda g, length, x, **_: phantom.elementwise([x], x.dtype),
    flops=lambda out, *_, **__: 2.0 * out.size,
    workspace=lambda out, g, *_, **__: 4 * g.nbytes + (out.nbytes if out.dtype.kind == "c" else 0),
    jvp=(
        lambda t, length, x, axis, keepdims, count: _slope(t, length, x, axis, keepdims, count),
        lambda t, g, length, x, axis, keepdims, count: -_slope(_over(g * t, length), length, x, axis, keepdims, count),
        _turned,
    ),
)
NORM_TANGENT = define(
    "norm_tangent",
    _run_tangent,
    inputs="t length x",
    parameters=_ON_AXIS,
    rules=(
        lambda g, length, x, axis, keepdims, count: _slope(g, length, x, axis, keepdims, count),
        lambda g, y, length: -_over(g * y, length),
        lambda g, t, length, axis, keepdims, count: _turned(t, g, length, axis, keepdims, count),
    ),
    infer=lambda t, length, x, **_: phantom.elementwise([length], length.dtype),
    flops=lambda out, t, *_, **__: 3.0 * t.size,
    workspace=lambda out, t, *_, **__: 3 * t.nbytes + 4 * out.nbytes,
    jvp=(
        lambda h, length, x, axis, keepdims, count: _tangent(h, length, x, axis, keepdims, count),
        lambda h, y, length: -_over(h * y, length),
        lambda h, t, length, axis, keepdims, count: np.sum(
            np.real(product(h, _turned(t, np.ones(length.shape, length.dtype), length, axis, keepdims, count))),
            axis=axis,
            keepdims=keepdims,
        ),
    ),
)


_ELEMENTWISE = {"axis": (), "keepdims": False, "count": 1.0}


def _size_rule(g: Any, x: Any, y: Any) -> Any:
    return _slope(g, y, x, **_ELEMENTWISE) if x.dtype.kind == "c" else g * np.sign(x)


def _size_tangent(t: Any, x: Any, y: Any) -> Any:
    return _tangent(t, y, x, **_ELEMENTWISE) if x.dtype.kind == "c" else t * np.sign(x)


def _side(a: Any, like: Any) -> Any:
    """Return one of two sides in the shape and dtype of the length of both."""
    a = a if a.dtype == like.dtype else a.astype(like.dtype)
    return a if a.shape == like.shape else np.broadcast_to(a, like.shape)


by_rules(np.absolute, "x", _size_rule, jvp=(_size_tangent,))
by_rules(
    np.hypot,
    "a b",
    lambda g, a, y: _slope(g, y, _side(a, y), **_ELEMENTWISE),
    lambda g, b, y: _slope(g, y, _side(b, y), **_ELEMENTWISE),
    jvp=(
        lambda t, a, y: _tangent(_side(t, y), y, _side(a, y), **_ELEMENTWISE),
        lambda t, b, y: _tangent(_side(t, y), y, _side(b, y), **_ELEMENTWISE),
    ),
    cost=10,
)


def norm_over(x: Any, axis: tuple[int, ...], keepdims: bool, count: float = 1.0) -> Any:
    """Return the root of the sum of the squares over `axis`, divided by `count`."""
    y = apply(NORM, (x,), {"axis": axis, "keepdims": keepdims, "count": count})
    still = alias(x) if type(x) is Array else x  # which stays as it is when `x` is written to

    def square() -> Any:
        found = np.sum(squares(still), axis=axis, keepdims=keepdims)
        return found if count == 1 else found / count

    return of_square(y, square)


def of_square(y: Any, square: Callable) -> Any:
    """Note of a traced root what it is the root of: `square` returns that, with its derivatives."""
    if type(y) is Array:
        ties_of(y).square = (y._slot, y._value, square)
    return y


def _power_rule(g: Any, base: Any, square: Any, exponent: Any) -> Any:
    return g if exponent == 2 else g * (0.5 * exponent) * _power(base, square, exponent - 2)


def _run_power(base: Any, square: Any, exponent: Any) -> Any:
    if exponent >= 0:
        return np.asarray(base) ** exponent
    is_zero = np.equal(base, 0)
    return np.where(is_zero, 0, np.where(is_zero, 1, base) ** exponent)


POWER_OF_ROOT = define(
    "power_of_root",
    _run_power,
    inputs="base square",
    parameters=("exponent",),
    rules=(None, _power_rule),
    infer=lambda base, square, exponent: phantom.elementwise([base], base.dtype),
    flops=lambda out, base, square, exponent: out.size * (1 if exponent == 2 else 40),
    jvp=(None, _power_rule),
)


def _power(base: Any, square: Any, exponent: Any) -> Any:
    return apply(POWER_OF_ROOT, (base, square), {"exponent": exponent})


def square_of_root(y: Array) -> Any:
    """Return the traced array that `y` is the root of, in the dtype of `y`; None where it is not known to be one."""
    known = tied(y).square
    if known is None or known[0] is not y._slot or known[1] is not y._value:
        return None
    square = known[2]()
    return square if type(square) is Array and y.dtype == square.dtype else None


def power_of_root(y: Array, exponent: Any) -> Any:
    """Return ``y ** exponent`` where `y` is a root of a square and the exponent 2 or more, else None."""
    square = square_of_root(y) if exponent >= 2 else None
    return None if square is None else _power(y, square, exponent)


HOOKS["power_of_root"] = power_of_root


def _rooted(ufunc: np.ufunc, square_of: Callable) -> None:
    """Let the results of a ufunc know what they are the root of."""
    record = recorder(ufunc)
    assert record is not None

    @implements(ufunc)
    def entry(*operands: Any) -> Any:
        y = record(*operands)
        if type(y) is Array:
            still = [alias(a) if type(a) is Array else a for a in operands]
            of_square(y, lambda: square_of(*still))
        return y


_rooted(np.sqrt, lambda x: x)
_rooted(np.absolute, squares)
_rooted(np.hypot, lambda a, b: np.square(a) + np.square(b))
