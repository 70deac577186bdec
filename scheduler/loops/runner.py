"""Runs a loop inside its share of a budget: forward with states held here and there, then backwards block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...checkpoint.errors import MemoryBudgetError
from ...checkpoint.loops.online import OnlineCheckpoints
from ...checkpoint.loops.share import Share, block_count
from ...checkpoint.loops.turns import Turn, forward, turns
from ...runtime.array import Array
from ...runtime.errors import TapeError
from ...runtime.loops.body import Outputs
from ...runtime.loops.on_tape import Bundle
from ...runtime.loops.on_trail import is_same_number
from .block import Blocks
from .outline import Outline
from .parts import ACTIVE, PLAIN, Frame, State, Unforeseen, witness
from .sweep import Sweep


class Changed(Exception):
    """Results of a loop have a derivative, by number, that were taken for such without: it must be recorded anew."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__()
        self.numbers = numbers


class Outgrown(Exception):
    """A block of a loop needs more bytes than were foreseen, `factor` times as many: `cause` says so."""

    def __init__(self, factor: float, cause: MemoryBudgetError) -> None:
        super().__init__()
        self.factor = factor
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Operands:
    """Which operand of the loop's call is what: the leaves of the first carry and of the xs, and the closures by slot."""

    starts: tuple[int, ...]
    xs: tuple[int, ...]
    closures: dict[int, int]


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
        self._count = frame.body.length
        self._witnesses: dict[int, list[float | None]] = {}

    def forward(self, operands: Sequence) -> Bundle:
        """Run all steps; return their results and the states that are held for the reverse."""
        try:
            return self._forward(operands)
        except MemoryBudgetError as error:
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
        visit = self._visit()
        outputs = Outputs(body.name, body.length)
        active_outputs: list[bool] = []
        block = 0
        while self._goes_on(block, state, operands):
            begin = self.begin(block)
            made = self.blocks.forward(begin, self.begin(block + 1) - begin, state, rung.forward_bytes)
            for number, (leaves, treedef) in enumerate(made.outputs, begin):
                outputs.add(number, [np.asarray(leaf) for leaf in leaves], treedef)
            active_outputs = _either(active_outputs, made.active)
            for leaves, _ in made.outputs:
                self.blocks.give_back(leaves)
            if block:
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

    def _visit(self) -> Any:
        """Return what decides about holding a state: it returns the state to release for it, itself or none."""
        if self.frame.body.length is None:
            return OnlineCheckpoints(self.share.slots).visit
        count = block_count(self.frame.body.length, self.share.rung.steps)
        holds = frozenset(forward(count, self.share.slots).holds)
        return lambda block: None if block in holds else block

    def _goes_on(self, block: int, state: State, operands: Sequence) -> bool:
        condition = self.frame.body.condition
        if condition is None:
            assert self._count is not None
            return self.begin(block) < self._count
        outer = self.frame.outer
        outer.inner = _Values(self.blocks.values)
        try:
            return bool(condition(self.frame.form.tree([*state.values])))
        finally:
            outer.inner = None

    def _checked(self, parts: list, is_active: list[bool], state: State, blocks: int) -> list:
        """Return the results as arrays of their own. Raises `Changed` where one has a derivative unexpectedly."""
        kinds = self.phantom.results
        unexpected = [
            k for k, (kind, active) in enumerate(zip(kinds, is_active, strict=True)) if active and not kind.is_active
        ]
        if unexpected:
            raise Changed(unexpected)
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
        sweep = Sweep(self, operands, seeds, before, wanted)
        held = states.held
        states.held = {}
        for turn in self._turns((0, *sorted(held)), blocks):
            state = held[turn.start] if turn.start else start
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
            del state
        return sweep.whole()

    def _turns(self, held: tuple[int, ...], blocks: int) -> Iterator[Turn]:
        return turns(held, blocks, max(self.share.slots, len(held)))

    def _again(self, block: int, state: State) -> State:
        begin = self.begin(block)
        made = self.blocks.forward(begin, self.begin(block + 1) - begin, state, self.share.rung.forward_bytes)
        for leaves, _ in made.outputs:
            self.blocks.give_back(leaves)
        self._note(block, made.state, is_first=False)
        return made.state


class _Values:
    """What a loop's condition gets for arrays from around the loop: their values."""

    def __init__(self, values: dict[int, Any]) -> None:
        self.values = values

    def enter(self, array: Array) -> Any:
        """Return the value of a traced array. Raises `Unforeseen`."""
        if array._slot not in self.values:
            raise Unforeseen(array)
        return self.values[array._slot]


def _either(a: list[bool], b: list[bool]) -> list[bool]:
    return [x or y for x, y in zip(a, b, strict=True)] if a else b
