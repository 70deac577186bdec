"""The executor: runs actions on arrays. It knows calls, buffers and the ledger; no plans, policies or terminals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..checkpoint.residency import Drop, Step
from ..runtime.op import Op
from ..runtime.tape import Tape
from .buffers import Ledger
from .lowering import Lowering


class Executor:
    """Holds the values in memory for one run of a tape, and makes and frees them as told.

    `ledger.live` is what its values and the captured constants take now.
    """

    def __init__(self, lowering: Lowering, ledger: Ledger) -> None:
        self.lowering = lowering
        self.tape: Tape = lowering.tape
        self.ledger = ledger
        self.values: dict[int, Any] = {}
        self.runs: dict[int, int] = {}

    def perform(self, steps: Iterable[Step], limit: int) -> None:
        """Carry out steps in order; idle buffers stay within `limit` bytes, values in memory included."""
        for step in steps:
            if isinstance(step, Drop):
                self.free(step.value)
            else:
                self.make(step.value, step.overwrites, limit)

    def make(self, value: int, overwrites: int, limit: int) -> None:
        """Run the call of `value`, into the buffer of the value `overwrites` unless -1; idle buffers stay within `limit`."""
        again = value in self.runs
        self.runs[value] = self.runs.get(value, 0) + 1
        program = self.lowering.program
        op, inputs, parameters, output = self.tape.calls[self.lowering.call_of[value]]
        size, workspace = program.sizes[value], program.workspaces[value]
        if overwrites >= 0:
            made = self._overwrite(op, inputs, parameters, overwrites)
            if made is not None:
                self.ledger.admit(limit, workspace)
                self.values[value] = made
                return
        args = [self.resolve(slot) for slot in inputs]
        layout = self.tape.phantoms[output]
        fills = op.run_into is not None and not op.reads_target and layout.flags.c_contiguous
        out = self.ledger.take(layout.shape, layout.dtype, size) if fills else None
        self.ledger.admit(limit, size + workspace)
        if out is not None:
            made = op.run_into(out, *args, **(parameters or {}))  # pyright: ignore[reportOptionalCall]
        elif again:
            with np.errstate(all="ignore"):
                made = op.run(*args, **(parameters or {}))
        else:
            made = op.run(*args, **(parameters or {}))
        if op.is_view and isinstance(made, np.ndarray) and made.base is not None:
            made = made.copy()  # planned as a copy, so it must own its memory
        self.values[value] = made
        self.ledger.count(made.nbytes)
        if overwrites >= 0:
            self.free(overwrites)

    def _overwrite(self, op: Op, inputs: tuple[int, ...], parameters: dict | None, victim: int) -> Any:
        """Run an op into the buffer of one of its inputs; None where the array turns out not to be ours to write."""
        position = op.overwrites
        assert position is not None and op.run_into is not None
        target = self.values.pop(victim)
        is_own = self.ledger.is_own(target)
        self.values[victim] = target
        if not is_own:
            return None
        args = [self.resolve(slot) for slot in inputs]
        made = op.run_into(target, *args, **(parameters or {}))
        del self.values[victim]
        return made

    def free(self, value: int) -> None:
        """Free the buffer of `value`."""
        array = self.values.pop(value)
        self.ledger.release(array, array.nbytes)

    def resolve(self, slot: int) -> Any:
        """Return the array in `slot`: an argument, a constant, a value in memory, or a view of one."""
        tape = self.tape
        held = tape.values[slot]
        if held is not None:
            return held
        chain = []
        while tape.aliases[slot] >= 0:
            number = self.call_of_slot(slot)
            chain.append(number)
            slot = tape.calls[number][1][0]
            if tape.values[slot] is not None:
                break
        array = tape.values[slot] if tape.values[slot] is not None else self.values[self.lowering.value_of[slot]]
        for number in reversed(chain):
            op, _, parameters, _ = tape.calls[number]
            array = op.run(array, **(parameters or {}))
        return array

    def call_of_slot(self, slot: int) -> int:
        """Return the number of the call that makes `slot`."""
        return self.lowering.call_of_slot[slot]
