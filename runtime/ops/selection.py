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

_LEAST_BY_BITS = 8192  # elements
_WHERE_RULES = (None, lambda g, condition: np.where(condition, g, 0), lambda g, condition: np.where(condition, 0, g))


def _promoted(*operands: Any) -> np.dtype:
    return np.result_type(*[o.dtype if isinstance(o, np.ndarray) and o.ndim == 0 else o for o in operands])


def _by_bits(condition: Any, a: Any, b: Any) -> list[Any] | None:
    """Return the bits of `a` and `b`, None for zero bits, where choosing by bits pays and is possible; None where not."""
    arrays = [x for x in (a, b) if isinstance(x, np.ndarray) and x.ndim]
    if not arrays or type(condition) is not np.ndarray or condition.size < _LEAST_BY_BITS or condition.dtype != bool:
        return None
    dtype = arrays[0].dtype
    if not condition.flags.c_contiguous or dtype.kind not in "fiu" or dtype.itemsize == 1 or _promoted(a, b) != dtype:
        return None
    bits = np.dtype(f"u{dtype.itemsize}")
    made: list[Any] = []
    for x in (a, b):
        if not isinstance(x, np.ndarray) or x.ndim == 0:
            x = np.asarray(x, dtype)
            made.append(x.view(bits) if x.view(bits) else None)
        elif x.shape == condition.shape and x.dtype == dtype and x.flags.c_contiguous:
            made.append(x.view(bits))
        else:
            return None
    return made


def _where_into(out: np.ndarray, condition: Any, a: Any, b: Any) -> np.ndarray:
    bits = _by_bits(condition, a, b)
    if bits is None or not out.flags.c_contiguous:
        np.copyto(out, b)
        np.copyto(out, a, where=np.asarray(condition, bool))
        return out
    first, second = bits
    chosen = out.view(f"u{out.itemsize}")
    either = second if first is None else first if second is None else np.bitwise_xor(first, second, out=chosen)
    assert either is not None
    np.multiply(either, condition, out=chosen)
    if second is not None:
        np.bitwise_xor(chosen, second, out=chosen)
    return out


def _where(condition: Any, a: Any, b: Any) -> Any:
    """Choose by arithmetic on bits, whose time does not depend on the condition: `np.where` is up to ten times slower where
    a processor cannot foretell it."""
    if np.size(condition) >= _LEAST_BY_BITS and _by_bits(condition, a, b) is not None:
        return _where_into(np.empty(condition.shape, _promoted(a, b)), condition, a, b)
    return np.where(condition, a, b)


WHERE = define(
    "where",
    _where,
    inputs="condition a b",
    run_into=_where_into,
    workspace=lambda out, condition, a, b: 0 if np.asarray(condition).dtype == bool else np.size(condition),
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
