"""What a ufunc without keywords goes through: recorders that note the step back of a small call at the least cost.

The general way (`Trail.record`) is right for all. These stand beside it for the arithmetic and for elementwise functions of
operands of one shape and dtype, where the general way would cost several times what NumPy's own work does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np
from numpy._core.multiarray import count_nonzero  # pyright: ignore[reportAttributeAccessIssue]

from .array import Array, apply
from .op import FUNCTIONS, HOOKS, OUTPUT, RECORDERS, UFUNCS, Op
from .rules import as_array

_new_array = Array.__new__
# Up to this size it is cheaper to count the zeros of a cotangent than to compute with a mask of them.
_SMALL = 1024


def recorder(ufunc: np.ufunc) -> Callable | None:
    """Return what a call of `ufunc` on traced arrays goes through, or None where it has neither op nor handler."""
    found = RECORDERS.get(ufunc)
    if found is not None:
        return found
    op = UFUNCS.get(ufunc)
    handler = FUNCTIONS.get(ufunc)
    if handler is not None:
        found = handler
    elif op is None:
        return None
    elif any(rule is not None and rule.is_strict for rule in op.rules) or not any(op.rules):
        found = functools.partial(apply_inputs, op)  # a user's rules: the fast steps have the house's own in them
    elif ufunc is np.multiply or ufunc is np.add or ufunc is np.subtract:
        found = _arithmetic(op, ufunc)
    elif ufunc is np.true_divide:
        found = _division(op)
    elif (
        len(op.inputs) == 1
        and op.rules[0] is not None
        and getattr(np, ufunc.__name__, None) is ufunc  # of others we do not know that they keep the dtype
    ):
        found = _unary(op)
    elif (
        len(op.inputs) == 2
        and all(rule is not None and rule.reads_values_only for rule in op.rules)
        and getattr(np, ufunc.__name__, None) is ufunc
    ):
        found = _binary(op)
    else:
        found = functools.partial(apply_inputs, op)
    RECORDERS[ufunc] = found
    return found


_COMPUTED_WITH = frozenset((Array, np.ndarray, float, int, bool, complex))


def apply_inputs(op: Op, *inputs: Any) -> Any:
    """Record a call of a ufunc's op on any operands, or return NotImplemented for that of a foreign class to act."""
    given = []
    for a in inputs:
        if type(a) not in _COMPUTED_WITH:
            if isinstance(a, (list, tuple)):
                # They may hold traced values, and must be arrays before it is decided which level records the call.
                a = HOOKS["asarray"](a)
            elif takes_over(a):
                return NotImplemented
            elif _is_of_pandas(a):
                a = np.asarray(a)
        given.append(a)
    return apply(op, given)


def takes_over(operand: Any) -> bool:
    """Tell whether an operand's own class has the say about a call that it is in, as ndarrays decide it (NEP 13)."""
    kind = type(operand)
    if kind in _COMPUTED_WITH or isinstance(operand, np.generic) or _is_of_pandas(operand):
        return False
    if hasattr(kind, "__array_ufunc__"):
        return kind.__array_ufunc__ is not np.ndarray.__array_ufunc__
    return getattr(operand, "__array_priority__", 0) > 0


def _is_of_pandas(operand: Any) -> bool:
    # Its own methods would convert a traced array to a plain one, and refuse; its data are a constant like others.
    return type(operand).__module__.partition(".")[0] == "pandas"


def _unary(op: Op) -> Callable:
    """Return the fast recorder of an elementwise function of one input whose output has the input's dtype."""
    rule: Any = op.rules[0]
    partial = getattr(rule.function, "partial", None)
    if any(type(read) is not int for read in rule.reads):
        return functools.partial(apply_inputs, op)
    run = op.run
    reads_x = len(rule.reads) > 0 and rule.reads[0] == 0
    if len(rule.reads) == 0:

        def step(g: Any, calls: list, place: int, sums: dict) -> None:
            slot = calls[place + 1]
            share = rule.function(g)
            sums[slot] = sums[slot] + share if slot in sums else share

    elif len(rule.reads) == 1 and not callable(partial):

        def step(g: Any, calls: list, place: int, sums: dict) -> None:
            slot = calls[place + 1]
            share = rule.function(g, calls[place + 2])
            sums[slot] = sums[slot] + share if slot in sums else share

    elif len(rule.reads) == 1 and partial is not None:

        def step(g: Any, calls: list, place: int, sums: dict) -> None:
            slot = calls[place + 1]
            share = g * partial(calls[place + 2])
            sums[slot] = sums[slot] + share if slot in sums else share

    else:

        def step(g: Any, calls: list, place: int, sums: dict) -> None:
            slot = calls[place + 1]
            share = rule.function(g, *calls[place + 2])
            sums[slot] = sums[slot] + share if slot in sums else share

    is_single = len(rule.reads) == 1

    def record_unary(x: Any) -> Any:
        trail = x._level
        slot = x._slot
        if trail.hot != get_ident() or slot is None:
            return trail.record(op, (x,))
        value = x._value
        y = run(value)
        if y.dtype is not value.dtype:
            return trail.finish(op, [slot], [value], None, y)
        calls = trail.calls
        array = _new_array(Array)
        array._level = trail
        array._slot = len(calls)
        array._value = y
        if is_single:
            calls += (step, slot, value if reads_x else y, None, None)
        elif not rule.reads:
            calls += (step, slot, None, None, None)
        else:
            calls += (step, slot, [value if read == 0 else y for read in rule.reads], None, None)
        return array

    return record_unary


