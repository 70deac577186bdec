"""The recorder of quotients: what ``a / b`` on traced arrays of one shape and dtype, and on numbers, goes through."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np
from numpy._core.multiarray import count_nonzero  # pyright: ignore[reportAttributeAccessIssue]

from .array import NUMBER, Array
from .op import Op
from .rules import as_array

# Up to this size it is cheaper to count the zeros of a cotangent than to compute with a mask of them.
_SMALL = 1024


def operator(op: Op, general: Callable) -> Callable:
    """Return what ``a / b`` goes through, be one of them plain or none; `general(a, b)` is the general way.

    Its steps back give the numbers of the op's rules. Where no value is 0, these need no mask, and the steps do without.
    """
    above, below = op.rules
    assert above is not None and below is not None
    numerator_rule, denominator_rule = above.function, below.function

    def numerator_share(g: Any, b: Any) -> Any:
        if type(g) is np.ndarray and g.size <= _SMALL and type(b) is not Array:
            if count_nonzero(g) == g.size and (count_nonzero(b) == g.size if type(b) is np.ndarray else b):
                return g / b
        return numerator_rule(g, as_array(b, g.dtype))

    def denominator_share(g: Any, b: Any, y: Any) -> Any:
        if type(g) is np.ndarray and g.size <= _SMALL and type(b) is np.ndarray and type(y) is np.ndarray:
            if count_nonzero(g) == g.size and count_nonzero(b) == g.size:
                share = g * y
                if count_nonzero(share) == g.size:
                    return -(share / b)
        return denominator_rule(g, b, y)

    def step_both(g: Any, sums: dict, first: int, second: int, b: Any, y: Any) -> None:
        share = numerator_share(g, b)
        sums[first] = sums[first] + share if first in sums else share
        share = denominator_share(g, b, y)
        sums[second] = sums[second] + share if second in sums else share

    def step_numerator(g: Any, sums: dict, slot: int, b: Any, *_: Any) -> None:
        share = numerator_share(g, b)
        sums[slot] = sums[slot] + share if slot in sums else share

    def step_denominator(g: Any, sums: dict, slot: int, b: Any, y: Any, _: Any) -> None:
        share = denominator_share(g, b, y)
        sums[slot] = sums[slot] + share if slot in sums else share

    def divide(a: Any, b: Any) -> Any:
        is_first, is_second = type(a) is Array, type(b) is Array
        array = a if is_first else b
        trail = array._level
        if trail.hot != get_ident() or array._slot is None:
            return general(a, b)
        if is_first and is_second:
            if b._level is not trail or b._slot is None:
                return general(a, b)
            kind = trail.common_kind(a, b)
            if kind is None:
                return general(a, b)
            va, vb = a._value, b._value
            y = va / vb
            made = trail.add_fast(step_both, a._slot, b._slot, vb, y, y)
            made._kind = kind
            return made
        other = b if is_first else a
        kind = array._kind or trail.kind(array)
        plain = type(other)
        if kind is None:
            return general(a, b)
        if plain is np.ndarray:
            if other.dtype is not kind[1] or other.shape != kind[0]:
                return general(a, b)
            if is_first and other.flags.writeable:
                trail.freeze(other)
        elif plain is not float and plain is not int:
            return general(a, b)
        if is_first:
            y = a._value / b
            made = trail.add_fast(step_numerator, a._slot, b, None, None, y)
        else:
            vb = b._value
            y = a / vb
            made = trail.add_fast(step_denominator, b._slot, vb, y, None, y)
        made._kind = kind
        return made

    return divide


def function(divide: Callable, general: Callable) -> Callable:
    """Return what the ufunc itself goes through: unlike the operator, it makes an array of two Python numbers."""

    def called(a: Any, b: Any) -> Any:
        strong = type(a) is Array and a._kind is not NUMBER or type(b) is Array and b._kind is not NUMBER
        return divide(a, b) if strong else general(a, b)

    return called
