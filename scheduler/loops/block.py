"""A block of a loop's steps: run forward, or run and reversed, on a tape of its own within a number of bytes.

Both are small programs of their own, kept as known ones: what was seen before runs by its plan. A program is known before it
first runs where shapes alone decide what a step does; where they do not, it is recorded under the online policy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...runtime.array import Array, entered, record, traced
from ...runtime.errors import NeedsValueError, TapeError
from ...runtime.loops.body import Body, Form, copied, flat
from ...runtime.loops.on_tape import ELEMENT
from ...runtime.op import OPS
from ...runtime.phantom import contiguous
from ...runtime.phantom import row as row_of
from ...runtime.reverse import record_pullback
from ...runtime.streams import Journal, Rehearsal
from ...runtime.tape import ShapesOnly, Tape
from ...runtime.views import as_memory, is_number
from ..actions import Layout
from ..buffers import Ledger
from ..captures import Captures, constants_bytes
from ..executor import Executor
from ..follower import Follower
from ..keeper import OnlineKeeper, Refused
from ..known import Known
from ..lowering import Lowering, record_bytes
from ..options import Options
from ..rest import going_on

ACTIVE, TRACED, PLAIN = "active", "traced", "plain"


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """A carry between two blocks: its leaves, or phantoms of them, and of each what it is to a step.

    `kinds` tell whether a leaf is differentiated by, traced without that, or plain, and whether it is a number in NumPy.
    """

    values: list[Any]
    kinds: tuple[tuple[str, bool], ...]

    def key(self) -> tuple:
        """Return all that a block's program depends on."""
        strides = [v.strides if isinstance(v, np.ndarray) and not v.flags.c_contiguous else None for v in self.values]
        return self.kinds, tuple(strides)


@dataclass(frozen=True, eq=False, slots=True)
class Cotangents:
    """What goes into the reverse of a block: cotangents of its carry, of its outputs by step and number, and of its inputs.

    `before` are those that have come to arrays from around the loop, by slot. None is no cotangent at all.
    """

    carry: tuple[Any, ...]
    outputs: tuple[dict[int, Any], ...]
    before: dict[int, Any]

    def pattern(self) -> tuple:
        """Return which cotangents there are."""
        return tuple([g is not None for g in self.carry]), tuple([tuple(gs) for gs in self.outputs]), tuple(self.before)

    def arrays(self) -> list:
        """Return them in the order in which they go in, as they lie in the phantoms that they were planned with."""
        found = [g for gs in self.outputs for g in gs.values()]
        found += [g for g in self.carry if g is not None]
        found += self.before.values()
        return [np.ascontiguousarray(g) if isinstance(g, np.ndarray) and g.ndim else g for g in found]


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """What all blocks of a loop share: what it does, the tape around it, and which of that tape's arrays its steps use.

    `starts` and `xs` are the slots of the traced leaves of the first carry and of the xs, None for plain ones; `closures`
    the others', in the order in which steps first used them.
    """

    body: Body
    form: Form
    outer: Tape
    starts: tuple[int | None, ...]
    xs: tuple[int | None, ...]
    closures: tuple[int, ...]


@dataclass(eq=False, slots=True)
class Forward:
    """What came of running a block: the next carry, and the leaves and definition of every step's output.

    `traced` tells of each leaf of the outputs whether any step returned a traced array, `active` whether one had a
    derivative. `used` are the slots of the arrays from around the loop that the steps have used, `calls` how many calls
    they made.
    """

    state: State
    outputs: list[tuple[list, Any]]
    traced: list[bool]
    active: list[bool]
    used: tuple[int, ...]
    calls: int


@dataclass(eq=False, slots=True)
class Reverse:
    """What came of reversing a block: the cotangents of the carry before it, of each step's rows, and by outer slot.

    `witness` holds one element of every leaf of the carry behind the block.
    """

    carry: list[Any]
    rows: list[list[Any]]
    sums: dict[int, Any]
    witness: list[float | None]


@dataclass(eq=False, slots=True)
class BlockProgram:
    """A known program of a block, planned for `budget` bytes: where cotangents go in and out, `found` by input slot."""

    known: Known
    budget: int = -1
    seeds: tuple[int, ...] = ()
    found: dict[int, int] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Traced:
    """A block on its tape: the slots of what goes in, and the carry and the outputs that the last step and all returned."""

    carry: list[int | None]
    rows: list[list[int | None]]
    leaves: list[Any]
    outputs: list[tuple[list, Any]]


