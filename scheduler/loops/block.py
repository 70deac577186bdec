"""A block of a loop's steps: run forward, or run and reversed, on a tape of its own within a number of bytes.

Both are small programs of their own, kept as known ones: what was seen before runs by its plan. A program is known before it
first runs where shapes alone decide what a step does; where they do not, it is recorded under the online policy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...runtime.array import Array, traced
from ...runtime.errors import NeedsValueError
from ...runtime.phantom import contiguous
from ...runtime.reverse import record_pullback
from ...runtime.streams import Journal, Rehearsal
from ...runtime.tape import ShapesOnly, Tape
from ..actions import Layout
from ..buffers import Ledger
from ..captures import Captures, weighed
from ..executor import Executor
from ..follower import Follower
from ..keeper import OnlineKeeper, Refused
from ..known import Known
from ..lowering import Lowering
from ..options import Options
from ..paths import PATIENCE, is_same_path
from ..records import record_bytes
from ..rest import going_on
from .parts import BlockProgram, Cotangents, Forward, Frame, Reverse, State, Unforeseen
from .tracing import TracedBlock, traced_block


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
        traced_steps = self._traced(None, given)
        calls = len(tape.calls)
        program, _ = self._completed(traced_steps, Lowering(tape), given, weighed(tape, self._arrays(), ()).held_bytes)
        program.known.forget_values()
        return program, self._made_by_shapes(traced_steps, calls)

    def _made_by_shapes(self, made: TracedBlock, calls: int) -> Forward:
        """Return what a block makes, with phantoms for what is traced."""
        phantoms = self.tape.phantoms
        state = made.state_after([phantoms[x._slot] if type(x) is Array else None for x in made.leaves])
        outputs = [
            ([phantoms[leaf._slot] if type(leaf) is Array else leaf for leaf in leaves], treedef)
            for leaves, treedef in made.outputs
        ]
        return Forward(state, outputs, *made.marks(), tuple(self.tape.entered), calls)

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
                make_keeper = functools.partial(self._keeper, program, executor, captures)
                traced_steps = self._traced(make_keeper, None if is_trial else given)
                if is_trial:
                    made = self._made_by_shapes(traced_steps, len(tape.calls))
                    keeper: Any = tape.keeper
                    keeper.close()
                    program, _ = self._completed(traced_steps, keeper.lowering, given(made), captures.held_bytes)
                    program.known.forget_values()
                    return program, made
                return self._finished(traced_steps, given, program, executor, captures)
        finally:
            blocks.frame.outer.inner = None
            tape.keeper = ShapesOnly()
            tape.values.clear()
            blocks.ledger.live = 0

    def _program(self, given: Cotangents | None) -> BlockProgram | None:
        """Return the known program, planned; one by shapes where there is none yet; None where that is in vain."""
        blocks = self.blocks
        program = blocks.programs.get(self.key)
        if program is None:
            try:
                program, _ = blocks.known(self.begin, self.count, self.state, given)
            except NeedsValueError:
                return None
        if program.budget != self.budget:
            if program.misses >= PATIENCE:
                return None
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

    def _traced(self, make_keeper: Callable[[], Any] | None, given: Cotangents | None) -> TracedBlock:
        blocks = self.blocks
        means: dict[str, Any] = {"xs": blocks.xs, "values": blocks.values, "make_keeper": make_keeper, "given": given}
        return traced_block(self.tape, blocks.frame, self.begin, self.count, self.state, **means)

    def _completed(
        self, made: TracedBlock, lowering: Lowering, given: Cotangents | None, held_bytes: int, ends: Any = None
    ) -> tuple[BlockProgram, Any]:
        """Return the whole program of a recorded block, its reverse included where cotangents are `given`."""
        tape = self.tape
        if given is None:
            ends = made.forward_ends() if ends is None else ends
            kept = [slot for slot in (*ends[0], *(s for slots in ends[1] for s in slots)) if slot is not None]
        else:
            ends = made.reverse_ends(given) if ends is None else ends
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
            found = record_pullback(tape, pairs, made.inputs(), before)
            lowering.add_calls()
        held_bytes += sum(v.nbytes for v in tape.values[slots:] if isinstance(v, np.ndarray))
        held_bytes += record_bytes(len(tape.calls))
        value_of = lowering.value_of
        returned = [value_of[slot] for slot in (*kept, *found.values()) if slot < len(value_of) and value_of[slot] >= 0]
        lowering.close(outputs=tuple(dict.fromkeys(returned)), held_bytes=held_bytes)
        known = Known(tape, lowering, calls, slots, _flat_ends(ends), tuple(found.values()), ())
        return BlockProgram(known, seeds=tuple(seeds), found=found), ends

    def _finished(
        self,
        made: TracedBlock,
        given: Cotangents | None,
        program: BlockProgram | None,
        executor: Executor,
        captures: Captures,
    ) -> Any:
        """Run what is left of the block once its steps have returned, and bring out what it has made."""
        tape, blocks = self.tape, self.blocks
        ends: Any = made.forward_ends() if given is None else made.reverse_ends(given)
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
            before = blocks.programs.get(self.key)
            if before is not None and not is_same_path(before.known, program.known):
                program.misses = before.misses + 1
            blocks.programs[self.key] = program
        captures.check()
        del arrays
        result = (
            made.forward(ends, executor.resolve) if given is None else made.reverse(ends[1], program.found, executor.resolve)
        )
        if program.known.tape is tape:
            program.known.forget_values()
        return result

    def _go_on(self, program: BlockProgram, keeper: Any, executor: Executor, captures: Captures) -> None:
        """Run the rest of a program that was not foreseen."""
        new, rest = program.known, None
        if isinstance(keeper, OnlineKeeper):
            if keeper.hold(new.program.held_bytes - captures.held_bytes - keeper.record_bytes):
                rest = going_on(new, keeper.residency, self.budget)
            keeper.close()
        if rest is not None:
            layout = keeper.layout
        else:
            rest = new.settle(Options(self.budget))
            new.adopt()
            new.lowering.share_out(executor.tape.values)
            executor.drop_all(new.program.held_bytes)
            layout = Layout(new.lowering, keeper.layout.runs)
        layout.lowering = new.lowering
        executor.perform(layout.actions(rest.steps), max(keeper.peak_bytes, rest.projected_peak_bytes))


def _key(begin: int, count: int, state: State, given: Cotangents | None) -> tuple:
    """Return what the program of a block depends on, as far as the shapes of what comes in."""
    return begin == 0, count, state.key(), None if given is None else given.pattern()


def _flat_ends(ends: Any) -> tuple:
    """Return the slots of a block's results in one tuple."""
    first, second = ends
    return (*first, *(tuple(slots) if isinstance(slots, list) else slots for slots in second))


def _refuse(array: Array) -> int:
    raise Unforeseen(array)
