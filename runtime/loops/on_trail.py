"""A loop as one call of a trail, from its held states: the forward sweep drops the tape of every step, the reverse sweep
records the steps anew, a stretch at a time, and steps back through them.

A step is the user's function, run again with the same state, the same rows and the same random numbers. Traced arrays that
it takes from around the loop are inputs of each step's own trail (`Trail.enter`), and their cotangents add up.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isclose, isnan
from threading import Lock
from typing import Any, Protocol

import numpy as np

from .. import trees
from ..array import Array, entered, plain
from ..errors import TapeError
from ..region import step_back_result
from ..streams import Journal
from ..trail import Trail, inactive
from ..views import as_given
from .body import Body, Form, Outputs


class LoopSchedule(Protocol):
    """Decides which states of a loop are held. State i is the carry before step i; state 0 is always held."""

    first: int | None
    """The step from which on the forward sweep holds tapes; None where the length is not known: only the last one's."""

    def visit(self, state: int) -> int | None:
        """Decide about holding `state`. Return the state to release for it: itself if it is not held, None if none is."""
        ...

    def turns(self, held: tuple[int, ...], stop: int) -> Iterator[tuple[int, tuple[int, ...], int, int]]:
        """Yield ``(start, holds, first, stop)`` until the steps before `stop` are reversed.

        That is: run from the held state `start` to `first`, holding the states in `holds`; tape the steps from `first` to
        before `stop`, and reverse them.
        """
        ...


# From the bytes of a state and of a step's tape.
Choose = Callable[[int, int], LoopSchedule]


@dataclass(frozen=True, eq=False, slots=True)
class _State:
    """A carry between two steps: the values of its leaves, and which of them a cotangent goes back to."""

    values: list
    is_active: list[bool]


@dataclass(frozen=True, eq=False, slots=True)
class _Run:
    """One step on its trail: the slots of its carry and its rows, of the next carry and of its outputs."""

    trail: Trail
    carry: list[int | None]
    rows: list[int | None]
    ends: list[int | None]
    outputs: list[int | None]


