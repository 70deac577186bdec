"""The reverse of one loop on its way: cotangents of its carry, of what its steps use, and of its items, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime.loops.on_tape import Bundle
from .parts import Cotangents, State

if TYPE_CHECKING:
    from .runner import LoopRunner


class Sweep:
    """The reverse of one loop on its way: the cotangents of the carry, of closures and of the xs so far."""

    def __init__(
        self,
        runner: LoopRunner,
        blocks: int,
        operands: Sequence,
        seeds: dict[int, Any],
        before: dict[int, Any],
        wanted: Sequence[int],
    ) -> None:
        self.runner = runner
        self.operands = operands
        self.wanted = wanted
        self.stop = blocks  # those from here on are reversed
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
        self.stop = block
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
