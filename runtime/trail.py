"""The trail: the leanest record of a call from which a reverse sweep can run, when nothing bounds the memory.

A flat list of five entries a call: what to do in the reverse sweep, and what it needs. Values are held where a rule reads
them and nowhere else; what has no derivative is not recorded at all. One call costs about 80 bytes, and nothing that the
cyclic garbage collector would look at.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np

from . import steps
from .array import NUMBER, Array, apply, traced
from .errors import TapeError
from .levels import Level
from .op import HOOKS, OUTPUT, Op, Rule
from .rules import as_array, fetch, fitted

WIDTH = 5


class Trail(Level):
    """Records for one reverse sweep.

    `calls` holds `WIDTH` entries per input and call: the step back (see `steps`), then its data; a slot is the place of the
    first. `kinds` holds one token for each pair of a shape and a dtype, by which arrays that are alike are known.
    """

    __slots__ = ("calls", "first", "kinds", "inner", "entered")

    def __init__(self) -> None:
        super().__init__()
        self.hot = self.thread
        self.calls: list[Any] = []
        self.first = 0
        self.kinds: dict[tuple, tuple] = {}
        self.inner: Trail | None = None  # of the step that is running, while this trail's program is in a loop
        self.entered: dict[int, int] = {}  # on the trail of a step: its slots of arrays from outside, by theirs

    def require_open(self) -> None:
        """Raise an error when this level's arrays may not be used; while a step of a loop runs, they stand for its inputs."""
        if self.inner is None:
            super().require_open()

    def enter(self, array: Array) -> Array:
        """Return the input that stands here, on the trail of a loop's step, for an array of the trail around the loop.

        Unlike those from `input`, its cotangent ends up under the inverted slot, for it may come after calls.
        """
        outer = array._slot
        if outer is not None and outer not in self.entered:
            if self.closed:
                raise TapeError("a loop's step took another path when it was run again: it must do the same each time")
            self.entered[outer] = self.add(_arrive, len(self.calls), array._value)._slot
        made = traced(self, None if outer is None else self.entered[outer], array._value)
        if array._kind is NUMBER:
            made._kind = NUMBER
        return made

    def held_bytes(self) -> int:
        """Return about how many bytes the calls hold for the reverse sweep: arrays, each counted once, and the records."""
        found: dict[int, int] = {}
        pending = list(self.calls)
        while pending:
            entry = pending.pop()
            if isinstance(entry, (list, tuple)):
                pending.extend(entry)
            elif isinstance(entry, np.ndarray):
                owner = entry if entry.base is None else entry.base
                found[id(owner)] = getattr(owner, "nbytes", entry.nbytes)
        return sum(found.values()) + 16 * len(self.calls) + 128 * len(found)

    def input(self, value: Any) -> Array:
        """Return a traced array for a value to differentiate by; all inputs come before the first call."""
        slot = len(self.calls)
        self.calls += (None, None, None, None, None)
        self.first = slot + WIDTH
        return traced(self, slot, held(value))

    def is_active(self, array: Any) -> bool:
        """Tell whether a cotangent will reach an array."""
        return array._slot is not None

    def record(self, op: Op, args: Any, parameters: dict | None = None, *, gives_up: bool = False) -> Any:
        """Run `op` and note its step back. Results without a derivative are plain, unless they may be written to."""
        if self.hot != get_ident():
            if self.inner is not None:
                return apply(op, args, parameters)
            self.require_open()
        if len(args) == 1 and not gives_up and type(args[0]) is Array and args[0]._level is self:
            return self._record_one(op, args[0], parameters)
        slots: list[int | None] = []
        values = []
        is_nested = False
        for a in args:
            kind = type(a)
            if kind is Array and a._level is self:
                slots.append(a._slot)
                value = a._value
            else:
                slots.append(None)
                value = a if kind is float or kind is int else constant(a)
            values.append(value)
            is_nested = is_nested or type(value) is Array
        if gives_up:
            value = None  # a use more, and the array in it would be copied
            y = run_over(op, values, parameters)
        elif is_nested:
            y = apply(op, values, parameters)
        else:
            y = op.run(*values, **parameters) if parameters else op.run(*values)
        return self.finish(op, slots, values, parameters, y)

    def _record_one(self, op: Op, a: Array, parameters: dict | None) -> Any:
        """Do as `record` for an op of one array."""
        value = a._value
        if type(value) is Array:
            y = apply(op, (value,), parameters)
        else:
            y = op.run(value, **parameters) if parameters else op.run(value)
        y = held(y)
        slot, rule = a._slot, op.rules[0]
        if slot is None or rule is None or op.zero_gradient:
            return inactive(self, y)
        arguments = fetch(rule, 0, (value,), y, parameters) if rule.reads else ()
        if rule.takes:
            return self.add(step_back, ((slot, rule, arguments, value.shape, value.dtype),), y)
        kind = a._kind
        if kind is None or kind is NUMBER:
            kind = self.kind(a) or (value.shape, value.dtype)
        return self.add_fast(step_back_one, slot, rule, arguments, kind, y)

    def finish(self, op: Op, slots: list, values: list, parameters: dict | None, y: Any) -> Any:
        """Note the step back of a call whose output `y` is there; return the traced output."""
        y = held(y)
        steps = op.steps(tuple([slot is not None for slot in slots]))
        if not steps:
            return inactive(self, y)
        shares = []
        for position, rule in steps:
            value = values[position]
            if rule.reads_values_only:
                arguments = []
                for read in rule.residuals:
                    if read == OUTPUT:
                        arguments.append(y)
                        continue
                    residual = values[read]
                    if slots[read] is None:
                        residual = as_array(residual, y.dtype)
                        self.freeze(residual)
                    arguments.append(residual)
            else:
                for k in rule.residuals:
                    if k != OUTPUT and slots[k] is None:
                        self.freeze(values[k])
                if rule.reads_rest:
                    for k in range(len(op.inputs) - 1, len(values)):
                        if slots[k] is None:
                            self.freeze(values[k])
                arguments = fetch(rule, position, values, y, parameters)
            shares.append((slots[position], rule, arguments, value.shape, value.dtype))
        return self.add(step_back, tuple(shares), y)

    def add(self, step: Callable, data: Any, y: Any) -> Array:
        """Append a call with its step back, ``step(g, sums, data, ...)``, and return its traced output."""
        return self.add_fast(step, data, None, None, None, y)

    def add_fast(self, step: Callable, first: Any, second: Any, third: Any, fourth: Any, y: Any) -> Array:
        """Do as `add` with all four entries of data."""
        array = Array()
        array._level = self
        array._slot = len(self.calls)
        array._value = y
        array._kind = None
        array._ties = None
        self.calls += (step, first, second, third, fourth)
        return array

    def kind(self, array: Array) -> tuple | None:
        """Return the token of an array's shape and dtype, the same for all that are alike; None where none may be fast.

        They are arrays with swapped bytes, and single complex numbers (see `held`).
        """
        dtype = array.dtype
        if not dtype.isnative or dtype.kind == "c" and not array.shape:
            return None
        key = (array.shape, dtype)
        found = self.kinds.setdefault(key, key)
        if array._kind is None:
            array._kind = found
        return found

    def common_kind(self, a: Array, b: Array) -> tuple | None:
        """Return the kind of two arrays that a ufunc takes as they are, and None where it would broadcast or cast one."""
        first, second = a._kind, b._kind
        if first is None:
            first = self.kind(a)
        if second is None:
            second = self.kind(b)
        if first is second:
            return first if first is not NUMBER or a.dtype == b.dtype and a.dtype.kind != "c" else None
        if first is NUMBER:
            return second if self.kind(a) is second else None
        if second is NUMBER:
            return first if self.kind(b) is first else None
        return None

    def pull(self, sums: dict[int, Any]) -> dict[int, Any]:
        """Carry cotangents, given by slot, back to the inputs; return those of the inputs that were reached."""
        calls = self.calls
        pop = sums.pop
        scaled, product, same, both, by_partial, by_rule = _INLINE
        back = reversed(calls)
        places = range(len(calls) - WIDTH, self.first - WIDTH, -WIDTH)
        # One iterator five times: each turn takes the five entries of a call, the last one first.
        for place, fourth, third, second, first, step in zip(places, back, back, back, back, back, strict=False):
            g = pop(place, None)
            if g is None:
                continue
            # The commonest steps stand here too: a call of each would cost a third of it.
            if step is same:
                sums[first] = sums[first] + g if first in sums else g
            elif step is product:
                share = g * fourth
                sums[first] = sums[first] + share if first in sums else share
                share = g * third
                sums[second] = sums[second] + share if second in sums else share
            elif step is by_partial:
                share = g * third(second)
                sums[first] = sums[first] + share if first in sums else share
            elif step is scaled:
                share = g * second
                sums[first] = sums[first] + share if first in sums else share
            elif step is both:
                sums[first] = sums[first] + g if first in sums else g
                sums[second] = sums[second] + g if second in sums else g
            elif step is by_rule:
                share = third(g, second)
                sums[first] = sums[first] + share if first in sums else share
            else:
                step(g, sums, first, second, third, fourth)
        return sums


