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
from .body import Body, Form, Outputs, copied, flat


class LoopSchedule(Protocol):
    """Decides which states of a loop are held. State i is the carry before block i of steps."""

    first: int | None
    """The block from which on the forward sweep holds tapes; None where the length is not known: only the last one's."""

    def visit(self, state: int) -> int | None:
        """Decide about holding `state`. Return the state to release for it: itself if it is not held, None if none is."""
        ...

    def turns(self, held: tuple[int, ...], stop: int) -> Iterator[tuple[int, tuple[int, ...], int, int]]:
        """Yield ``(start, holds, first, stop)`` until the blocks before `stop` are reversed.

        That is: run from the held state `start` to `first`, holding the states in `holds`; tape the blocks from `first` to
        before `stop`, and reverse them.
        """
        ...


# From the number of blocks (None if it is not known), and the bytes of a state and of a block's tape.
Choose = Callable[[int | None, int, int], LoopSchedule]
# What a step costs beside its own calls is shared by so many steps with so many bytes of tape.
_MOST_STEPS = 64
_SMALL_TAPE = 256 * 1024


@dataclass(frozen=True, eq=False, slots=True)
class _State:
    """A carry between two blocks: the values of its leaves, and which of them a cotangent goes back to."""

    values: list
    is_active: list[bool]


@dataclass(frozen=True, eq=False, slots=True)
class _Tape:
    """A block of steps on its trail: the slots of the first carry and of the last, and of each step's rows and outputs."""

    trail: Trail
    begin: int
    carry: list[int | None]
    ends: list[int | None]
    rows: list[list[int | None]]
    outputs: list[list[int | None]]


