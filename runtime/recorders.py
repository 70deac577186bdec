"""What a call of a ufunc on traced arrays goes through: chosen once for each ufunc, and for each of Python's operators."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import arithmetic, functions, quotients
from .array import NUMBER, Array, apply
from .op import FUNCTIONS, HOOKS, RECORDERS, UFUNCS, Op
from .python_numbers import as_python_number, cast_for, is_python_number

_ARITHMETIC = (np.add, np.subtract, np.multiply)


def recorder(ufunc: np.ufunc) -> Callable | None:
    """Return what a call of `ufunc` on traced arrays goes through, or None where it has neither op nor handler."""
    found = RECORDERS.get(ufunc)
    if found is None:
        found = FUNCTIONS.get(ufunc)
        op = UFUNCS.get(ufunc)
        if found is None and op is not None:
            found = _function(ufunc, op)
        if found is not None:
            RECORDERS[ufunc] = found
    return found


def operators(ufunc: np.ufunc) -> tuple[Callable, Callable]:
    """Return what ``a · b`` goes through where `a` is traced, and ``b · a`` called as ``reflected(a, b)``.

    As functions they differ from the ufunc in one thing: of Python numbers they make a Python number. For an operator of one
    operand the two are the same.
    """
    handler, op = FUNCTIONS.get(ufunc), UFUNCS.get(ufunc)
    if handler is not None or op is None:
        assert handler is not None
        general = _keeping_numbers(handler)
        return general, lambda a, b: general(b, a)
    general = _keeping_numbers(functools.partial(apply_inputs, op))
    if _has_fast_rules(op):
        if ufunc in _ARITHMETIC:
            return arithmetic.operators(ufunc, op, general)
        if ufunc is np.true_divide:
            divide = quotients.operator(op, general)
            return divide, lambda a, b: divide(b, a)
        if len(op.inputs) == 1:
            found = functions.unary(ufunc, op, general, keeps_numbers=True)
            if found is not None:
                return found, found
        if len(op.inputs) == 2:
            found = functions.binary(ufunc, op, general)
            if found is not None:
                return found, lambda a, b: general(b, a)
    return general, lambda a, b: general(b, a)


def _keeping_numbers(found: Callable) -> Callable:
    def general(*operands: Any) -> Any:
        result = found(*operands)
        for a in operands:
            if not is_python_number(a):
                return result
        return as_python_number(result)

    return general


def _function(ufunc: np.ufunc, op: Op) -> Callable:
    general = functools.partial(apply_inputs, op)
    if not _has_fast_rules(op):
        return general
    if ufunc in _ARITHMETIC:
        return arithmetic.function(*arithmetic.operators(ufunc, op, general), general)
    if ufunc is np.true_divide:
        return quotients.function(quotients.operator(op, general), general)
    found = None
    if getattr(np, ufunc.__name__, None) is ufunc:  # of others we do not know that they keep the dtype
        if len(op.inputs) == 1:
            found = functions.unary(ufunc, op, general, keeps_numbers=False)
        elif len(op.inputs) == 2:
            found = functions.binary(ufunc, op, general)
    return found or general


def _has_fast_rules(op: Op) -> bool:
    """Tell whether every input has a rule, and none is a user's: the fast steps have the house's own in them."""
    return all(rule is not None and not rule.is_strict for rule in op.rules)


_COMPUTED_WITH = frozenset((Array, np.ndarray, float, int, bool, complex))


def apply_inputs(op: Op, *inputs: Any) -> Any:
    """Record a call of a ufunc's op on any operands, or return NotImplemented for that of a foreign class to act."""
    given = []
    has_numbers = False
    for a in inputs:
        if type(a) is Array:
            has_numbers = has_numbers or a._kind is NUMBER
        elif type(a) not in _COMPUTED_WITH:
            if isinstance(a, (list, tuple)):
                # They may hold traced values, and must be arrays before it is decided which level records the call.
                a = HOOKS["asarray"](a)
            elif takes_over(a):
                return NotImplemented
            elif _is_of_pandas(a):
                a = np.asarray(a)
        given.append(a)
    if has_numbers and isinstance(op.run, np.ufunc):
        given = cast_for(op.run, given)
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
