"""A loop where it stands on a tape under a budget: what it does and what comes in, and how its call is recorded there."""

from __future__ import annotations

from typing import Any

import numpy as np

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
from .block import Blocks
from .outline import Outline, ResultKind
from .parts import ACTIVE, PLAIN, TRACED, Cotangents, Forward, Frame, Operands, State
from .runner import LoopRunner
from .states import Files


class Head:
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

    def blocks(self, closures: tuple[int, ...], loops: Any) -> Blocks:
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

    def recorded(self, outline: Outline, files: Files | None, inner: Any, journals: dict) -> tuple[Any, Any]:
        """Record the loop's call and its results; raises what its steps raise.

        States may be written into `files`; `inner` records what loops the steps have.
        """
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
        runner = LoopRunner(outline, frame, Operands(starts, xs, closures), self.start(), inner, journals)
        runner.files = files
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


def cotangents_of(made: Forward, closures: tuple[int, ...], head: Head) -> Cotangents:
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
