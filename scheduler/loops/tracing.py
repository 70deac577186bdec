"""A block of a loop's steps on a tape: its steps run with traced arrays for what comes in, and what they have returned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...runtime.array import Array, entered, record
from ...runtime.errors import TapeError
from ...runtime.loops.body import copied, flat
from ...runtime.loops.on_tape import ELEMENT
from ...runtime.op import OPS
from ...runtime.phantom import row as row_of
from ...runtime.tape import Tape
from ...runtime.views import as_memory, is_number
from .parts import ACTIVE, PLAIN, TRACED, Cotangents, Forward, Frame, Reverse, State, place, witness


@dataclass(eq=False, slots=True)
class TracedBlock:
    """A block on its tape: the slots of what goes in, and the carry and the outputs that the last step and all returned."""

    tape: Tape
    begin: int
    carry: list[int | None]
    rows: list[list[int | None]]
    leaves: list[Any]
    outputs: list[tuple[list, Any]]

    def marks(self) -> tuple[list[bool], list[bool]]:
        """Tell of each leaf of the outputs whether any step returned a traced array, and whether one had a derivative."""
        active = self.tape.active
        columns = list(zip(*(leaves for leaves, _ in self.outputs), strict=True))
        return [any(type(leaf) is Array for leaf in column) for column in columns], [
            any(type(leaf) is Array and active[leaf._slot] for leaf in column) for column in columns
        ]

    def inputs(self) -> list[int]:
        """Return the slots of all inputs that a cotangent goes back to, each once."""
        slots = [*self.carry, *(slot for row in self.rows for slot in row), *self.tape.entered.values()]
        return [slot for slot in dict.fromkeys(slots) if slot is not None and self.tape.active[slot]]

    def forward_ends(self) -> tuple[list[int | None], list[list[int | None]]]:
        """Return the slots of the last carry and of the outputs by step, each a storage of its own; None for plain ones."""
        taken: list[int] = []
        carry = [self._own(leaf, taken) for leaf in self.leaves]
        return carry, [[self._own(leaf, taken) for leaf in leaves] for leaves, _ in self.outputs]

    def _own(self, leaf: Any, taken: list[int]) -> int | None:
        if type(leaf) is not Array:
            return None
        tape, slot = self.tape, leaf._slot
        if tape.aliases[slot] >= 0 or slot in tape.inputs or slot in taken:
            slot = record(tape, OPS["copy"], (leaf,))._slot
        taken.append(slot)
        return slot

    def reverse_ends(self, given: Cotangents) -> tuple[list[int], list[int | None]]:
        """Return the slots that cotangents come to, in the order of `Cotangents.arrays`, and those of the witnesses."""
        tape = self.tape
        witnesses: list[int | None] = []
        for leaf in self.leaves:
            is_watched = type(leaf) is Array and leaf.size and tape.dtypes[leaf._slot] is not None
            at = place(self.begin, leaf.size) if is_watched else 0
            witnesses.append(record(tape, ELEMENT, (leaf, at))._slot if is_watched else None)
        ends = [self.outputs[k][0][j] for k, gs in enumerate(given.outputs) for j in gs]
        ends += [leaf for leaf, g in zip(self.leaves, given.carry, strict=True) if g is not None]
        return [leaf._slot if type(leaf) is Array and tape.active[leaf._slot] else -1 for leaf in ends], witnesses

    def state_after(self, values: list) -> State:
        """Return the state behind the block, with `values` for the leaves that are traced."""
        active = self.tape.active
        kinds = [
            (PLAIN, False) if type(leaf) is not Array else (ACTIVE if active[leaf._slot] else TRACED, is_number(leaf))
            for leaf in self.leaves
        ]
        filled = [leaf if type(leaf) is not Array else value for leaf, value in zip(self.leaves, values, strict=True)]
        return State(filled, tuple(kinds))

    def forward(self, ends: Any, resolve: Callable[[int], Any]) -> Forward:
        """Return what the block has made; `ends` are its `forward_ends`, `resolve` returns the array in a slot."""
        state = self.state_after([None if slot is None else resolve(slot) for slot in ends[0]])
        outputs = [
            ([leaf if s is None else resolve(s) for leaf, s in zip(leaves, slots, strict=True)], treedef)
            for slots, (leaves, treedef) in zip(ends[1], self.outputs, strict=True)
        ]
        return Forward(state, outputs, *self.marks(), tuple(self.tape.entered), len(self.tape.calls))

    def reverse(self, witnesses: list, found: dict[int, int], resolve: Callable[[int], Any]) -> Reverse:
        """Return what came of reversing the block; the cotangents of its inputs are in the slots `found`, by input."""

        def out(slot: int | None) -> Any:
            at = found.get(slot) if slot is not None else None
            return None if at is None else resolve(at)

        entered_slots = set(self.tape.entered.values())
        carry = [None if slot in entered_slots else out(slot) for slot in self.carry]
        rows = [[out(slot) for slot in slots] for slots in self.rows]
        sums = {outer: g for outer, slot in self.tape.entered.items() if (g := out(slot)) is not None}
        watched = [
            witness(leaf, self.begin) if s is None else witness(resolve(s), 0)
            for leaf, s in zip(self.leaves, witnesses, strict=True)
        ]
        return Reverse(carry, rows, sums, watched)


def traced_block(
    tape: Tape,
    frame: Frame,
    begin: int,
    count: int,
    state: State,
    *,
    xs: Sequence[Any],
    values: dict[int, Any],
    make_keeper: Callable[[], Any] | None,
    given: Cotangents | None,
) -> TracedBlock:
    """Run the steps with traced arrays for what comes in; by shapes alone where there is no keeper for values.

    Until the block ends, loops inside included, arrays of the tape around the loop stand for inputs of this one.
    """
    active = frame.outer.active
    carry: list[Any] = []
    for value, (kind, is_scalar) in zip(state.values, state.kinds, strict=True):
        if kind == PLAIN:
            carry.append(copied(value))
            continue
        array = tape.input(value, is_active=kind == ACTIVE)
        carry.append(array if is_scalar else as_memory(array))
    carry_slots = [_slot(leaf) for leaf in carry]
    for outer, slot in zip(frame.starts, carry_slots, strict=True):
        # What has come to an array that the first step starts from, from elsewhere, is added to in its place.
        if given is not None and outer in given.before and outer not in frame.closures and slot is not None:
            tape.entered.setdefault(outer, slot)
    rows = []
    for number in range(begin, begin + count):
        step_rows = []
        for x, slot in zip(xs, frame.xs, strict=True):
            if slot is None:
                row = x[number]
                tape.freeze(row)
            else:
                row = row_of(x) if make_keeper is None else x[number]
                row = tape.input(row, is_active=bool(active[slot]))
                if x.ndim > 1:
                    as_memory(row)
            step_rows.append(row)
        rows.append(step_rows)
    row_slots = [[_slot(row) for row in step_rows] for step_rows in rows]
    for outer in frame.closures:
        if outer not in tape.entered:
            tape.entered[outer] = tape.input(values[outer], is_active=bool(active[outer]))._slot
    if make_keeper is None:
        for slot in tape.inputs:
            tape.values[slot] = None
    else:
        tape.keeper = make_keeper()
    frame.outer.inner = tape
    leaves, outputs = _steps(tape, frame, begin, carry, rows)
    return TracedBlock(tape, begin, carry_slots, row_slots, leaves, outputs)


def _steps(tape: Tape, frame: Frame, begin: int, leaves: list, rows: list) -> tuple[list, list]:
    body, form = frame.body, frame.form
    outputs = []
    for number, step_rows in enumerate(rows, begin):
        made = body.step(form.tree(leaves), body.item(number, step_rows))
        leaves, output = form.split(made, number)
        leaves = [_checked(tape, entered(leaf)) for leaf in leaves]
        values, treedef = flat(output)
        outputs.append(([_checked(tape, entered(copied(value))) for value in values], treedef))
    return leaves, outputs


def _checked(tape: Tape, leaf: Any) -> Any:
    if type(leaf) is Array and leaf._level is not tape:
        leaf._level.require_open()
        raise TapeError("a loop's step returned an array of a transform inside it")
    return leaf


def _slot(leaf: Any) -> int | None:
    return leaf._slot if type(leaf) is Array else None
