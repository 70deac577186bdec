"""From a tape to the planner's program: storages become values, ops become bytes and seconds."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import replace
from typing import Any

from ..checkpoint.program import Loop, Program
from ..runtime.loops.on_tape import LOOP, REVERSE
from ..runtime.op import Op
from ..runtime.tape import Tape

_BYTES_PER_SECOND = 8e9
_FLOPS_PER_SECOND = 1e10
_FLOPS_PER_SECOND_BLAS = 6e10
LEAST_SPILLED = 64 * 1024
_SECONDS_PER_CALL = 2e-6
_BLAS = frozenset(["matmul", "solve", "inv"])
_MOST_KINDS = 4096


class Lowering:
    """Follows a growing tape: `program`, the value of each slot (-1 for inputs and constants), the call of each value."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.program = Program()
        self.value_of: list[int] = []  # the program's inputs are made of these numbers: they are not made anew for it
        self.call_of = array("i")
        self.loops: dict[int, Loop] = {}  # by the slot of what runs them
        self._calls = 0
        self._kinds: dict[Any, tuple] = {}
        self._lines: dict[int, tuple[str, Any]] = {}

    def add_calls(self) -> None:
        """Take in the calls recorded since the last time."""
        for number in range(self._calls, len(self.tape.calls)):
            self.add_call(number)

    def add_call(self, number: int) -> int:
        """Lower one call and return its value, or -1 for a view (which shares its base's)."""
        tape, value_of = self.tape, self.value_of
        op, inputs, parameters, output = tape.calls[number]
        if len(value_of) <= output:
            value_of.extend([-1] * (output + 1 - len(value_of)))
        self._calls = number + 1
        alias = tape.aliases[output]
        if alias >= 0:
            value_of[output] = value_of[alias]
            return -1
        made = tape.phantoms[output]
        phantoms = [tape.phantoms[slot] for slot in inputs]
        size, cost, workspace = self._costs(op, made, phantoms, parameters)
        values: Any = [value_of[slot] for slot in inputs]
        if len(values) > 1 or values and values[0] < 0:
            values = dict.fromkeys([v for v in values if v >= 0])
        value = value_of[output] = self.program.add(
            size,
            tuple(values),
            cost=cost,
            workspace=workspace,
            overwrites=self._overwritable(op, inputs, made),
            label=op.name,
            line=self._line(number),
        )
        self.call_of.append(number)
        if op is LOOP or op is REVERSE:
            self._note_loop(op, inputs[0], value)
        return value

    def _note_loop(self, op: Op, runner: int, value: int) -> None:
        if op is LOOP:
            outline = self.tape.phantoms[runner]
            self.loops[runner] = Loop(value, -1, outline.costs, outline.share)
        else:
            self.loops[runner] = replace(self.loops[runner], reverse=value)

    def close(self, outputs: tuple[int, ...], held_bytes: int) -> None:
        """Complete the program: nothing is added any more."""
        loops = tuple(self.loops.values())
        program = replace(self.program, outputs=outputs, held_bytes=held_bytes, loops=loops)
        self.program = program.with_shares([loop.share for loop in loops]) if loops else program

    def share_out(self, values: list[Any]) -> None:
        """Tell the loops of a call, which are among its `values`, which share of the budget the program gives them."""
        for slot, loop in zip(self.loops, self.program.loops, strict=True):
            values[slot].share = loop.share

    def value(self, slot: int) -> int:
        """Return the value in a slot, or -1 for an input or a constant."""
        return self.value_of[slot] if slot < len(self.value_of) else -1

    def until(self, calls: int, tape: Tape) -> Lowering:
        """Return the lowering of the first `calls` calls, for `tape` to go on from there."""
        cut = Lowering(tape)
        cut._calls = calls
        cut.call_of = self.call_of[: bisect_left(self.call_of, calls)]
        cut.value_of = self.value_of[: self.tape.calls.outputs[calls - 1] + 1 if calls else 0]
        cut.program = self.program.until(len(cut.call_of))
        made = len(cut.call_of)
        cut.loops = {
            slot: replace(loop, reverse=-1, share=now.share)
            for (slot, loop), now in zip(self.loops.items(), self.program.loops, strict=True)
            if loop.states < made
        }
        return cut

    def take_back(self) -> None:
        """Forget the last call: it failed. The tape still has it."""
        self._calls -= 1
        output = self.tape.calls.outputs[self._calls]
        if self.tape.aliases[output] < 0:
            self.call_of.pop()
            self.program.pop()
            self.loops = {slot: loop for slot, loop in self.loops.items() if loop.states < len(self.call_of)}
        del self.value_of[output:]

    def _line(self, number: int) -> str:
        where = self.tape.lines[number]
        found = self._lines.get(id(where))
        if found is None:
            found = self._lines[id(where)] = self.tape.line(number), where
        return found[0]

    def _costs(self, op: Op, made: Any, phantoms: list, parameters: dict | None) -> tuple[int, float, int]:
        """Return bytes, seconds and workspace bytes of a call; looked up where a call without parameters was like it."""
        if parameters is not None or op.is_variadic:
            workspace = op.workspace(made, *phantoms, **(parameters or {})) if op.workspace is not None else 0
            return made.nbytes, _seconds(op, made, phantoms, parameters), workspace
        # Phantoms of one layout are mostly one object. The table holds them, so that no other takes a number over.
        key = (op, *[id(phantom) for phantom in phantoms])
        found = self._kinds.get(key)
        if found is None:
            workspace = op.workspace(made, *phantoms) if op.workspace is not None else 0
            found = made.nbytes, _seconds(op, made, phantoms, None), workspace, phantoms
            if len(self._kinds) < _MOST_KINDS:
                self._kinds[key] = found
        return found[:3]

    def may_spill(self) -> bytearray:
        """Tell by value whether it can be written to disk as it lies: large, and in one piece."""
        marks = bytearray(len(self.program))
        for value, number in enumerate(self.call_of):
            op, _, _, output = self.tape.calls[number]
            if op is LOOP or op is REVERSE:
                continue
            flags = self.tape.phantoms[output].flags
            marks[value] = self.program.sizes[value] >= LEAST_SPILLED and (flags.c_contiguous or flags.f_contiguous)
        return marks

    def _overwritable(self, op: Op, inputs: tuple[int, ...], made: Any) -> int:
        """Return the value of an input whose buffer the output could take over: of the same layout, and made by a call.

        In the forward sweep, and of complex numbers, only for updates in place: NumPy rounds complex products differently
        into a buffer that it reads from, and may do so with functions, but a budget changes no bit. Single numbers are made
        anew: they are no arrays.
        """
        if op.overwrites is None or op.run_into is None:
            return -1
        tape = self.tape
        slot = inputs[op.overwrites]
        value = self.value_of[slot]
        if value < 0 or tape.aliases[slot] >= 0:
            return -1
        is_reverse = bool(self.program.forward) and value >= self.program.forward
        if not op.reads_target and (not is_reverse or made.dtype.kind == "c" or not made.shape):
            return -1
        before = tape.phantoms[slot]
        same = before.shape == made.shape and before.dtype == made.dtype and before.strides == made.strides
        is_read_through_view = any(
            self.value_of[other] == value and other != slot for other in inputs if other < len(self.value_of)
        )
        return value if same and not is_read_through_view else -1


def _seconds(op: Op, made: Any, phantoms: list, parameters: dict | None) -> float:
    if op is LOOP:
        return phantoms[0].forward_seconds()
    if op is REVERSE:
        return phantoms[0].reverse_seconds()
    flops = op.flops(made, *phantoms, **(parameters or {})) if op.flops is not None else float(made.size)
    moved = made.nbytes + sum(getattr(p, "nbytes", 0) for p in phantoms)
    rate = _FLOPS_PER_SECOND_BLAS if op.name in _BLAS else _FLOPS_PER_SECOND
    return _SECONDS_PER_CALL + flops / rate + moved / _BYTES_PER_SECOND
