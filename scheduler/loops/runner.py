"""Runs a loop inside its share of a budget: forward with states held here and there, then backwards block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...checkpoint.errors import MemoryBudgetError
from ...checkpoint.loops.disk import forward_with_disk, reads_from_disk, turns_with_disk
from ...checkpoint.loops.online import OnlineCheckpoints
from ...checkpoint.loops.share import STATES_IN_FLIGHT, Share, block_count
from ...checkpoint.loops.turns import Turn, forward, turns
from ...runtime.errors import TapeError
from ...runtime.loops.body import Outputs
from ...runtime.loops.on_tape import Bundle
from ...runtime.loops.on_trail import is_same_number
from ..spill import SpillError
from .block import Blocks
from .outline import Outline
from .parts import ACTIVE, PLAIN, Frame, Operands, Outgrown, ResultsChanged, State, Unforeseen, Values, witness
from .states import Files, StatesOnDisk
from .sweep import Sweep


class LoopRunner:
    """Runs one loop of one call, as often as the plan wants; `phantom` is what stands for it by shapes."""

    def __init__(self, outline: Outline, frame: Frame, operands: Operands, start: State, loops: Any, journals: dict) -> None:
        self.phantom = outline
        self.share: Share = outline.share
        self.frame = frame
        self.operands = operands
        self.kinds = start.kinds
        self.blocks = Blocks(frame, outline.programs, loops, journals)
        self.results: list[Any] = []  # plain ones, by number; None for others
        self.files: Files | None = None
        self._count = frame.body.length
        self._on_disk: StatesOnDisk | None = None
        self._witnesses: dict[int, list[float | None]] = {}

    def forward(self, operands: Sequence) -> Bundle:
        """Run all steps; return their results and the states that are held for the reverse."""
        try:
            return self._forward(operands)
        except MemoryBudgetError as error:
            self._leave_disk()
            raise Outgrown(error.needed_bytes / max(error.budget_bytes, 1), error) from error
        finally:
            self._rest()

    def reverse(
        self, states: Bundle, operands: Sequence, seeds: dict[int, Any], before: dict[int, Any], wanted: Sequence[int]
    ) -> Bundle:
        """Return the cotangents of the operands in `wanted`. The held states are used up."""
        try:
            with np.errstate(all="ignore"):  # what NumPy warns of, it has said the first time
                return self._reverse(states, operands, seeds, before, wanted)
        except Unforeseen as error:
            raise TapeError(
                f"a step of {self.frame.body.name} used another array when it was run again for the reverse sweep: it must "
                "do the same each time, and may not depend on a variable that is set again after the loop"
            ) from error
        finally:
            self._rest()

    def _rest(self) -> None:
        self.blocks.ledger.clear()
        self.blocks.values = {}
        self.blocks.xs = ()

    def _take(self, operands: Sequence) -> State:
        self.blocks.values = {slot: operands[k] for slot, k in self.operands.closures.items()}
        self.blocks.xs = [operands[k] for k in self.operands.xs]
        return State([operands[k] for k in self.operands.starts], self.kinds)

    def begin(self, block: int) -> int:
        """Return the first step of a block; of the one behind the last, the number of steps."""
        begin = 1 + (block - 1) * self.share.rung.steps if block else 0
        return begin if self._count is None else min(begin, self._count)

    def _forward(self, operands: Sequence) -> Bundle:
        body, rung = self.frame.body, self.share.rung
        state = self._take(operands)
        is_first = not self._witnesses
        if body.condition is not None:
            self._count = None
        held: dict[int, State] = {}
        visit, written = self._policy()
        outputs = Outputs(body.name, body.length)
        active_outputs: list[bool] = []
        block = 0
        while self._goes_on(block, state, operands):
            if block in written and not self._write(block, state):
                written = frozenset()
            begin = self.begin(block)
            made = self.blocks.forward(begin, self.begin(block + 1) - begin, state, rung.forward_bytes)
            for number, (leaves, treedef) in enumerate(made.outputs, begin):
                outputs.add(number, [np.asarray(leaf) for leaf in leaves], treedef)
            active_outputs = _either(active_outputs, made.active)
            for leaves, _ in made.outputs:
                self.blocks.give_back(leaves)
            if block and block not in written:
                released = visit(block)
                if released != block:
                    held[block] = state
                    state = None if released is None else held.pop(released)
                if state is not None:
                    self._let_go(state)
            state = made.state
            del made
            self._note(block, state, is_first=is_first)
            block += 1
        if self._count is None:
            self._count = block if rung.steps == 1 else self.begin(block)
        parts = [*state.values, *outputs.leaves()]
        is_active = [kind == ACTIVE for kind, _ in state.kinds] + active_outputs
        return Bundle(self._checked(parts, is_active, state, block), self.phantom.costs.states_bytes(self.share), held)

    def _policy(self) -> tuple[Callable[[int], int | None], frozenset[int]]:
        """Return what decides about holding a state in memory, and the blocks whose states are written to disk.

        Deciding means to return the state to release for the new one: itself or none.
        """
        share, length = self.share, self.frame.body.length
        self._leave_disk()
        if length is None:
            return OnlineCheckpoints(share.slots).visit, frozenset()
        count = block_count(length, share.rung.steps)
        written = self._opened(count)
        if written and share.prices is not None:
            holds = frozenset(forward_with_disk(count, share.slots, share.prices).holds)
        else:
            holds = frozenset(forward(count, self._slots()).holds)
        return lambda block: None if block in holds else block, written

    def _slots(self) -> int:
        """Return how many states are held where none is on disk."""
        return self.share.slots if self.share.prices is None else self.share.slots + STATES_IN_FLIGHT + 1

    def _opened(self, count: int) -> frozenset[int]:
        """Open a file for states on disk, and return the blocks whose states they are; none where there is no room."""
        slots, prices = self.share.slots, self.share.prices
        if prices is None or self.files is None:
            return frozenset()
        made = forward_with_disk(count, slots, prices)
        reads = (block for block in reads_from_disk(made, count, slots, prices) if block)
        nbytes = self.phantom.costs.disk_bytes(self.share)
        try:
            self._on_disk = StatesOnDisk(self.files, nbytes, reads, self._let_go, self.blocks.ledger.take)
        except SpillError:
            return frozenset()
        return frozenset(block for block in made.writes if block)

    def _write(self, block: int, state: State) -> bool:
        """Begin to write a state to disk; tell whether that works."""
        assert self._on_disk is not None
        try:
            self._on_disk.write(block, state)
        except SpillError:
            self._leave_disk()
            return False
        return True

    def _leave_disk(self) -> None:
        if self._on_disk is not None:
            self._on_disk.close()
            self._on_disk = None

    def _goes_on(self, block: int, state: State, operands: Sequence) -> bool:
        condition = self.frame.body.condition
        if condition is None:
            assert self._count is not None
            return self.begin(block) < self._count
        outer = self.frame.outer
        outer.inner = Values(self.blocks.values)
        try:
            return bool(condition(self.frame.form.tree([*state.values])))
        finally:
            outer.inner = None

    def _checked(self, parts: list, is_active: list[bool], state: State, blocks: int) -> list:
        """Return the results as arrays of their own. Raises `ResultsChanged` where one has a derivative unexpectedly."""
        kinds = self.phantom.results
        unexpected = [
            k for k, (kind, active) in enumerate(zip(kinds, is_active, strict=True)) if active and not kind.is_active
        ]
        if unexpected:
            raise ResultsChanged(unexpected)
        self.results = [part if kind.is_plain else None for part, kind in zip(parts, kinds, strict=True)]
        if not blocks:
            return [np.array(part) if isinstance(part, np.ndarray) else part for part in parts]
        return [np.asarray(p, order="C") if isinstance(p, np.ndarray) else p for p in parts]

    def _let_go(self, state: State) -> None:
        """Let a state's arrays be used again, if blocks have made them."""
        made = [value for value, (kind, _) in zip(state.values, state.kinds, strict=True) if kind != PLAIN]
        state.values.clear()
        self.blocks.give_back(made)

    def _note(self, block: int, state: State, *, is_first: bool) -> None:
        """Note what a block has made, or compare it with what it made before."""
        found = [witness(value, self.begin(block)) for value in state.values]
        if is_first:
            self._witnesses[block] = found
        else:
            self.compare(block, found)

    def compare(self, block: int, found: list[float | None]) -> None:
        """Raise `TapeError` where a block has not done again what it did the first time; None is not compared."""
        before = self._witnesses.get(block)
        if before is not None and all(
            a is None or b is None or is_same_number(a, b) for a, b in zip(found, before, strict=True)
        ):
            return
        begin, end = self.begin(block), self.begin(block + 1)
        steps = f"step {begin}" if end == begin + 1 else f"steps {begin} to {end - 1}"
        raise TapeError(
            f"{steps} of {self.frame.body.name} gave other numbers when run again for the reverse sweep: a step may depend "
            "on its carry, its item, and what stays as it is while the gradient is taken, but not on a random generator "
            "other than retape.random, on a clock, or on a variable that is set again after the loop"
        )

    def _reverse(
        self, states: Bundle, operands: Sequence, seeds: dict[int, Any], before: dict[int, Any], wanted: Sequence[int]
    ) -> Bundle:
        start = self._take(operands)
        assert self._count is not None
        blocks = block_count(self._count, self.share.rung.steps)
        sweep = Sweep(self, blocks, operands, seeds, before, wanted)
        held = states.held
        states.held = {}
        stop = self._reversed_from_disk(start, held, blocks, sweep)
        left = (0, *sorted(block for block in held if 0 < block < stop))
        for turn in turns(left, stop, max(self._slots(), len(left))):
            self._take_turn(turn, held.get(turn.start, start), held, sweep)
        return sweep.whole()

    def _reversed_from_disk(self, start: State, held: dict[int, State], stop: int, sweep: Sweep) -> int:
        """Reverse the blocks before `stop` with states from disk, while it works; return where the reverse has come to.

        Where the disk fails, what is on it is lost, and the blocks left are run from the states in memory.
        """
        disk, slots, prices = self._on_disk, self.share.slots, self.share.prices
        if disk is None or prices is None:
            return stop
        try:
            disk.land_all()
            disk.read_ahead()
        except SpillError:
            self._leave_disk()
            return stop
        made = replace(forward_with_disk(stop, slots, prices), first=stop)  # no block is taped in the forward sweep
        for turn in turns_with_disk(made, stop, slots, prices):
            state = held.get(turn.start, start)
            if turn.start and turn.start not in held:
                try:
                    state = disk.take(turn.start)
                except SpillError:
                    break
            self._take_turn(turn, state, held, sweep)
            stop = turn.first
        self._leave_disk()
        return stop

    def _take_turn(self, turn: Turn, state: State, held: dict[int, State], sweep: Sweep) -> None:
        """Run from a state to the block to be reversed, holding some on the way, and reverse it."""
        assert turn.stop == turn.first + 1 == sweep.stop, "every block is reversed once, the last one first"
        for block in range(turn.start, turn.first):
            if block in turn.holds:
                held[block] = state
            again = self._again(block, state)
            if block != 0 and block not in held:
                self._let_go(state)
            state = again
            del again
        sweep.step_back(turn.first, state)
        if turn.first:
            held.pop(turn.first, None)
            self._let_go(state)

    def _again(self, block: int, state: State) -> State:
        begin = self.begin(block)
        made = self.blocks.forward(begin, self.begin(block + 1) - begin, state, self.share.rung.forward_bytes)
        for leaves, _ in made.outputs:
            self.blocks.give_back(leaves)
        self._note(block, made.state, is_first=False)
        return made.state


def _either(a: list[bool], b: list[bool]) -> list[bool]:
    return [x or y for x, y in zip(a, b, strict=True)] if a else b
