"""Records a loop as one call of a tape under a budget: first an outline of it, then the call and its results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...checkpoint.loops.share import LoopCosts, Rung, Share
from ...checkpoint.planners import PLANNERS, small_plan
from ...runtime import trees
from ...runtime.array import Array, traced
from ...runtime.errors import NeedsValueError
from ...runtime.loops.body import Body, Form
from ...runtime.loops.on_tape import CONSTANT_PART, COPIED_PART, LOOP, PART
from ...runtime.phantom import contiguous
from ...runtime.tape import Tape
from ...runtime.views import as_memory, is_number
from ..follower import Follower
from ..keeper import OnlineKeeper
from .block import ACTIVE, PLAIN, TRACED, BlockProgram, Blocks, Cotangents, Forward, Frame, State, Unforeseen
from .outline import Outline, ResultKind
from .runner import Changed, LoopRunner, Operands, Outgrown

# Loops of so few calls are recorded step by step: who plans them sees all of them then, and may keep their tapes. The budget
# has no say in this, so that the smallest budget is the same whoever asks.
FEW_CALLS = 1500
_MOST_CALLS_OF_A_BLOCK = 1000
_MOST_STEPS = 64
_SMALL_TAPE = 256 * 1024
_GUESSED_LENGTH = 1000
LEAST_BLOCK = 64 * 1024  # bytes: where arrays are small, a path that needs some more of them fits too


class Loops:
    """Records the loops of one call under `budget` bytes; `depth` counts the loops around them."""

    def __init__(self, budget: float, depth: int = 0) -> None:
        self.budget = budget
        self.depth = depth

    def record(self, tape: Tape, body: Body, form: Form, leaves: list) -> tuple[Any, Any] | None:
        """Return the last carry and the stacked outputs of a loop; None where it is to be recorded step by step."""
        head = _Head(tape, body, form, leaves)
        outline = self._expected(tape, head)
        closures: tuple[int, ...] = ()
        journals: dict = {}
        widened: set[int] = set()
        factor = 1.0
        while True:
            if outline is None:
                outline = self._outline(head, closures, factor)
                if outline is None:
                    return None
                for number in widened:
                    outline.results[number] = replace(outline.results[number], is_active=True, is_plain=False)
            try:
                return head.recorded(outline, Loops(self.budget, self.depth + 1), journals)
            except Unforeseen as error:
                if error.array._level is not tape:
                    raise
                closures = (*outline.closures, error.array._slot)
            except Changed as error:
                closures = outline.closures
                widened.update(error.numbers)
            except Outgrown as error:
                closures = outline.closures
                factor *= max(error.factor, 1.25)
                if outline.costs.rungs[0].forward_bytes > self.budget:
                    raise error.cause from None
            outline = None

    def _expected(self, tape: Tape, head: _Head) -> Outline | None:
        """Return the outline of the loop that a known program has here, if it is this one."""
        keeper = tape.keeper
        if not isinstance(keeper, Follower) or keeper.is_at_end:
            return None
        op, slots, *_ = keeper.known.script[keeper.cursor]
        outline = tape.phantoms[slots[0]] if op is LOOP else None
        return outline if outline is not None and outline.signature == head.signature() else None

    def _outline(self, head: _Head, closures: tuple[int, ...], factor: float) -> Outline | None:
        """Return what is known of a loop; its blocks get `factor` times the bytes that it says they need."""
        try:
            return self._outline_by_shapes(head, closures, factor)
        except NeedsValueError:
            keeper = head.tape.keeper
            if isinstance(keeper, Follower):
                keeper = keeper.leave()
            if not isinstance(keeper, OnlineKeeper):
                raise
            return self._outline_by_trial(head, closures, factor, keeper)

    def _outline_by_shapes(self, head: _Head, closures: tuple[int, ...], factor: float) -> Outline | None:
        length = _GUESSED_LENGTH if head.body.length is None else head.body.length
        inner = Loops(self.budget, self.depth + 1)
        blocks, state, begin = head.blocks(closures, inner), head.start(), 0
        while True:
            program, made = blocks.known(begin, 1, state, None)
            found = tuple(slot for slot in made.used if slot not in blocks.values)
            if found:
                closures += found
                blocks, state, begin = head.blocks(closures, inner), head.start(), 0
                continue
            if begin + 1 == length or begin and made.state.kinds == state.kinds:
                break
            state, begin = made.state, begin + 1
        if head.body.length is not None and made.calls * length <= FEW_CALLS:
            return None
        joint, _ = blocks.known(begin, 1, state, _cotangents(made, closures, head))
        reverse = _Measured(joint)
        forward = _Measured(program)
        rungs = [_rung(1, forward, reverse, factor)]
        least = _Measured(joint, is_least=True)
        if least.peak < reverse.peak:
            tight = _Measured(program, is_least=True)
            rungs.insert(0, _rung(1, tight, least, factor))
        steps = 2
        while head.body.length is not None and steps <= min(_MOST_STEPS, length - 1):
            if made.calls * steps > _MOST_CALLS_OF_A_BLOCK:
                break
            program, many = blocks.known(1, steps, state, None)
            joint, _ = blocks.known(1, steps, state, _cotangents(many, closures, head))
            forward, reverse = _Measured(program), _Measured(joint)
            if reverse.peak > self.budget:
                break
            rungs.append(_rung(steps, forward, reverse, factor))
            steps *= 2
        return self._made(head, closures, made, length, tuple(rungs), blocks.programs)

    def _outline_by_trial(self, head: _Head, closures: tuple[int, ...], factor: float, keeper: OnlineKeeper) -> Outline:
        """Run the first step for what shapes do not tell."""
        while True:
            blocks = head.blocks(closures, Loops(self.budget, self.depth + 1))
            state = head.take(blocks, keeper)
            try:
                room = keeper.budget - keeper.residency.live
                joint, made = blocks.trial(state, lambda made, c=closures: _cotangents(made, c, head), room)
                break
            except Unforeseen as error:
                if error.array._level is not head.tape:
                    raise
                closures += (error.array._slot,)
            finally:
                blocks.values, blocks.xs = {}, ()
                del state
        keeper.executor.ledger.peak = max(keeper.executor.ledger.peak, keeper.executor.ledger.live + blocks.ledger.peak)
        keeper.residency.peak = max(keeper.residency.peak, keeper.executor.ledger.peak)
        length = head.body.length
        one = _Measured(joint)
        steps = 1 if length is None else max(min(_SMALL_TAPE // max(one.peak, 1), _MOST_STEPS, length - 1), 1)
        most = int(max(steps * one.peak, LEAST_BLOCK) * factor)
        rung = Rung(steps, most, steps * one.seconds / 3, most, steps * one.seconds)
        return self._made(head, closures, made, length or _GUESSED_LENGTH, (rung,), {})

    def _made(
        self,
        head: _Head,
        closures: tuple[int, ...],
        made: Forward,
        length: int,
        rungs: tuple[Rung, ...],
        programs: dict,
    ) -> Outline:
        results, state_bytes = head.results(made)
        slots = dict.fromkeys(slot for slot in (*head.starts, *head.xs, *closures) if slot is not None)
        tape = head.tape
        gradient_bytes = sum(tape.phantoms[slot].nbytes for slot in slots if tape.active[slot])
        costs = LoopCosts(
            length,
            state_bytes,
            sum(result.nbytes for result in results if not result.is_plain),
            gradient_bytes,
            rungs,
            is_open=head.body.length is None,
        )
        keeper = tape.keeper
        room = keeper.budget - keeper.residency.live - costs.gradient_bytes if isinstance(keeper, OnlineKeeper) else 0
        share: Share = costs.cheapest(room / 2 if costs.is_open else 0.9 * room)
        tree = made.outputs[0][1] if made.outputs else trees.flatten(None)[1]
        return Outline(head.signature(), costs, share, closures, results, tree, programs)


class _Head:
    """A loop where it stands on its tape: what it does, and what comes in."""

    def __init__(self, tape: Tape, body: Body, form: Form, leaves: list) -> None:
        self.tape = tape
        self.body = body
        self.form = form
        self.leaves = leaves
        self.starts = tuple(self._slot(leaf) for leaf in leaves)
        self.xs = tuple(self._slot(x) for x in body.xs)

    def _slot(self, leaf: Any) -> int | None:
        return leaf._slot if type(leaf) is Array and leaf._level is self.tape else None

    def signature(self) -> tuple:
        """Return what must be equal for another call's loop to be this one."""
        body, form = self.body, self.form
        xs = tuple((x.shape, x.dtype) for x in body.xs)
        return (
            body.name, body.length, body.start, body.condition is None, form.treedef, tuple(form.kinds), body.xs_tree, xs,
            self.starts, self.xs, self.start().kinds,
        )  # fmt: skip

    def start(self) -> State:
        """Return the first carry, with phantoms for what is traced."""
        tape = self.tape
        values = [leaf if s is None else tape.phantoms[s] for leaf, s in zip(self.leaves, self.starts, strict=True)]
        kinds = [
            (PLAIN, False) if s is None else (ACTIVE if tape.active[s] else TRACED, is_number(leaf))
            for leaf, s in zip(self.leaves, self.starts, strict=True)
        ]
        return State(values, tuple(kinds))

    def frame(self, closures: tuple[int, ...]) -> Frame:
        """Return what all blocks share."""
        return Frame(self.body, self.form, self.tape, self.starts, self.xs, closures)

    def blocks(self, closures: tuple[int, ...], loops: Loops) -> Blocks:
        """Return what runs blocks by shapes."""
        blocks = Blocks(self.frame(closures), {}, loops, {})
        blocks.values = {slot: self.tape.phantoms[slot] for slot in closures}
        blocks.xs = [x if slot is None else self.tape.phantoms[slot] for x, slot in zip(self.body.xs, self.xs, strict=True)]
        return blocks

    def take(self, blocks: Blocks, keeper: OnlineKeeper) -> State:
        """Give the blocks the arrays themselves, all of them in memory at once; return the first carry."""
        slots = [slot for slot in (*self.starts, *self.xs, *blocks.values) if slot is not None]
        keeper.bring(slots)
        resolve = keeper.executor.resolve
        blocks.values = {slot: resolve(slot) for slot in blocks.values}
        blocks.xs = [x if slot is None else resolve(slot) for x, slot in zip(self.body.xs, self.xs, strict=True)]
        start = self.start()
        values = [v if slot is None else resolve(slot) for v, slot in zip(start.values, self.starts, strict=True)]
        return State(values, start.kinds)

    def results(self, made: Forward) -> tuple[list[ResultKind], int]:
        """Return what the results are like, and the bytes of a carry."""
        found = []
        for (shape, dtype), (kind, is_scalar) in zip(self.form.kinds, made.state.kinds, strict=True):
            found.append(ResultKind(shape, dtype, kind == PLAIN, kind == ACTIVE, is_scalar))
        state_bytes = sum(result.nbytes for result in found)
        if self.body.condition is None:
            leaves = made.outputs[-1][0]
            for leaf, is_traced, is_active in zip(leaves, made.traced, made.active, strict=True):
                leaf = leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf)
                found.append(ResultKind((self.body.length or 0, *leaf.shape), leaf.dtype, not is_traced, is_active, False))
        return found, state_bytes

    def recorded(self, outline: Outline, loops: Loops, journals: dict) -> tuple[Any, Any]:
        """Record the loop's call and its results; raises what its steps raise."""
        tape = self.tape
        arrays: list[Any] = []
        numbers: dict[int, int] = {}

        def operand(array: Any) -> int:
            if type(array) is not Array:
                arrays.append(array)
                return len(arrays) - 1
            if array._slot not in numbers:
                numbers[array._slot] = len(arrays)
                arrays.append(array)
            return numbers[array._slot]

        starts = tuple(operand(leaf) for leaf in self.leaves)
        xs = tuple(operand(x) for x in self.body.xs)
        closures = {slot: operand(traced(tape, slot, None)) for slot in outline.closures}
        frame = self.frame(outline.closures)
        runner = LoopRunner(outline, frame, Operands(starts, xs, closures), self.start(), loops, journals)
        if isinstance(tape.keeper, Follower):
            runner.share = tape.keeper.next_share()
        bundle = tape.record(LOOP, (runner, *arrays))
        made = []
        for number, kind in enumerate(outline.results):
            if kind.is_plain:
                if len(runner.results) <= number:
                    raise NeedsValueError("a loop's result is a number that its steps compute, which shapes do not tell")
                made.append(runner.results[number])
                continue
            large = kind.nbytes > 4 * outline.costs.state_bytes and number >= len(starts)
            op = PART if kind.is_active and large else COPIED_PART if kind.is_active else CONSTANT_PART
            part = tape.record(op, (bundle,), {"number": number, "shape": kind.shape, "dtype": kind.dtype})
            made.append(part if kind.is_number else as_memory(part))
        count = len(starts)
        return self.form.tree(made[:count]), trees.unflatten(outline.output_tree, made[count:])


