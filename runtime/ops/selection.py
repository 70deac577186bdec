"""Choosing between values: where, the larger and the smaller of two, clipping, and replacing what is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core.umath import clip as CLIP  # pyright: ignore[reportAttributeAccessIssue]

from .. import phantom
from ..array import Array, apply
from ..errors import MissingRuleError
from ..op import FUNCTIONS, HOOKS, by_rules, define, implements
from ..python_numbers import cast_together
from .conversion import asarray
from .parts import combine

_WHERE_RULES = (None, lambda g, condition: np.where(condition, g, 0), lambda g, condition: np.where(condition, 0, g))


def _promoted(*operands: Any) -> np.dtype:
    return np.result_type(*[o.dtype if isinstance(o, np.ndarray) and o.ndim == 0 else o for o in operands])


WHERE = define(
    "where",
    np.where,
    inputs="condition a b",
    rules=_WHERE_RULES,
    infer=lambda condition, a, b: phantom.elementwise(
        [p for p in (condition, a, b) if isinstance(p, np.ndarray)], _promoted(a, b)
    ),
    jvp=_WHERE_RULES,
)


@implements(np.where)
def where(condition: Any, *values: Any) -> Any:
    """Record ``np.where(condition, a, b)``; the one-argument form reads the condition."""
    if not values:
        return np.nonzero(condition)
    if len(values) != 2:
        raise ValueError("either both or neither of x and y should be given")
    condition, *choices = [
        asarray(a) if type(a) is not Array and isinstance(a, (list, tuple)) else a for a in (condition, *values)
    ]
    return apply(WHERE, (condition, *cast_together(choices)))


def _winner(wins: Callable) -> Callable:
    """Return the rule for the first of two inputs: all of the cotangent where it `wins`, half where both are equal."""

    def rule(g: Any, a: Any, b: Any) -> Any:
        if g.dtype.kind == "c":
            raise MissingRuleError(
                "the larger or smaller of two complex numbers (ordered by their real parts) has no derivative rule here. "
                "Compare parts or absolute values and choose with np.where"
            )
        return np.where(wins(a, b), g, np.where(np.equal(a, b), 0.5 * g, 0))

    return rule


def _extremum(ufunc: np.ufunc, wins: Callable) -> None:
    first = _winner(wins)
    by_rules(ufunc, "a b", first, lambda g, a, b: first(g, b, a))


_extremum(np.maximum, lambda a, b: np.greater(a, b))
_extremum(np.minimum, lambda a, b: np.less(a, b))
_extremum(np.fmax, lambda a, b: np.logical_or(np.greater(a, b), np.isnan(b)))
_extremum(np.fmin, lambda a, b: np.logical_or(np.less(a, b), np.isnan(b)))


def clip(
    a: Any,
    a_min: Any = np._NoValue,
    a_max: Any = np._NoValue,
    out: Any = None,
    *,
    min: Any = np._NoValue,
    max: Any = np._NoValue,
    **keywords: Any,
) -> Any:
    """Compose clipping of maximum and minimum; on the edge the gradient is shared, as theirs is."""
    if (a_min is not np._NoValue or a_max is not np._NoValue) and (min is not np._NoValue or max is not np._NoValue):
        raise ValueError("Passing `min` or `max` keyword argument when `a_min` and `a_max` are provided is forbidden.")
    lowest, highest = (a_min, a_max) if min is np._NoValue and max is np._NoValue else (min, max)
    low: Any = None if lowest is np._NoValue else lowest
    high: Any = None if highest is np._NoValue else highest
    if out is not None:
        keywords["out"] = (out,)
    if low is None and high is None:
        return np.positive(a, **keywords)
    if low is None:
        return np.minimum(a, high, **keywords)
    if high is None:
        return np.maximum(a, low, **keywords)
    if keywords:
        return HOOKS["ufunc_form"](CLIP, "__call__", (a, low, high), keywords)
    return np.minimum(np.maximum(a, low), high)


FUNCTIONS[np.clip] = clip
FUNCTIONS[CLIP] = clip


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """Compose `np.nan_to_num` of where; what was replaced has no gradient."""
    if x.dtype.kind not in "fc":
        return x
    info = np.finfo(x.dtype)
    high = float(info.max) if posinf is None else posinf
    low = float(info.min) if neginf is None else neginf

    def replaced(part: Any) -> Any:
        y = np.where(np.isnan(part), nan, part)
        y = np.where(np.equal(part, math.inf), high, y)
        y = np.where(np.equal(part, -math.inf), low, y)
        return y.astype(part.dtype, copy=False)

    y = combine(replaced(np.real(x)), replaced(np.imag(x))) if x.dtype.kind == "c" else replaced(x)
    return y if copy else HOOKS["repoint"](x, y)
