"""Slopes of roots: quotients for rules, in which what cannot be told of 0 / 0 is NaN from the second order on.

Where a root is 0 and its cotangent too, nothing tells whether the cotangent is 0 because a branch was not taken
(``where(x > 0, sqrt(x), 0)``) or because what is made of the root is flat there (``cosh(3 * sqrt(x @ x))``). A first
derivative is taken as 0. A second one would be 0 with it, though that of the second program is 9: it is made NaN, in a way
that a branch which is not taken still hides. In a sweep back through the slope, its cotangent is divided by 0 as it is: the
branch comes after. In a sweep forward with another derivative in it or around it, a tangent of 0 is NaN: the branch comes
after. (The derivatives of these NaN are 0 again where nothing arrives.)

A quotient that is `closed` is 0 wherever its divisor is, whatever the cotangent: as norms and deviations have it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply
from ..forward import Forward
from ..levels import open_levels
from ..op import define
from ..trail import Trail
from .masked import product, product_of_both, quotient, run_quotient


def _run_open(g: Any, divisor: Any) -> Any:
    with np.errstate(all="ignore"):
        return g / divisor


def _run_closed(g: Any, divisor: Any) -> Any:
    is_zero = np.equal(divisor, 0)
    return np.where(np.logical_and(is_zero, np.logical_not(np.isnan(g))), 0, g / np.where(is_zero, 1, divisor))


def _nan_at_zero(divisor: Any) -> Any:
    return np.where(np.equal(divisor, 0), math.nan, divisor).astype(divisor.dtype)


def _by_g(h: Any, divisor: Any) -> Any:
    return quotient(h, divisor)


def _by_divisor(h: Any, divisor: Any, y: Any) -> Any:
    return -quotient(product_of_both(y, h), divisor)


def _closed_by_g(h: Any, divisor: Any) -> Any:
    return quotient(h, _nan_at_zero(divisor))


def _closed_by_divisor(h: Any, g: Any, divisor: Any) -> Any:
    """Return how a closed quotient changes with its divisor: NaN where that is 0, and neither `g` nor `h` is."""
    return product(h, _bend(g, divisor))


def _bend(g: Any, divisor: Any) -> Any:
    whole = _nan_at_zero(divisor)
    return -quotient(quotient(g, whole), whole)


def _define(name: str, run: Callable, rules: tuple, jvp: tuple, **in_place: Any) -> Any:
    return define(
        name,
        run,
        inputs="g divisor",
        rules=rules,
        infer=lambda g, divisor: phantom.of_ufunc(np.true_divide, (g, divisor)),
        flops=lambda out, *_: 5 * out.size,
        workspace=lambda out, *_: out.size + 2 * out.nbytes,  # masks and what they choose from
        jvp=jvp,
        **in_place,
    )


_RULES, _CLOSED_RULES = (_by_g, _by_divisor), (_closed_by_g, _closed_by_divisor)
OPEN = _define("open_quotient", _run_open, _RULES, _RULES)
PULLED = _define(
    "pulled_slope",
    run_quotient,
    (lambda h, divisor: apply(OPEN, (h, divisor)), _by_divisor),
    _RULES,
    overwrites=0,
    run_into=lambda out, g, divisor: run_quotient(g, divisor, out),
)
CLOSED = _define("closed_quotient", _run_closed, (lambda h, divisor: apply(CLOSED, (h, divisor)), None), _CLOSED_RULES)
CLOSED_PULLED = _define(
    "pulled_closed_slope",
    _run_closed,
    (
        lambda h, divisor: apply(OPEN, (h, _nan_at_zero(divisor))),
        lambda h, g, divisor: h * _bend(g, divisor),
    ),
    _CLOSED_RULES,
)


def pulled(g: Any, divisor: Any) -> Any:
    """Return ``g / divisor`` for a cotangent `g`, and 0 where that is 0."""
    return apply(PULLED, (g, divisor)) if _is_bent(g, divisor) else quotient(g, divisor)


def pushed(t: Any, divisor: Any) -> Any:
    """Return ``t / divisor`` for a tangent `t`, and 0 where that is 0; in a derivative of this derivative, NaN for 0 / 0."""
    return apply(OPEN, (t, divisor)) if _is_nested(t, divisor) else quotient(t, divisor)


def closed_pulled(g: Any, divisor: Any) -> Any:
    """Return ``g / divisor`` for a cotangent `g`, and 0 where the divisor is 0."""
    return apply(CLOSED_PULLED if _is_bent(g, divisor) else CLOSED, (g, divisor))


def closed_pushed(t: Any, divisor: Any) -> Any:
    """Return ``t / divisor`` for a tangent `t`, and 0 where the divisor is 0; in a derivative of this derivative, NaN."""
    return apply(OPEN, (t, _nan_at_zero(divisor))) if _is_nested(t, divisor) else apply(CLOSED, (t, divisor))


def _is_bent(g: Any, divisor: Any) -> bool:
    """Tell whether a derivative is taken of this slope, not of a sweep of which it is one of the constants."""
    number = _level(divisor)
    return number > 0 and _level(g) <= number


def _is_nested(t: Any, divisor: Any) -> bool:
    """Tell whether this sweep forward stands inside another derivative, or another derivative inside it."""
    levels = open_levels()
    if isinstance(levels[-1], Trail) or sum(isinstance(level, Forward) for level in levels) > 1:
        return True
    return _level(t) > 0 or _level(divisor) > 0


def _level(a: Any) -> int:
    """Return the number of the level that an array is traced at, batches apart; 0 for a plain one."""
    while type(a) is Array:
        if not a._level.is_batch:
            return a._level.level
        a = a._value
    return 0