def _binary(op: Op) -> Callable:
    """Return the fast recorder of an elementwise function of two traced arrays of one shape and dtype."""
    run = op.run
    first_rule, second_rule = op.rules
    assert first_rule is not None and second_rule is not None
    first, second = first_rule.function, second_rule.function

    def step(g: Any, calls: list, place: int, sums: dict) -> None:
        slot, other, first_reads, second_reads = calls[place + 1 : place + 5]
        share = first(g, *first_reads)
        sums[slot] = sums[slot] + share if slot in sums else share
        share = second(g, *second_reads)
        sums[other] = sums[other] + share if other in sums else share

    def record_binary(a: Any, b: Any) -> Any:
        if type(a) is not Array or type(b) is not Array or a._level is not b._level:
            return apply_inputs(op, a, b)
        trail = a._level
        slot, other = a._slot, b._slot
        if trail.hot != get_ident() or slot is None or other is None:
            return apply_inputs(op, a, b)
        values = (a._value, b._value)
        y = run(*values)
        dtype, shape = y.dtype, y.shape
        if any(value.dtype is not dtype or value.shape != shape for value in values):
            return trail.finish(op, [slot, other], values, None, y)
        calls = trail.calls
        array = _new_array(Array)
        array._level = trail
        array._slot = len(calls)
        array._value = y
        calls += (
            step,
            slot,
            other,
            [y if read == OUTPUT else values[read] for read in first_rule.residuals],
            [y if read == OUTPUT else values[read] for read in second_rule.residuals],
        )
        return array

    return record_binary


def _step_back_product(g: Any, calls: list, place: int, sums: dict) -> None:
    first, second, a, b = calls[place + 1 : place + 5]
    share = g * b
    sums[first] = sums[first] + share if first in sums else share
    share = g * a
    sums[second] = sums[second] + share if second in sums else share


def _step_back_sum(g: Any, calls: list, place: int, sums: dict) -> None:
    slot = calls[place + 1]
    sums[slot] = sums[slot] + g if slot in sums else g
    slot = calls[place + 2]
    sums[slot] = sums[slot] + g if slot in sums else g


def _step_back_difference(g: Any, calls: list, place: int, sums: dict) -> None:
    slot = calls[place + 1]
    sums[slot] = sums[slot] + g if slot in sums else g
    slot = calls[place + 2]
    sums[slot] = sums[slot] - g if slot in sums else -g


def _step_back_scaled(g: Any, calls: list, place: int, sums: dict) -> None:
    slot = calls[place + 1]
    share = g * calls[place + 2]
    sums[slot] = sums[slot] + share if slot in sums else share


def _step_back_same(g: Any, calls: list, place: int, sums: dict) -> None:
    slot = calls[place + 1]
    sums[slot] = sums[slot] + g if slot in sums else g


def _step_back_negative(g: Any, calls: list, place: int, sums: dict) -> None:
    slot = calls[place + 1]
    sums[slot] = sums[slot] - g if slot in sums else -g