class _Measured:
    """What a block's program takes: its peak with everything kept, or nearly the least, and the seconds of that."""

    def __init__(self, block: BlockProgram, *, is_least: bool = False) -> None:
        program = block.known.program
        if is_least:
            plan = small_plan(program)
        else:
            plan = PLANNERS["keep_all"](program, float("inf"))
            assert plan is not None
        self.peak = plan.projected_peak_bytes
        self.seconds = plan.work_seconds


def _rung(steps: int, forward: _Measured, reverse: _Measured, factor: float) -> Rung:
    most = [int(max(measured.peak, LEAST_BLOCK) * factor) for measured in (forward, reverse)]
    return Rung(steps, most[0], forward.seconds, most[1], reverse.seconds)


def _cotangents(made: Forward, closures: tuple[int, ...], head: _Head) -> Cotangents:
    """Return phantoms of all cotangents that can go into the reverse of a block."""
    tape = head.tape
    carry = tuple(
        contiguous(np.shape(value), value.dtype) if kind == ACTIVE else None
        for value, (kind, _) in zip(made.state.values, made.state.kinds, strict=True)
    )
    outputs = tuple(
        {
            j: contiguous(leaf.shape, leaf.dtype)
            for j, (leaf, is_active) in enumerate(zip(leaves, made.active, strict=True))
            if is_active and isinstance(leaf, np.ndarray)
        }
        for leaves, _ in made.outputs
    )
    before = {slot: contiguous(tape.shapes[slot], tape.dtypes[slot]) for slot in sorted(closures) if tape.active[slot]}
    return Cotangents(carry, outputs, before)
