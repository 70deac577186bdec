"""The forward sweep: tangents are computed beside the values, call by call, and nothing is kept."""

from __future__ import annotations

from threading import get_ident
from typing import Any

import numpy as np

from .array import Array, apply, traced
from .levels import Level
from .op import OUTPUT, Op, Rule
from .rules import as_array, fetch, fitted, in_dtype
from .trail import Trail, constant, inactive, run_over


class Forward(Level):
    """Carries one tangent with every value that depends on a differentiated input (dual numbers)."""

    __slots__ = ()

    def input(self, value: Any, tangent: Any) -> Array:
        """Return a traced array for a value with its tangent, of the value's shape and dtype."""
        return traced(self, tangent, value)

    def is_active(self, array: Any) -> bool:
        """Tell whether an array has a tangent."""
        return array._slot is not None

    def record(self, op: Op, args: Any, parameters: dict | None = None, *, gives_up: bool = False) -> Any:
        """Run `op` and push the tangents through it."""
        if self.closed or self.thread != get_ident():
            self.require_open()
        values = []
        tangents = []
        for a in args:
            kind = type(a)
            if kind is Array and a._level is self:
                values.append(a._value)
                tangents.append(a._slot)
            else:
                values.append(a if kind is float or kind is int else constant(a))
                tangents.append(None)
        y = run_over(op, values, parameters) if gives_up else apply(op, values, parameters)
        tangent = None
        if not op.zero_gradient:
            tangent = push(op, values, tangents, parameters, y, gives_up=gives_up)
        return inactive(self, y) if tangent is None else traced(self, tangent, y)


def push(op: Op, values: list, tangents: list, parameters: dict | None, y: Any, *, gives_up: bool = False) -> Any:
    """Return the tangent of ``y = op(*values)``, or None where no tangent gets through. `tangents` may hold None."""
    if type(op.jvp) is tuple:
        return _by_rules(op.jvp, values, tangents, parameters, y)
    rules = [op.rule(position) for position in range(len(values))]
    active = [k for k, tangent in enumerate(tangents) if tangent is not None and rules[k] is not None]
    if not active:
        return None
    if op.jvp == "linear":
        operands = [
            value if rules[k] is None else tangents[k] if tangents[k] is not None else np.zeros(np.shape(value), y.dtype)
            for k, value in enumerate(values)
        ]
        if gives_up:
            tangents.clear()
            tangent = run_over(op, operands, parameters)
        else:
            tangent = apply(op, operands, parameters)
    elif op.jvp == "multilinear":
        tangent = None
        for k in active:
            share = apply(op, [tangents[k] if j == k else value for j, value in enumerate(values)], parameters)
            tangent = share if tangent is None else tangent + share
    else:
        tangent = _transposed(active, rules, values, tangents, parameters, y)
    return None if tangent is None else _like_output(tangent, y)


def _like_output(tangent: Any, y: Any) -> Any:
    dtype = y.dtype
    if tangent.dtype is not dtype and tangent.dtype != dtype:
        tangent = in_dtype(tangent, dtype)
    return tangent if tangent.shape == y.shape else np.broadcast_to(tangent, y.shape)


def _by_rules(jvp: tuple, values: list, tangents: list, parameters: dict | None, y: Any) -> Any:
    """Return the sum of what the forward rules make of the tangents."""
    total = None
    last = len(jvp) - 1
    for k, t in enumerate(tangents):
        rule: Rule | None = jvp[k if k < last else last] if t is not None else None
        if rule is None:
            continue
        if rule.reads_values_only:
            share = rule.function(t, *[y if read == OUTPUT else as_array(values[read], y.dtype) for read in rule.residuals])
        else:
            share = rule.function(t, *fetch(rule, k, values, y, parameters))
        total = share if total is None else total + share
    return None if total is None else _like_output(total, y)


def _transposed(active: list[int], rules: list, values: list, tangents: list, parameters: dict | None, y: Any) -> Any:
    """Return the tangent by transposing the reverse rules: each is linear in the cotangent, so its own reverse is the JVP.

    The rules are recorded at a cotangent of ones; what they compute from it is never read.
    """
    with Trail() as trail, np.errstate(all="ignore"):
        g = trail.input(np.ones(y.shape, y.dtype))
        sums: dict[int, Any] = {}
        for k in active:
            rule = rules[k]
            shape, dtype = values[k].shape, values[k].dtype
            arguments = fetch(rule, k, values, y, parameters)
            if rule.adds:
                share = rule.function(np.zeros(shape, dtype), g, *arguments)
            else:
                share = fitted(rule.function(np.copy(g) if rule.takes else g, *arguments), shape, dtype, rule)
            if type(share) is Array and share._level is trail and share._slot is not None:
                slot = share._slot
                sums[slot] = sums[slot] + tangents[k] if slot in sums else tangents[k]
    return trail.pull(sums).get(g._slot)