def _arithmetic(op: Op, ufunc: np.ufunc) -> Callable:
    """Return the fast recorder of a sum, a difference or a product; operands that broadcast or differ in dtype go on."""
    is_product = ufunc is np.multiply
    step_both, step_first, step_second = {
        np.multiply: (_step_back_product, _step_back_scaled, _step_back_scaled),
        np.add: (_step_back_sum, _step_back_same, _step_back_same),
        np.subtract: (_step_back_difference, _step_back_same, _step_back_negative),
    }[ufunc]

    def record_arithmetic(a: Any, b: Any) -> Any:
        if type(a) is Array:
            trail = a._level
            slot = a._slot
            if trail.hot == get_ident() and slot is not None:
                va = a._value
                kind = type(b)
                if kind is Array:
                    other = b._slot
                    if b._level is trail and other is not None:
                        vb = b._value
                        y = ufunc(va, vb)
                        dtype, shape = y.dtype, y.shape
                        if va.dtype is not dtype or vb.dtype is not dtype or va.shape != shape or vb.shape != shape:
                            return trail.finish(op, [slot, other], [va, vb], None, y)
                        calls = trail.calls
                        array = _new_array(Array)
                        array._level = trail
                        array._slot = len(calls)
                        array._value = y
                        if is_product:
                            calls += (step_both, slot, other, va, vb)
                        else:
                            calls += (step_both, slot, other, None, None)
                        return array
                elif kind is float or kind is int or kind is np.ndarray and b.dtype is va.dtype:
                    y = ufunc(va, b)
                    if y.dtype is not va.dtype or y.shape != va.shape:
                        return trail.finish(op, [slot, None], [va, b], None, y)
                    if is_product and kind is np.ndarray and b.flags.writeable:
                        trail.freeze(b)
                    calls = trail.calls
                    array = _new_array(Array)
                    array._level = trail
                    array._slot = len(calls)
                    array._value = y
                    calls += (step_first, slot, b, None, None) if is_product else (step_first, slot, None, None, None)
                    return array
        elif type(b) is Array:
            trail = b._level
            slot = b._slot
            kind = type(a)
            vb = b._value
            if (
                trail.hot == get_ident()
                and slot is not None
                and (kind is float or kind is int or kind is np.ndarray and a.dtype is vb.dtype)
            ):
                y = ufunc(a, vb)
                if y.dtype is not vb.dtype or y.shape != vb.shape:
                    return trail.finish(op, [None, slot], [a, vb], None, y)
                if is_product and kind is np.ndarray and a.flags.writeable:
                    trail.freeze(a)
                calls = trail.calls
                array = _new_array(Array)
                array._level = trail
                array._slot = len(calls)
                array._value = y
                calls += (step_second, slot, a, None, None) if is_product else (step_second, slot, None, None, None)
                return array
        return apply_inputs(op, a, b)

    return record_arithmetic


def _division(op: Op) -> Callable:
    """Return the fast recorder of a quotient; what broadcasts or differs in dtype goes on.

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

    def step_both(g: Any, calls: list, place: int, sums: dict) -> None:
        first, second, b, y = calls[place + 1 : place + 5]
        share = numerator_share(g, b)
        sums[first] = sums[first] + share if first in sums else share
        share = denominator_share(g, b, y)
        sums[second] = sums[second] + share if second in sums else share

    def step_numerator(g: Any, calls: list, place: int, sums: dict) -> None:
        slot = calls[place + 1]
        share = numerator_share(g, calls[place + 2])
        sums[slot] = sums[slot] + share if slot in sums else share

    def step_denominator(g: Any, calls: list, place: int, sums: dict) -> None:
        slot = calls[place + 1]
        share = denominator_share(g, calls[place + 2], calls[place + 3])
        sums[slot] = sums[slot] + share if slot in sums else share

    def record_division(a: Any, b: Any) -> Any:
        is_first, is_second = type(a) is Array, type(b) is Array
        trail = a._level if is_first else b._level if is_second else None
        if trail is None or trail.hot != get_ident() or is_first and is_second and b._level is not trail:
            return apply_inputs(op, a, b)
        other = b if is_first else a
        kind = type(other)
        if not (is_first and is_second or kind is float or kind is int or kind is np.ndarray):
            return apply_inputs(op, a, b)
        slot = a._slot if is_first else None
        second = b._slot if is_second else None
        va = a._value if is_first else a
        vb = b._value if is_second else b
        if is_first and slot is None or is_second and second is None or kind is np.ndarray and other.dtype.kind == "O":
            return apply_inputs(op, a, b)
        y = np.true_divide(va, vb)
        dtype, shape = y.dtype, y.shape
        for value in (va, vb):
            if type(value) is not float and type(value) is not int and (value.dtype is not dtype or value.shape != shape):
                return trail.finish(op, [slot, second], [va, vb], None, y)
        if kind is np.ndarray and is_first and vb.flags.writeable:
            trail.freeze(vb)
        if second is None:
            return trail.add_fast(step_numerator, slot, vb, None, None, y)
        if slot is None:
            return trail.add_fast(step_denominator, second, vb, y, None, y)
        return trail.add_fast(step_both, slot, second, vb, y, y)

    return record_division