class LoopOnTrail:
    """One loop: `held` states by number, and the `runs` whose tapes are held. Both are used up by a reverse sweep but for
    state 0, from which another one starts afresh."""

    def __init__(self, trail: Trail, body: Body, form: Form, choose: Choose) -> None:
        self.trail = trail
        self.body = body
        self.form = form
        self.choose = choose
        self.count = 0
        self.held: dict[int, _State] = {}
        self.runs: dict[int, _Run] = {}
        self._schedule: Any = None
        self._place = 0
        self._starts: list[int | None] = []
        self._xs = [_value_on(trail, leaf) for leaf in body.xs]
        self._xs_slots = [_slot_on(trail, leaf) for leaf in body.xs]
        self._journals: dict[int, Journal] = {}
        self._witnesses = array("d")
        self._lock = Lock()

    def forward(self, leaves: list) -> tuple[Any, Any]:
        """Run all steps; return the last carry and the stacked outputs, traced where they have a derivative."""
        body, trail = self.body, self.trail
        self._starts = [_slot_on(trail, leaf) for leaf in leaves]
        state = before = _State([_value_on(trail, leaf) for leaf in leaves], [slot is not None for slot in self._starts])
        self.held[0] = state
        outputs = Outputs(body.name, body.length)
        is_active: list[bool] = []
        number = 0
        for value, slot in zip((*state.values, *self._xs), (*self._starts, *self._xs_slots), strict=True):
            if slot is None:
                trail.freeze(value)
        while number != body.length and self._goes_on(state):
            # The state before the last step is in that step's tape, so a state is decided about one step later.
            if number > 1:
                self._decide(number - 1, before)
            if number and self._schedule.first is None:
                self.runs.clear()
            before = state
            run, state, values, treedef = self._step(number, state)
            outputs.add(number, values, treedef)
            is_active = [slot is not None or k < len(is_active) and is_active[k] for k, slot in enumerate(run.outputs)]
            if number == 0:
                self._schedule = self.choose(_bytes_of(before.values), run.trail.held_bytes())
            first = self._schedule.first
            if first is None or number >= first:
                self.runs[number] = run
            self._witnesses.extend(_witness(state.values, number))
            del run
            number += 1
        self.count = number
        if not number:
            return self.form.tree(leaves), None
        ends = [(value, active) for value, active in zip(state.values, state.is_active, strict=True)]
        made = self._brought_out(ends + list(zip(outputs.leaves(), is_active, strict=True)))
        count = len(state.values)
        return self.form.tree(made[:count]), trees.unflatten(outputs.treedef, made[count:])

    def _goes_on(self, state: _State) -> bool:
        condition = self.body.condition
        if condition is None:
            return True
        with Trail() as inner:
            return self._inside(inner, lambda: bool(condition(self.form.tree(_given(inner, state)))))

    def _decide(self, number: int, state: _State) -> None:
        released = self._schedule.visit(number)
        if released != number:
            self.held[number] = state
            if released is not None:
                del self.held[released]

    def _brought_out(self, ends: list[tuple[Any, bool]]) -> list:
        """Return the loop's results, traced on the trail by one call."""
        trail = self.trail
        if not any(active for _, active in ends):
            self.held.clear()
            self.runs.clear()
            return [inactive(trail, value) for value, _ in ends]
        self._place = trail.add(_step_back, self, None)._slot
        return [
            as_given(trail.add(step_back_result, (self._place, k), value), value) if active else inactive(trail, value)
            for k, (value, active) in enumerate(ends)
        ]

    def _inside(self, inner: Trail, function: Callable[[], Any]) -> Any:
        """Call a function of the user with arrays of this trail standing for inputs of `inner`."""
        trail = self.trail
        hot, trail.hot, trail.inner = trail.hot, 0, inner
        try:
            return function()
        finally:
            trail.hot, trail.inner = hot, None

    def _step(self, number: int, state: _State) -> tuple[_Run, _State, list, Any]:
        """Run one step; return its record, the next state, and the values and definition of its output."""
        journal = self._journals.get(number) or Journal()
        with Trail() as inner, journal:
            carry = _given(inner, state)
            rows = [_row(inner, x[number], slot is not None) for x, slot in zip(self._xs, self._xs_slots, strict=True)]
            slots = [[_slot_on(inner, leaf) for leaf in leaves] for leaves in (carry, rows)]
            item = self.body.item(number, rows)

            def called() -> tuple:
                leaves, output = self.form.split(self.body.step(self.form.tree(carry), item), number)
                values, treedef = trees.flatten(output)
                return [_out(inner, leaf) for leaf in leaves], [_out(inner, leaf) for leaf in values], treedef

            ends, outputs, treedef = self._inside(inner, called)
        if not journal.is_empty:
            self._journals[number] = journal
        run = _Run(inner, *slots, [slot for _, slot in ends], [slot for _, slot in outputs])
        made = _State([value for value, _ in ends], [slot is not None for _, slot in ends])
        values = [value if type(value) is Array else np.asarray(value) for value, _ in outputs]
        return run, made, values, treedef

    def reverse(self, cotangents: dict[int, Any], sums: dict) -> None:
        """Carry the cotangents of the loop's results back to what came into it, in the trail's `sums`."""
        with self._lock:
            self._reverse(cotangents, sums)

    def _reverse(self, cotangents: dict[int, Any], sums: dict) -> None:
        count = len(self._starts)
        carry = [cotangents.get(k) for k in range(count)]
        outputs = {k - count: g for k, g in cotangents.items() if k >= count}
        shares = [_Rows(x) for x in self._xs]
        stop = self.count
        while stop - 1 in self.runs:
            stop -= 1
            carry = self._pull(stop, self.runs.pop(stop), carry, outputs, shares, sums)
        for start, holds, first, end in self._schedule.turns(tuple(sorted(self.held)), stop):
            state = self.held[start]
            for number in range(start, first):
                if number in holds:
                    self.held[number] = state
                state = self._again(number, state)[1]
            if first:
                self.held.pop(first, None)
            runs = []
            for number in range(first, end):
                run, state = self._again(number, state)
                runs.append(run)
                del run
            del state
            for number in range(end - 1, first - 1, -1):
                carry = self._pull(number, runs.pop(), carry, outputs, shares, sums)
        for slot, g in zip(self._starts, carry, strict=True):
            _add(sums, slot, g)
        for slot, rows in zip(self._xs_slots, shares, strict=True):
            _add(sums, slot, rows.whole())

    def _again(self, number: int, state: _State) -> tuple[_Run, _State]:
        """Run a step a second time. Raises `TapeError` where it does not do what it did in the forward sweep."""
        run, made, _, _ = self._step(number, state)
        count = len(made.values)
        before = self._witnesses[number * count : (number + 1) * count]
        is_foreign = any(slot >= self._place for slot in run.trail.entered)
        if is_foreign or not all(map(_is_same, _witness(made.values, number), before)):
            raise TapeError(
                f"step {number} of {self.body.name} gave other numbers when it was run again for the reverse sweep: a step may "
                "depend on its carry, its item, and what stays as it is while the gradient is taken, but not on a random "
                "generator other than retape.random, a clock, or a variable that is set again after the loop"
            )
        return run, made

    def _pull(self, number: int, run: _Run, carry: list, outputs: dict, shares: list[_Rows], sums: dict) -> list:
        """Step back through one recorded step; return the cotangents of the carry before it."""
        seeds: dict[int, Any] = {}
        for slot, g in zip(run.ends, carry, strict=True):
            _add(seeds, slot, g)
        for k, g in outputs.items():
            _add(seeds, run.outputs[k], g[number])
        if not seeds:
            return [None] * len(carry)
        # What has come to them so far goes in and out, so that it adds up in the order that it would without a loop.
        inputs = list(run.trail.entered.items())
        if number == 0:
            inputs += [pair for pair in zip(self._starts, run.carry, strict=True) if pair[0] is not None]
        for outer, slot in inputs:
            _add(seeds, slot, sums.pop(outer, None))
        self._inside(run.trail, lambda: run.trail.pull(seeds))
        for outer, slot in run.trail.entered.items():
            _add(sums, outer, seeds.pop(~slot, None))
        for slot, rows in zip(run.rows, shares, strict=True):
            rows.add(number, seeds.pop(slot, None))
        return [seeds.pop(slot, None) for slot in run.carry]


