"""From a tape to the planner's program: storages become values, ops become bytes and seconds."""

from __future__ import annotations

from typing import Any

from ..checkpoint.program import Program
from ..runtime.op import Op
from ..runtime.tape import Tape

_BYTES_PER_SECOND = 8e9
_FLOPS_PER_SECOND = 1e10
_FLOPS_PER_SECOND_BLAS = 6e10
_SECONDS_PER_CALL = 2e-6
_BLAS = frozenset(["matmul", "solve", "inv"])


class Lowering:
    """Follows a growing tape: `program`, the value of each slot (-1 for inputs and constants), the call of each value."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.program = Program()
        self.value_of: list[int] = []
        self.call_of: list[int] = []
        self.call_of_slot: dict[int, int] = {}
        self._calls = 0

    def add_calls(self) -> None:
        """Take in the calls recorded since the last time."""
        tape = self.tape
        while self._calls < len(tape.calls):
            self.add_call(self._calls)

    def add_call(self, number: int) -> int:
        """Lower one call and return its value, or -1 for a view (which shares its base's)."""
        tape, value_of = self.tape, self.value_of
        op, inputs, parameters, output = tape.calls[number]
        value_of.extend([-1] * (output + 1 - len(value_of)))
        self.call_of_slot[output] = number
        alias = tape.aliases[output]
        if alias >= 0:
            value_of[output] = value_of[alias]
            self._calls = number + 1
            return -1
        phantoms = [tape.phantoms[slot] for slot in inputs]
        made = tape.phantoms[output]
        values = tuple(dict.fromkeys(v for slot in inputs if (v := value_of[slot]) >= 0))
        workspace = op.workspace(made, *phantoms, **(parameters or {})) if op.workspace is not None else 0
        value = self.program.add(
            made.nbytes,
            values,
            cost=_seconds(op, made, phantoms, parameters),
            workspace=workspace,
            overwrites=self._overwritable(op, inputs, made),
            label=op.name,
            line=tape.line(number),
        )
        value_of[output] = value
        self.call_of.append(number)
        self._calls = number + 1
        return value

    def _overwritable(self, op: Op, inputs: tuple[int, ...], made: Any) -> int:
        """Return the value of an input whose buffer the output could take over: of the same layout, and made by a call.

        In the forward sweep, and of complex numbers, only for updates in place: NumPy rounds complex products differently
        into a buffer that it reads from, and may do so with functions, but a budget changes no bit.
        """
        if op.overwrites is None or op.run_into is None:
            return -1
        tape = self.tape
        slot = inputs[op.overwrites]
        value = self.value_of[slot]
        if value < 0 or tape.aliases[slot] >= 0:
            return -1
        is_reverse = bool(self.program.forward) and value >= self.program.forward
        if not op.reads_target and (not is_reverse or made.dtype.kind == "c"):
            return -1
        before = tape.phantoms[slot]
        same = before.shape == made.shape and before.dtype == made.dtype and before.strides == made.strides
        is_read_through_view = any(
            self.value_of[other] == value and other != slot for other in inputs if other < len(self.value_of)
        )
        return value if same and not is_read_through_view else -1


def _seconds(op: Op, made: Any, phantoms: list, parameters: dict | None) -> float:
    flops = op.flops(made, *phantoms, **(parameters or {})) if op.flops is not None else float(made.size)
    moved = made.nbytes + sum(getattr(p, "nbytes", 0) for p in phantoms)
    rate = _FLOPS_PER_SECOND_BLAS if op.name in _BLAS else _FLOPS_PER_SECOND
    return _SECONDS_PER_CALL + flops / rate + moved / _BYTES_PER_SECOND