_INLINE = (steps.scaled, steps.product, steps.same, steps.both, steps.by_partial, steps.by_rule)


def _arrive(g: Any, sums: dict, place: int, *_: Any) -> None:
    """Put the cotangent of what came in after the first call where the reverse sweep does not come by."""
    sums[~place] = g


def held(value: Any) -> Any:
    """Return a complex number as an array without dimensions, so that it is multiplied as a budget's buffers are.

    The product of two complex numbers is rounded otherwise than that of two arrays, which NumPy forms by fused operations.
    """
    return np.asarray(value) if type(value) in COMPLEX_NUMBERS else value


COMPLEX_NUMBERS = frozenset((np.complex64, np.complex128, np.clongdouble, complex))


def constant(value: Any) -> Any:
    """Return a captured constant as it can be computed with. Raises `TapeError` for what cannot."""
    kind = type(value)
    if kind is np.ndarray or kind is float or kind is int or kind is Array:
        if kind is np.ndarray and value.dtype.kind == "O":
            raise TapeError("a constant of dtype object met a traced array: convert it to numbers first")
        return value
    if isinstance(value, (list, tuple)):
        return constant(HOOKS["asarray"](value))
    if getattr(getattr(value, "dtype", None), "kind", "") == "O":
        raise TapeError("a constant of dtype object met a traced array: convert it to numbers first")
    return value