class Unforeseen(TapeError):
    """A step uses an array from around its loop that it did not use before."""

    def __init__(self, array: Array) -> None:
        super().__init__("a loop's step took another path when it was run again: it must do the same each time")
        self.array = array


class Blocks:
    """Runs blocks of one loop in one call. `programs` are those known, from earlier calls too.

    `values` are the arrays from around the loop, by slot, `xs` the leaves of the xs; or phantoms of them. `loops` records
    what loops there are inside. `ledger` counts what a block has in memory, buffers for reuse included.
    """

    def __init__(self, frame: Frame, programs: dict, loops: Any, journals: dict[int, Journal]) -> None:
        self.frame = frame
        self.programs = programs
        self.loops = loops
        self.journals = journals
        self.ledger = Ledger()
        self.values: dict[int, Any] = {}
        self.xs: Sequence[Any] = ()

    def forward(self, begin: int, count: int, state: State, budget: int) -> Forward:
        """Run the steps from `begin` on."""
        key = _key(begin, count, state, None)
        return _BlockCall(self, Tape(ShapesOnly()), key, begin, count, state, budget).run(None)

    def reverse(self, begin: int, count: int, state: State, budget: int, given: Cotangents) -> Reverse:
        """Run the steps from `begin` on, and reverse them."""
        key = _key(begin, count, state, given)
        return _BlockCall(self, Tape(ShapesOnly()), key, begin, count, state, budget).run(given)

    def known(self, begin: int, count: int, state: State, given: Cotangents | None) -> tuple[BlockProgram, Forward]:
        """Return the program of a block by shapes, and what it makes, as phantoms. Nothing is drawn from random streams.

        Raises `NeedsValueError` where a step's path depends on values.
        """
        key = _key(begin, count, state, given)
        try:
            with Rehearsal(), Tape(ShapesOnly()) as tape:
                program, made = _BlockCall(self, tape, key, begin, count, state, 0).by_shapes(given)
        finally:
            self.frame.outer.inner = None
        self.programs[key] = program
        return program, made

    def trial(self, state: State, given: Any, budget: int) -> tuple[BlockProgram, Forward]:
        """Run the first step, to find out what it is; return the program of its reverse, which is not run.

        `given` makes phantoms of the cotangents from what the step has made.
        """
        return _BlockCall(self, Tape(ShapesOnly()), (), 0, 1, state, budget).run(given, is_trial=True)

    def give_back(self, arrays: list[Any]) -> None:
        """Take over arrays that blocks have made, for reuse; nobody else may hold them, and the list is emptied."""
        while arrays:
            array = arrays.pop()
            nbytes = getattr(array, "nbytes", 0)
            self.ledger.live += nbytes
            self.ledger.release(array, nbytes)


