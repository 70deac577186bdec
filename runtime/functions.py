"""Recorders of elementwise functions of one or two arrays, such as sin and maximum: the least that a call can cost."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np

from . import steps
from .array import NUMBER, Array
from .op import OUTPUT, Op
from .python_numbers import as_python_number

_INEXACT = "efdgFDG"


def unary(ufunc: np.ufunc, op: Op, general: Callable, *, keeps_numbers: bool) -> Callable | None:
    """Return the recorder of a function of one array, or None where its rule reads more than values.

    `general(x)` is the general way. With `keeps_numbers`, it makes a Python number of one, as operators do.
    """
    rule = op.rules[0]
    assert rule is not None
    if not rule.reads_values_only:
        return None
    reads = [read == 0 for read in rule.residuals]
    partial = getattr(rule.function, "partial", None)
    is_constant = not reads and partial is not None
    if is_constant:
        step, act = steps.negative if partial == -1 else steps.same if partial == 1 else steps.scaled, partial
    elif len(reads) == 1 and callable(partial):
        step, act = steps.by_partial, partial
    elif len(reads) == 1:
        step, act = steps.by_rule, rule.function
    else:
        step, act = steps.by_rule_of, rule.function
    reads_x, is_single = reads == [True], len(reads) == 1
    # abs makes real numbers of complex ones.
    always_keeps = all(_keeps(ufunc, np.dtype(letter)) for letter in _INEXACT)

    def record(x: Any) -> Any:
        trail = x._level
        slot = x._slot
        if trail.hot != get_ident() or slot is None:
            return general(x)
        kind = x._kind
        if kind is None or kind is NUMBER and not keeps_numbers:
            kind = trail.kind(x)
            if kind is None:
                return general(x)
        value = x._value
        y = ufunc(value)
        if not always_keeps and y.dtype is not value.dtype:
            made = trail.finish(op, [slot], [value], None, y)
            return as_python_number(made) if kind is NUMBER else made
        array = Array()
        array._level = trail
        calls = trail.calls
        array._slot = len(calls)
        array._value = y
        array._kind = kind
        array._ties = None
        if is_single:
            calls += (step, slot, value if reads_x else y, act, None)
        elif is_constant:
            calls += (step, slot, act, None, None)
        else:
            calls += (step, slot, tuple([value if is_x else y for is_x in reads]), act, None)
        return array

    return record


def _keeps(ufunc: np.ufunc, dtype: np.dtype) -> bool:
    """Tell whether a function of one array gives its own dtype, or refuses it."""
    try:
        return ufunc.resolve_dtypes((dtype, None))[1] == dtype
    except TypeError:
        return True


def binary(ufunc: np.ufunc, op: Op, general: Callable) -> Callable | None:
    """Return the recorder of a function of two traced arrays of one shape and dtype, or None where a rule reads more."""
    first_rule, second_rule = op.rules
    assert first_rule is not None and second_rule is not None
    if not (first_rule.reads_values_only and second_rule.reads_values_only):
        return None
    first_function, second_function = first_rule.function, second_rule.function
    first_reads, second_reads = first_rule.residuals, second_rule.residuals

    def step(g: Any, sums: dict, first: int, second: int, first_values: list, second_values: list) -> None:
        share = first_function(g, *first_values)
        sums[first] = sums[first] + share if first in sums else share
        share = second_function(g, *second_values)
        sums[second] = sums[second] + share if second in sums else share

    def record(a: Any, b: Any) -> Any:
        if type(a) is not Array or type(b) is not Array or a._level is not b._level:
            return general(a, b)
        trail = a._level
        slot, second = a._slot, b._slot
        if trail.hot != get_ident() or slot is None or second is None:
            return general(a, b)
        kind = trail.common_kind(a, b)
        if kind is None or kind is NUMBER:
            return general(a, b)
        values = (a._value, b._value)
        y = ufunc(*values)
        if y.dtype is not kind[1]:
            return trail.finish(op, [slot, second], values, None, y)
        made = trail.add_fast(
            step,
            slot,
            second,
            [y if read == OUTPUT else values[read] for read in first_reads],
            [y if read == OUTPUT else values[read] for read in second_reads],
            y,
        )
        made._kind = kind
        return made

    return record