class LoopOnTrail:
    """One loop, in blocks of as many steps as have a small tape together: block 0 is the first step, by which that is known.

    `held` are states by the block that they stand before, `tapes` those of blocks. Both are used up by a reverse sweep but
    for state 0, from which another one starts afresh.
    """

    def __init__(self, trail: Trail, body: Body, form: Form, choose: Choose) -> None:
        self.trail = trail
        self.body = body
        self.form = form
        self.choose = choose
        self.held: dict[int, _State] = {}
        self.tapes: dict[int, _Tape] = {}
        self._schedule: Any = None
        self._block = 1
        self._count = body.length
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
        for value, slot in zip(self._xs, self._xs_slots, strict=True):
            if slot is None:
                trail.freeze(value)
        state = before = _State([_value_on(trail, leaf) for leaf in leaves], [slot is not None for slot in self._starts])
        self.held[0] = state
        outputs = Outputs(body.name, body.length)
        is_active: list[bool] = []
        number = 0
        while self._begin(number) != self._count:
            tape, made, values = self._run(number, state)
            if not values:
                self._count = tape.begin
                break
            if number == 0:
                self._settle(before, tape)
            # The state before the last block is in that block's tape, so a state is decided about one block later.
            if number > 1:
                self._decide(number - 1, before)
            for k, (step_values, treedef) in enumerate(values):
                outputs.add(tape.begin + k, step_values, treedef)
                is_active = [
                    slot is not None or j < len(is_active) and is_active[j] for j, slot in enumerate(tape.outputs[k])
                ]
            before, state = state, made
            self._witnesses.extend(_witness(state.values, number))
            first = self._schedule.first
            if first is None:
                self.tapes.clear()
            if first is None or number >= first:
                self.tapes[number] = tape
            if body.condition is not None and len(values) < self._end(number) - tape.begin:
                self._count = tape.begin + len(values)
            del tape
            number += 1
        if not number:
            return self.form.tree(leaves), None
        ends = [*zip(state.values, state.is_active, strict=True), *zip(outputs.leaves(), is_active, strict=True)]
        made = self._brought_out(ends)
        count = len(leaves)
        return self.form.tree(made[:count]), trees.unflatten(outputs.treedef, made[count:])

    def _begin(self, number: int) -> int:
        """Return the first step of a block; of the one behind the last, the number of steps."""
        begin = 1 + (number - 1) * self._block if number else 0
        return begin if self._count is None else min(begin, self._count)

    def _end(self, number: int) -> int:
        return self._begin(number + 1)

    def _blocks(self) -> int | None:
        return None if self._count is None else 1 - (1 - self._count) // self._block

    def _settle(self, state: _State, tape: _Tape) -> None:
        """Choose the size of the blocks and the schedule, by the tape of the first step."""
        tape_bytes = max(tape.trail.held_bytes(), 1)
        self._block = min(max(_SMALL_TAPE // tape_bytes, 1), _MOST_STEPS)
        self._schedule = self.choose(self._blocks(), _bytes_of(state.values), tape_bytes * self._block)

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
            self.tapes.clear()
            return [inactive(trail, value) for value, _ in ends]
        self._place = trail.add(_step_back, self, None)._slot
        return [
            as_given(trail.add(step_back_result, (self._place, k), value), value) if active else inactive(trail, value)
            for k, (value, active) in enumerate(ends)
        ]

    def _inside(self, inner: Trail, function: Callable, *args: Any) -> Any:
        """Call a function with arrays of this trail standing for inputs of `inner`."""
        trail = self.trail
        hot, trail.hot, trail.inner = trail.hot, 0, inner
        try:
            return function(*args)
        finally:
            trail.hot, trail.inner = hot, None

    def _run(self, number: int, state: _State) -> tuple[_Tape, _State, list]:
        """Run a block; return its tape, the state after it, and the values and definition of every step's output.

        It ends early where the loop's condition says so, before the number of steps is known.
        """
        begin, end = self._begin(number), self._end(number)
        journal = self._journals.get(number) or Journal()
        with Trail() as inner, journal:
            # Steps may write into a plain carry; the state is to be read again.
            carry = [
                as_given(inner.input(value), value) if active else copied(value)
                for value, active in zip(state.values, state.is_active, strict=True)
            ]
            slots = [_slot_on(inner, leaf) for leaf in carry]
            rows = [
                [_row(inner, x[k], slot is not None) for x, slot in zip(self._xs, self._xs_slots, strict=True)]
                for k in range(begin, end)
            ]
            row_slots = [[_slot_on(inner, row) for row in step_rows] for step_rows in rows]
            leaves, outputs = self._inside(inner, self._steps, inner, begin, carry, rows)
        if not journal.is_empty:
            self._journals[number] = journal
        ends = [_out(inner, leaf) for leaf in leaves]
        tape = _Tape(
            inner, begin, slots, [slot for _, slot in ends], row_slots, [[slot for _, slot in pairs] for pairs, _ in outputs]
        )
        made = _State([value for value, _ in ends], [slot is not None for _, slot in ends])
        values = [
            ([value if type(value) is Array else np.asarray(value) for value, _ in pairs], treedef)
            for pairs, treedef in outputs
        ]
        return tape, made, values

    def _steps(self, inner: Trail, begin: int, leaves: list, rows: list) -> tuple[list, list]:
        body, form = self.body, self.form
        outputs = []
        for k, step_rows in enumerate(rows):
            tree = form.tree(leaves)
            if self._count is None and body.condition is not None and not body.condition(tree):
                break
            leaves, output = form.split(body.step(tree, body.item(begin + k, step_rows)), begin + k)
            leaves = [entered(leaf) for leaf in leaves]
            values, treedef = flat(output)
            outputs.append(([_out(inner, entered(copied(value))) for value in values], treedef))
        return leaves, outputs

    def reverse(self, cotangents: dict[int, Any], sums: dict) -> None:
        """Carry the cotangents of the loop's results back to what came into it, in the trail's `sums`."""
        with self._lock:
            self._reverse(cotangents, sums)

    def _reverse(self, cotangents: dict[int, Any], sums: dict) -> None:
        count = len(self._starts)
        carry = [cotangents.get(k) for k in range(count)]
        outputs = {k - count: g for k, g in cotangents.items() if k >= count}
        shares = [_Rows(x) for x in self._xs]
        stop = self._blocks() or 0
        while stop - 1 in self.tapes:
            stop -= 1
            carry = self._pull(self.tapes.pop(stop), carry, outputs, shares, sums)
        for start, holds, first, end in self._schedule.turns(tuple(sorted(self.held)), stop):
            state = self.held[start]
            for number in range(start, first):
                if number in holds:
                    self.held[number] = state
                state = self._again(number, state)[1]
            if first:
                self.held.pop(first, None)
            tapes = []
            for number in range(first, end):
                tape, state = self._again(number, state)
                tapes.append(tape)
                del tape
            del state
            while tapes:
                carry = self._pull(tapes.pop(), carry, outputs, shares, sums)
        for slot, g in zip(self._starts, carry, strict=True):
            _add(sums, slot, g)
        for slot, rows in zip(self._xs_slots, shares, strict=True):
            _add(sums, slot, rows.whole())

    def _again(self, number: int, state: _State) -> tuple[_Tape, _State]:
        """Run a block a second time. Raises `TapeError` where it does not do what it did in the forward sweep."""
        tape, made, _ = self._run(number, state)
        count = len(made.values)
        before = self._witnesses[number * count : (number + 1) * count]
        is_foreign = any(slot >= self._place for slot in tape.trail.entered)
        if is_foreign or not all(map(is_same_number, _witness(made.values, number), before)):
            steps = f"step {tape.begin}" if len(tape.rows) == 1 else f"steps {tape.begin} to {self._end(number) - 1}"
            raise TapeError(
                f"{steps} of {self.body.name} gave other numbers when run again for the reverse sweep: a step may depend on "
                "its carry, its item, and what stays as it is while the gradient is taken, but not on a random generator "
                "other than retape.random, on a clock, or on a variable that is set again after the loop"
            )
        return tape, made

    def _pull(self, tape: _Tape, carry: list, outputs: dict, shares: list[_Rows], sums: dict) -> list:
        """Step back through a block; return the cotangents of the carry before it."""
        seeds: dict[int | None, Any] = {}
        # In the order in which they would come without a loop: what is stacked is stacked after the last step.
        for number, slots in enumerate(tape.outputs, tape.begin):
            for k, g in outputs.items():
                _add(seeds, slots[k], g[number])
        for slot, g in zip(tape.ends, carry, strict=True):
            _add(seeds, slot, g)
        if not seeds:
            return [None] * len(carry)
        # What has come to them so far goes in and out, so that it adds up in the order that it would without a loop.
        inputs = list(tape.trail.entered.items())
        if tape.begin == 0:
            inputs += [pair for pair in zip(self._starts, tape.carry, strict=True) if pair[0] is not None]
        for outer, slot in inputs:
            _add(seeds, slot, sums.pop(outer, None))
        self._inside(tape.trail, tape.trail.pull, seeds)
        for outer, slot in tape.trail.entered.items():
            _add(sums, outer, seeds.pop(~slot, None))
        for number, slots in enumerate(tape.rows, tape.begin):
            for slot, rows in zip(slots, shares, strict=True):
                rows.add(number, seeds.pop(slot, None))
        return [seeds.pop(slot, None) for slot in tape.carry]


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


def _step_back(cotangents: dict[int, Any], sums: dict, loop: LoopOnTrail, *_: Any) -> None:
    loop.reverse(cotangents, sums)


def _add(sums: dict, slot: int | None, g: Any) -> None:
    if slot is not None and g is not None:
        sums[slot] = sums[slot] + g if slot in sums else g


def _slot_on(trail: Trail, leaf: Any) -> int | None:
    return leaf._slot if type(leaf) is Array and leaf._level is trail else None


def _value_on(trail: Trail, leaf: Any) -> Any:
    return leaf._value if type(leaf) is Array and leaf._level is trail else leaf


def _row(inner: Trail, value: Any, is_active: bool) -> Any:
    """Return a row of the xs as a step gets it: traced where a cotangent goes back, else guarded from writes."""
    if is_active:
        return as_given(inner.input(value), value)
    inner.freeze(value)
    return value


def _out(inner: Trail, leaf: Any) -> tuple[Any, int | None]:
    """Return the value of what a step returns, and its slot if it has a derivative."""
    if type(leaf) is not Array:
        return leaf, None
    if leaf._level is not inner:
        leaf._level.require_open()
    return (leaf._value, leaf._slot) if leaf._level is inner else (leaf, None)


def _bytes_of(values: list) -> int:
    return sum(getattr(value, "nbytes", 0) for value in values)


def is_same_number(a: float, b: float) -> bool:
    """Tell whether a step that was run again has made the same number, but for rounding."""
    return a == b or isclose(a, b, rel_tol=1e-3, abs_tol=1e-6) or isnan(a) and isnan(b)


def _witness(values: list, number: int) -> list[float]:
    """Return one element of every leaf of a carry, another one at each step: what a step that is run again must give."""
    found = []
    for value in values:
        size = getattr(value, "size", 0)
        element = plain(value).item(number * 7919 % size) if size else 0.0
        found.append(element.real + element.imag if type(element) is complex else float(element))
    return found