class _BlockCall:
    """One run of a block: its tape, and what of it is on there."""

    def __init__(self, blocks: Blocks, tape: Tape, key: tuple, begin: int, count: int, state: State, budget: int) -> None:
        self.blocks = blocks
        self.tape = tape
        self.key = key
        self.begin = begin
        self.count = count
        self.state = state
        self.budget = budget
        tape.loops = blocks.loops

    def by_shapes(self, given: Cotangents | None) -> tuple[BlockProgram, Forward]:
        tape, outer = self.tape, self.blocks.frame.outer

        def arrive(array: Array) -> int:
            slot = tape.input(outer.phantoms[array._slot], is_active=bool(outer.active[array._slot]))._slot
            tape.values[slot] = None
            return slot

        tape.arrival = arrive
        traced_block = self._traced(None, given)
        calls = len(tape.calls)
        program, _ = self._completed(traced_block, Lowering(tape), given, constants_bytes(tape, self._arrays(), ()))
        program.known.forget_values()
        return program, self._made_by_shapes(traced_block, calls)

    def _made_by_shapes(self, made: _Traced, calls: int) -> Forward:
        """Return what a block makes, with phantoms for what is traced."""
        phantoms = self.tape.phantoms
        state = self._state_after(made, [phantoms[x._slot] if type(x) is Array else None for x in made.leaves])
        outputs = [
            ([phantoms[leaf._slot] if type(leaf) is Array else leaf for leaf in leaves], treedef)
            for leaves, treedef in made.outputs
        ]
        return Forward(state, outputs, *self._marks(made), tuple(self.tape.entered), calls)

    def _marks(self, made: _Traced) -> tuple[list[bool], list[bool]]:
        active = self.tape.active
        columns = list(zip(*(leaves for leaves, _ in made.outputs), strict=True))
        return [any(type(leaf) is Array for leaf in column) for column in columns], [
            any(type(leaf) is Array and active[leaf._slot] for leaf in column) for column in columns
        ]

    def _arrays(self) -> list[np.ndarray]:
        blocks = self.blocks
        arrays = (*self.state.values, *blocks.xs, *blocks.values.values())
        return [array for array in arrays if isinstance(array, np.ndarray)]

    def run(self, given: Any, *, is_trial: bool = False) -> Any:
        blocks, tape = self.blocks, self.tape
        program = None if is_trial else self._program(given)
        before = program.known.held_elsewhere if program is not None else {}
        captures = Captures(tape, self._arrays(), (), before)
        executor = Executor(tape, blocks.ledger)
        tape.arrival = _refuse
        journal = blocks.journals.setdefault(self.begin, Journal())
        try:
            with tape, journal:
                traced_block = self._traced(lambda: self._keeper(program, executor, captures), None if is_trial else given)
                if is_trial:
                    made = self._made_by_shapes(traced_block, len(tape.calls))
                    keeper: Any = tape.keeper
                    keeper.close()
                    program, _ = self._completed(traced_block, keeper.lowering, given(made), captures.held_bytes)
                    program.known.forget_values()
                    return program, made
                return self._finished(traced_block, given, program, executor, captures)
        finally:
            blocks.frame.outer.inner = None
            tape.keeper = ShapesOnly()
            tape.values.clear()
            blocks.ledger.live = 0

    def _program(self, given: Cotangents | None) -> BlockProgram | None:
        """Return the known program, planned; one by shapes where there is none yet; None where that cannot be."""
        blocks = self.blocks
        program = blocks.programs.get(self.key)
        if program is None:
            try:
                program, _ = blocks.known(self.begin, self.count, self.state, given)
            except NeedsValueError:
                return None
        if program.budget != self.budget:
            known = program.known
            known.plan, known.script = None, []
            known.settle(Options(self.budget))
            known.write_script()
            program.budget = self.budget
        return program

    def _keeper(self, program: BlockProgram | None, executor: Executor, captures: Captures) -> Any:
        if program is None:
            return OnlineKeeper(self.tape, self.budget, Lowering(self.tape), executor, captures)
        return Follower(self.tape, self.budget, executor, captures, program.known)

    def _traced(self, make_keeper: Callable[[], Any] | None, given: Cotangents | None) -> _Traced:
        """Run the steps with traced arrays for what comes in; by shapes alone where there is no keeper for values.

        Until the block ends, loops inside included, arrays of the tape around the loop stand for inputs of this one.
        """
        tape, blocks, frame = self.tape, self.blocks, self.blocks.frame
        active = frame.outer.active
        carry: list[Any] = []
        for value, (kind, is_scalar) in zip(self.state.values, self.state.kinds, strict=True):
            if kind == PLAIN:
                carry.append(copied(value))
                continue
            array = tape.input(value, is_active=kind == ACTIVE)
            carry.append(array if is_scalar else as_memory(array))
        carry_slots = [leaf._slot if type(leaf) is Array else None for leaf in carry]
        for outer, slot in zip(frame.starts, carry_slots, strict=True):
            # What has come to an array that the first step starts from, from elsewhere, is added to in its place.
            if given is not None and outer in given.before and outer not in frame.closures and slot is not None:
                tape.entered.setdefault(outer, slot)
        rows = []
        for number in range(self.begin, self.begin + self.count):
            step_rows = []
            for x, slot in zip(blocks.xs, frame.xs, strict=True):
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
        row_slots = [[row._slot if type(row) is Array else None for row in step_rows] for step_rows in rows]
        for outer in frame.closures:
            if outer not in tape.entered:
                tape.entered[outer] = tape.input(blocks.values[outer], is_active=bool(active[outer]))._slot
        if make_keeper is None:
            for slot in tape.inputs:
                tape.values[slot] = None
        else:
            tape.keeper = make_keeper()
        frame.outer.inner = tape
        leaves, outputs = self._steps(carry, rows)
        return _Traced(carry_slots, row_slots, leaves, outputs)

    def _steps(self, leaves: list, rows: list) -> tuple[list, list]:
        body, form = self.blocks.frame.body, self.blocks.frame.form
        outputs = []
        for number, step_rows in enumerate(rows, self.begin):
            made = body.step(form.tree(leaves), body.item(number, step_rows))
            leaves, output = form.split(made, number)
            leaves = [self._checked(entered(leaf)) for leaf in leaves]
            values, treedef = flat(output)
            outputs.append(([self._checked(entered(copied(value))) for value in values], treedef))
        return leaves, outputs

    def _checked(self, leaf: Any) -> Any:
        if type(leaf) is Array and leaf._level is not self.tape:
            leaf._level.require_open()
            raise TapeError("a loop's step returned an array of a transform inside it")
        return leaf

    def _own(self, leaf: Any, taken: list[int]) -> int | None:
        """Return the slot of a traced result, copied where it is not a storage of its own; None for a plain one."""
        if type(leaf) is not Array:
            return None
        tape, slot = self.tape, leaf._slot
        if tape.aliases[slot] >= 0 or slot in tape.inputs or slot in taken:
            slot = record(tape, OPS["copy"], (leaf,))._slot
        taken.append(slot)
        return slot

    def _forward_ends(self, made: _Traced) -> tuple[list[int | None], list[list[int | None]]]:
        taken: list[int] = []
        carry = [self._own(leaf, taken) for leaf in made.leaves]
        return carry, [[self._own(leaf, taken) for leaf in leaves] for leaves, _ in made.outputs]

    def _reverse_ends(self, made: _Traced, given: Cotangents) -> tuple[list[int], list[int | None]]:
        """Return the slots that cotangents come to, in the order of `Cotangents.arrays`, and those of the witnesses."""
        tape = self.tape
        witnesses: list[int | None] = []
        for leaf in made.leaves:
            is_number = type(leaf) is Array and leaf.size and tape.dtypes[leaf._slot] is not None
            at = place(self.begin, leaf.size) if is_number else 0
            witnesses.append(record(tape, ELEMENT, (leaf, at))._slot if is_number else None)
        ends = [made.outputs[k][0][j] for k, gs in enumerate(given.outputs) for j in gs]
        ends += [leaf for leaf, g in zip(made.leaves, given.carry, strict=True) if g is not None]
        return [leaf._slot if type(leaf) is Array and tape.active[leaf._slot] else -1 for leaf in ends], witnesses

    def _state_after(self, made: _Traced, values: list) -> State:
        tape = self.tape
        kinds = [
            (PLAIN, False) if type(leaf) is not Array else (ACTIVE if tape.active[leaf._slot] else TRACED, is_number(leaf))
            for leaf in made.leaves
        ]
        filled = [leaf if type(leaf) is not Array else value for leaf, value in zip(made.leaves, values, strict=True)]
        return State(filled, tuple(kinds))

    def _inputs(self, made: _Traced) -> list[int]:
        """Return the slots of all inputs that a cotangent goes back to, each once."""
        slots = [*made.carry, *(slot for row in made.rows for slot in row), *self.tape.entered.values()]
        return [slot for slot in dict.fromkeys(slots) if slot is not None and self.tape.active[slot]]

    def _completed(
        self, made: _Traced, lowering: Lowering, given: Cotangents | None, held_bytes: int, ends: Any = None
    ) -> tuple[BlockProgram, Any]:
        """Return the whole program of a recorded block, its reverse included where cotangents are `given`."""
        tape = self.tape
        if given is None:
            ends = self._forward_ends(made) if ends is None else ends
            kept = [slot for slot in (*ends[0], *(s for slots in ends[1] for s in slots)) if slot is not None]
        else:
            ends = self._reverse_ends(made, given) if ends is None else ends
            kept = [slot for slot in ends[1] if slot is not None]
        lowering.add_calls()
        calls, slots = len(tape.calls), len(tape.values)
        lowering.program = replace(lowering.program, forward=len(lowering.program))
        seeds: list[int] = []
        found: dict[int, int] = {}
        if given is not None:
            arrays = given.arrays()
            seeds = [tape.input(contiguous(np.shape(g), g.dtype), is_active=False)._slot for g in arrays]
            for slot in seeds:
                tape.values[slot] = None
            pairs = [(end, traced(tape, seed, None)) for end, seed in zip(ends[0], seeds, strict=False) if end >= 0]
            inner = [tape.entered[slot] for slot in given.before]
            before = dict(zip(inner, [traced(tape, s, None) for s in seeds[len(ends[0]) :]], strict=True))
            found = record_pullback(tape, pairs, self._inputs(made), before)
            lowering.add_calls()
        held_bytes += sum(v.nbytes for v in tape.values[slots:] if isinstance(v, np.ndarray))
        held_bytes += record_bytes(len(tape.calls))
        value_of = lowering.value_of
        returned = [value_of[slot] for slot in (*kept, *found.values()) if slot < len(value_of) and value_of[slot] >= 0]
        lowering.close(outputs=tuple(dict.fromkeys(returned)), held_bytes=held_bytes)
        known = Known(tape, lowering, calls, slots, _flat_ends(ends), tuple(found.values()), ())
        return BlockProgram(known, seeds=tuple(seeds), found=found), ends

    def _finished(
        self, made: _Traced, given: Cotangents | None, program: BlockProgram | None, executor: Executor, captures: Captures
    ) -> Any:
        """Run what is left of the block once its steps have returned, and bring out what it has made."""
        tape, blocks = self.tape, self.blocks
        ends: Any = self._forward_ends(made) if given is None else self._reverse_ends(made, given)
        keeper = tape.keeper
        arrays = [] if given is None else given.arrays()
        if isinstance(keeper, Follower) and keeper.is_at_end and keeper.known.ends == _flat_ends(ends):
            assert program is not None
            for slot, g in zip(program.seeds, arrays, strict=True):
                tape.values[slot] = g
            keeper.finish()
        else:
            if isinstance(keeper, Follower):
                keeper = keeper.leave()
            assert isinstance(keeper, (OnlineKeeper, Refused))
            program, _ = self._completed(made, keeper.lowering, given, captures.held_bytes, ends)
            for slot, g in zip(program.seeds, arrays, strict=True):
                tape.values[slot] = g
            self._go_on(program, keeper, executor, captures)
            program.known.held_elsewhere = captures.held_elsewhere
            program.known.plan = None
            blocks.programs[self.key] = program
        captures.check()
        del arrays
        if given is None:
            values = [None if slot is None else executor.resolve(slot) for slot in ends[0]]
            outputs = [
                ([leaf if s is None else executor.resolve(s) for leaf, s in zip(leaves, slots, strict=True)], treedef)
                for slots, (leaves, treedef) in zip(ends[1], made.outputs, strict=True)
            ]
            state = self._state_after(made, values)
            result: Any = Forward(state, outputs, *self._marks(made), tuple(tape.entered), len(tape.calls))
        else:
            result = self._reversed(made, program, ends[1], executor)
        if program.known.tape is tape:
            program.known.forget_values()
        return result

    def _go_on(self, program: BlockProgram, keeper: Any, executor: Executor, captures: Captures) -> None:
        """Run the rest of a program that was not foreseen."""
        new, rest, more = program.known, None, 0
        if isinstance(keeper, OnlineKeeper):
            keeper.close()
            more = new.program.held_bytes - captures.held_bytes - keeper.record_bytes
            rest = going_on(new, keeper.residency, self.budget, more)
        if rest is not None:
            layout = keeper.layout
            executor.hold(more, rest.projected_peak_bytes)
        else:
            rest = new.settle(Options(self.budget))
            new.adopt()
            new.lowering.share_out(executor.tape.values)
            executor.drop_all(new.program.held_bytes)
            layout = Layout(new.lowering, keeper.layout.runs)
        layout.lowering = new.lowering
        executor.perform(layout.actions(rest.steps), max(keeper.peak_bytes, rest.projected_peak_bytes))

    def _reversed(self, made: _Traced, program: BlockProgram, witnesses: list, executor: Executor) -> Reverse:
        tape = self.tape

        def out(slot: int | None) -> Any:
            at = program.found.get(slot) if slot is not None else None
            return None if at is None else executor.resolve(at)

        entered_slots = set(tape.entered.values())
        carry = [None if slot in entered_slots else out(slot) for slot in made.carry]
        rows = [[out(slot) for slot in slots] for slots in made.rows]
        sums = {outer: g for outer, slot in tape.entered.items() if (g := out(slot)) is not None}
        found = [
            witness(leaf, self.begin) if s is None else witness(executor.resolve(s), 0)
            for leaf, s in zip(made.leaves, witnesses, strict=True)
        ]
        return Reverse(carry, rows, sums, found)


def _key(begin: int, count: int, state: State, given: Cotangents | None) -> tuple:
    """Return what the program of a block depends on, as far as the shapes of what comes in."""
    return begin == 0, count, state.key(), None if given is None else given.pattern()


def place(begin: int, size: int) -> int:
    """Return the element of a leaf that tells whether a block did the same again: another one at each block."""
    return begin * 7919 % size


def witness(leaf: Any, begin: int) -> float | None:
    """Return that element as a number; None of what is no array and of what has no elements."""
    size = getattr(leaf, "size", 0)
    if type(leaf) is Array or not size:
        return None
    element = leaf.item(place(begin, size))
    return element.real + element.imag if type(element) is complex else float(element)


def _flat_ends(ends: Any) -> tuple:
    """Return the slots of a block's results in one tuple."""
    first, second = ends
    return (*first, *(tuple(slots) if isinstance(slots, list) else slots for slots in second))


def _refuse(array: Array) -> int:
    raise Unforeseen(array)
