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
from .block import ACTIVE, PLAIN, Blocks, Cotangents, Frame, State, Unforeseen, witness
from .outline import Outline


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
        sweep = _Sweep(self, operands, seeds, before, wanted)
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


class _Sweep:
    """The reverse of one loop on its way: the cotangents of the carry, of closures and of the xs so far."""

    def __init__(
        self, runner: LoopRunner, operands: Sequence, seeds: dict[int, Any], before: dict[int, Any], wanted: Sequence[int]
    ) -> None:
        self.runner = runner
        self.operands = operands
        self.wanted = wanted
        count = len(runner.operands.starts)
        self.carry: list[Any] = [seeds.get(k) for k in range(count)]
        self.outputs = {k - count: g for k, g in seeds.items() if k >= count}
        self.before = before
        self.foreign = {id(g) for g in (*seeds.values(), *before.values())}
        of_closures = runner.operands.closures
        self.sums: dict[int, Any] = {slot: before[k] for slot, k in of_closures.items() if k in before}
        self.rows: dict[int, np.ndarray] = {}
        for number, k in enumerate(runner.operands.xs):
            if k in wanted:
                x = operands[k]
                self.rows[number] = np.array(before[k], order="C") if k in before else np.zeros(x.shape, x.dtype)

    def step_back(self, block: int, state: State) -> None:
        """Reverse one block."""
        runner = self.runner
        begin = runner.begin(block)
        count = runner.begin(block + 1) - begin
        if block == 0:
            for slot, k in zip(runner.frame.starts, runner.operands.starts, strict=True):
                if slot is not None and k in self.before:
                    self.sums.setdefault(slot, self.before[k])
        outputs = tuple({k: g[number] for k, g in self.outputs.items()} for number in range(begin, begin + count))
        if not self.outputs and all(g is None for g in self.carry):
            return
        given = Cotangents(tuple(self.carry), outputs, dict(sorted(self.sums.items())))
        made = runner.blocks.reverse(begin, count, state, runner.share.rung.reverse_bytes, given)
        del given
        runner.compare(block, made.witness)
        old = [g for g in self.carry if g is not None and id(g) not in self.foreign]
        self.carry = made.carry
        runner.blocks.give_back(old)
        old = [g for slot in made.sums if (g := self.sums.pop(slot, None)) is not None and id(g) not in self.foreign]
        self.sums.update(made.sums)
        runner.blocks.give_back(old)
        for number, rows in enumerate(made.rows, begin):
            for k, total in self.rows.items():
                if rows[k] is not None:
                    total[number] += rows[k]
            runner.blocks.give_back(rows)

    def whole(self) -> Bundle:
        """Return the cotangents that are wanted, as arrays of their own; zeros where none has come."""
        runner = self.runner
        found: dict[int, Any] = {}
        for slot, g in self.sums.items():
            k = runner.operands.closures.get(slot)
            if k is None:
                k = runner.operands.starts[runner.frame.starts.index(slot)]
            found[k] = g
        for k, g in zip(runner.operands.starts, self.carry, strict=True):
            if g is not None:
                found[k] = found[k] + g if k in found else g
        for number, total in self.rows.items():
            k = runner.operands.xs[number]
            found[k] = found[k] + total if k in found else total
        parts = []
        for k in self.wanted:
            operand, g = self.operands[k], found.pop(k, None)
            if g is None and k in self.before:
                g = self.before[k]
            if g is None:
                g = np.zeros(np.shape(operand), operand.dtype)
            elif id(g) in self.foreign or isinstance(g, np.ndarray) and not g.flags.c_contiguous:
                g = np.array(g, order="C")
            parts.append(g)
        return Bundle(parts, sum(part.nbytes for part in parts))


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