class _Rows:
    """The cotangent of an array whose rows are a loop's items, gathered row by row."""

    def __init__(self, x: Any) -> None:
        self._x = x
        self._made: Any = None

    def add(self, number: int, g: Any) -> None:
        """Add the cotangent of one row."""
        if g is None:
            return
        if self._made is None:
            self._made = np.zeros(self._x.shape, self._x.dtype)
        if type(g) is Array and type(self._made) is np.ndarray:
            self._made = list(self._made)
        if type(self._made) is list:
            self._made[number] = g
        else:
            self._made[number] += g

    def whole(self) -> Any:
        """Return the cotangent of the whole array, or None where no row has one."""
        return np.stack(self._made) if type(self._made) is list else self._made


def _step_back(cotangents: dict[int, Any], calls: list, place: int, sums: dict) -> None:
    loop: LoopOnTrail = calls[place + 1]
    loop.reverse(cotangents, sums)


def _add(sums: dict, slot: int | None, g: Any) -> None:
    if slot is not None and g is not None:
        sums[slot] = sums[slot] + g if slot in sums else g


def _slot_on(trail: Trail, leaf: Any) -> int | None:
    return leaf._slot if type(leaf) is Array and leaf._level is trail else None


def _value_on(trail: Trail, leaf: Any) -> Any:
    return leaf._value if type(leaf) is Array and leaf._level is trail else leaf


def _given(inner: Trail, state: _State) -> list:
    """Return the leaves of a carry as a step gets them: traced where a cotangent goes back, else as they are."""
    made = []
    for value, active in zip(state.values, state.is_active, strict=True):
        made.append(_row(inner, value, active))
    return made


def _row(inner: Trail, value: Any, active: bool) -> Any:
    if active:
        return as_given(inner.input(value), value)
    inner.freeze(value)  # it will be read again
    return value


def _out(inner: Trail, leaf: Any) -> tuple[Any, int | None]:
    """Return the value of what a step returns, and its slot if it has a derivative."""
    if type(leaf) is not Array:
        return leaf, None
    leaf = entered(leaf)
    leaf._level.require_open()
    return (leaf._value, leaf._slot) if leaf._level is inner else (leaf, None)


def _bytes_of(values: list) -> int:
    return sum(getattr(value, "nbytes", 0) for value in values)


def _is_same(a: float, b: float) -> bool:
    return a == b or isclose(a, b, rel_tol=1e-3, abs_tol=1e-6) or isnan(a) and isnan(b)


def _witness(values: list, number: int) -> list[float]:
    """Return one element of every leaf of a carry, another one at each step: what a step that is run again must give."""
    found = []
    for value in values:
        size = getattr(value, "size", 0)
        element = plain(value).item(number * 7919 % size) if size else 0.0
        found.append(element.real + element.imag if type(element) is complex else float(element))
    return found