def inactive(level: Level, y: Any) -> Any:
    """Return a result that has no derivative: traced where a traced value may be written into it later, else plain."""
    if isinstance(y, np.ndarray) and y.dtype.kind in "fc":
        return traced(level, None, y)
    return y


def run_over(op: Op, values: list, parameters: dict | None) -> Any:
    """Run `op` into the buffer of the input that it overwrites, where nothing else sees that buffer."""
    place: int = op.overwrites  # pyright: ignore[reportAssignmentType]
    # Two uses that do not count: the list's and the array's that is about to stand for the result.
    if sys.getrefcount(values[place]) == 3 and HAS_COUNTS:
        target = values[place]
        if type(target) is np.ndarray:
            if target.base is None and target.flags.writeable and not any(type(v) is Array for v in values):
                return op.run_into(target, *values, **(parameters or {}))  # pyright: ignore[reportOptionalCall]
        elif type(target) is Array:
            level = max((v._level for v in values if type(v) is Array), key=lambda level: level.level)
            return level.record(op, values, parameters, gives_up=level is target._level)
    return apply(op, values, parameters)


def step_back(g: Any, sums: dict, shares: tuple, *_: Any) -> None:
    """Run the rules of one call: the general step back."""
    if type(g) in COMPLEX_NUMBERS:
        g = np.asarray(g)
    for slot, rule, arguments, shape, dtype in shares:
        if rule.adds:
            _add_share(g, sums, slot, rule, arguments, (shape, dtype))
            continue
        if rule.takes:
            share = rule.function(g if sys.getrefcount(g) == _ALONE and _is_own(g) else np.copy(g), *arguments)
        else:
            share = rule.function(g, *arguments)
        share = fitted(share, shape, dtype, rule)
        sums[slot] = sums[slot] + share if slot in sums else share


def step_back_one(g: Any, sums: dict, slot: int, rule: Rule, arguments: Any, kind: tuple) -> None:
    """Run the rule of a call of one array, of the shape and dtype in `kind`, that does not take the cotangent for its own."""
    if type(g) in COMPLEX_NUMBERS:
        g = np.asarray(g)
    if rule.adds:
        _add_share(g, sums, slot, rule, arguments, kind)
        return
    share = rule.function(g, *arguments)
    shape, dtype = kind
    if rule.is_strict or share.dtype is not dtype or share.shape != shape:
        share = fitted(share, shape, dtype, rule)
    sums[slot] = sums[slot] + share if slot in sums else share


def _add_share(g: Any, sums: dict, slot: int, rule: Rule, arguments: Any, kind: tuple) -> None:
    """Let a rule add into an input's cotangent so far: zeros, or its own, or a copy of what others hold too."""
    total = [sums.pop(slot, None)]
    if total[0] is None:
        total[0] = np.zeros(*kind)
    elif not is_alone(total):
        total[0] = np.copy(total[0])
    sums[slot] = rule.function(total.pop(), g, *arguments)


def is_alone(holder: list) -> bool:
    """Tell whether nothing but the one-element list `holder` refers to the array in it, so that it may be overwritten."""
    return sys.getrefcount(holder[0]) == 2 and HAS_COUNTS and _is_own(holder[0])


def _is_own(array: Any) -> bool:
    return type(array) is Array or type(array) is np.ndarray and array.base is None and array.flags.writeable


HAS_COUNTS = getattr(sys, "_is_gil_enabled", lambda: True)() and hasattr(sys, "getrefcount")
_ALONE = 0


def _calibrate() -> None:
    """Find out what `sys.getrefcount` says in a step back about a cotangent that nothing else uses."""

    def probe(g: Any, sums: dict, shares: tuple, *_: Any) -> None:
        global _ALONE
        _ALONE = sys.getrefcount(g) if HAS_COUNTS else -1

    trail = Trail()
    trail.input(None)
    slot = trail.add(probe, (), None)._slot
    trail.pull({slot: np.zeros(1)})


_calibrate()
