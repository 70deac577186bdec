"""Recorders of sums, differences and products: what ``a + b`` on traced arrays goes through, at the least cost.

They stand beside the general way (`Trail.record`), which costs several times what NumPy's own work on a small array does, for
operands of one shape and dtype, and for numbers. All else goes the general way. The lines that make the array and note the
call stand here, in `functions` and in `Trail.add_fast` alike: a call to share them would cost more than they do.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np

from . import steps
from .array import NUMBER, Array
from .op import HOOKS, Op

_FLOAT64 = np.dtype(np.float64)
# The steps back where both operands are active, the first alone and the second alone.
_STEPS = {
    np.add: (steps.both, steps.same, steps.same),
    np.subtract: (steps.difference, steps.same, steps.negative),
    np.multiply: (steps.product, steps.scaled, steps.scaled),
}


def operators(ufunc: np.ufunc, op: Op, general: Callable) -> tuple[Callable, Callable]:
    """Return the methods of ``array · b`` and ``a · array``; `general(a, b)` is the general way."""
    step_both, step_first, step_second = _STEPS[ufunc]
    is_product, is_sum = ufunc is np.multiply, ufunc is np.add
    if is_product:
        general = _squaring(general)

    def forward(a: Any, b: Any) -> Any:
        trail = a._level
        slot = a._slot
        if trail.hot != get_ident() or slot is None:
            return general(a, b)
        kind = a._kind
        if kind is None:
            kind = trail.kind(a)
        other = type(b)
        if other is Array:
            second = b._slot
            if b._level is not trail or second is None or a is b and a._ties is not None:
                return general(a, b)
            if kind is not b._kind or kind is None or kind is NUMBER:
                kind = trail.common_kind(a, b)
                if kind is None:
                    return _broadcast(ufunc, op, general, a, b)
            va = a._value
            vb = b._value
            y = va * vb if is_product else va + vb if is_sum else va - vb
            array = Array()
            array._level = trail
            calls = trail.calls
            array._slot = len(calls)
            array._value = y
            array._kind = kind
            array._ties = None
            if is_product:
                calls += (step_both, slot, second, va, vb)
            else:
                calls += (step_both, slot, second, None, None)
            return array
        if kind is None:
            return general(a, b)
        if other is np.ndarray:
            if b.dtype is not kind[1]:
                return general(a, b)
            if b.shape != kind[0]:
                va = a._value
                return trail.finish(op, [slot, None], [va, b], None, ufunc(va, b))
            if is_product and b.flags.writeable:
                trail.freeze(b)
        elif other is not float and other is not int and (other is not np.float64 or kind[1] is not _FLOAT64):
            return general(a, b)
        va = a._value
        y = va * b if is_product else va + b if is_sum else va - b
        array = Array()
        array._level = trail
        calls = trail.calls
        array._slot = len(calls)
        array._value = y
        array._kind = kind
        array._ties = None
        if is_product:
            calls += (step_first, slot, b, None, None)
        else:
            calls += (step_first, slot, None, None, None)
        return array

    def reflected(b: Any, a: Any) -> Any:
        trail = b._level
        slot = b._slot
        if trail.hot != get_ident() or slot is None:
            return general(a, b)
        kind = b._kind
        if kind is None:
            kind = trail.kind(b)
        other = type(a)
        if kind is None:
            return general(a, b)
        if other is np.ndarray:
            if a.dtype is not kind[1]:
                return general(a, b)
            if a.shape != kind[0]:
                vb = b._value
                return trail.finish(op, [None, slot], [a, vb], None, ufunc(a, vb))
            if is_product and a.flags.writeable:
                trail.freeze(a)
        elif other is not float and other is not int and (other is not np.float64 or kind[1] is not _FLOAT64):
            return general(a, b)
        vb = b._value
        y = a * vb if is_product else a + vb if is_sum else a - vb
        array = Array()
        array._level = trail
        calls = trail.calls
        array._slot = len(calls)
        array._value = y
        array._kind = kind
        array._ties = None
        if is_product:
            calls += (step_second, slot, a, None, None)
        else:
            calls += (step_second, slot, None, None, None)
        return array

    return forward, reflected


def _squaring(general: Callable) -> Callable:
    """Return the general way of a product, but for the square of a root, which is smooth where the root is not."""

    def multiplied(a: Any, b: Any) -> Any:
        squared = HOOKS["power_of_root"](a, 2) if a is b and type(a) is Array and a._ties is not None else None
        return general(a, b) if squared is None else squared

    return multiplied


def function(forward: Callable, reflected: Callable, general: Callable) -> Callable:
    """Return what the ufunc itself goes through: unlike the operator, it makes an array of two Python numbers."""

    def called(a: Any, b: Any) -> Any:
        if type(a) is Array:
            if a._kind is not NUMBER:
                return forward(a, b)
        elif type(b) is Array and b._kind is not NUMBER:
            return reflected(b, a)
        return general(a, b)

    return called


def _broadcast(ufunc: np.ufunc, op: Op, general: Callable, a: Array, b: Array) -> Any:
    """Record a call on active arrays of one trail that broadcast or differ in dtype."""
    if a._kind is NUMBER or b._kind is NUMBER:
        return general(a, b)
    va, vb = a._value, b._value
    return a._level.finish(op, [a._slot, b._slot], [va, vb], None, ufunc(va, vb))
