"""Calls: the lines of a tape, kept in columns, so that a call takes tens of bytes and nothing for the garbage collector."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, overload

from .op import Op
from .parameters import is_same

Call = tuple[Op, tuple[int, ...], dict | None, int]


class Calls(Sequence[Call]):
    """A sequence of ``(op, input slots, parameters, output slot)`` that can only grow, or lose its last item.

    An item is put together when it is asked for. Output slots rise from call to call.
    """

    __slots__ = ("_ops", "_inputs", "_ends", "_parameters", "outputs")

    def __init__(self) -> None:
        self._ops: list[Op] = []
        self._inputs = array("i")
        self._ends = array("i")  # where each call's inputs end among all inputs
        self._parameters: list[dict | None] = []
        self.outputs = array("i")

    def append(self, call: Call) -> None:
        """Add a call."""
        op, inputs, parameters, output = call
        self._ops.append(op)
        self._inputs.extend(inputs)
        self._ends.append(len(self._inputs))
        self._parameters.append(parameters)
        self.outputs.append(output)

    def pop(self) -> None:
        """Take back the last call."""
        self._ops.pop()
        self._ends.pop()
        self._parameters.pop()
        self.outputs.pop()
        del self._inputs[self._ends[-1] if self._ends else 0 :]

    def first(self, count: int) -> Calls:
        """Return the first `count` calls as calls of their own."""
        cut = Calls()
        cut._ops = self._ops[:count]
        cut._ends = self._ends[:count]
        cut._inputs = self._inputs[: cut._ends[-1] if cut._ends else 0]
        cut._parameters = self._parameters[:count]
        cut.outputs = self.outputs[:count]
        return cut

    def begins_like(self, other: Calls, count: int) -> bool:
        """Tell whether the first `count` calls of both are the same: ops, slots and parameters."""
        end = self._ends[count - 1] if count else 0
        return (
            self._ops[:count] == other._ops[:count]
            and self._ends[:count] == other._ends[:count]
            and self._inputs[:end] == other._inputs[:end]
            and self.outputs[:count] == other.outputs[:count]
            and all(map(is_same, self._parameters[:count], other._parameters[:count]))
        )

    def __len__(self) -> int:
        return len(self._ops)

    @overload
    def __getitem__(self, number: int) -> Call: ...
    @overload
    def __getitem__(self, number: slice) -> list[Call]: ...
    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[k] for k in range(*number.indices(len(self)))]
        if number < 0:
            number += len(self._ops)
        ends = self._ends
        inputs = self._inputs[ends[number - 1] if number else 0 : ends[number]]
        return self._ops[number], tuple(inputs), self._parameters[number], self.outputs[number]

    def __iter__(self) -> Iterator[Call]:
        inputs = iter(self._inputs)
        start = 0
        for op, end, parameters, output in zip(self._ops, self._ends, self._parameters, self.outputs, strict=True):
            yield op, tuple(islice(inputs, end - start)), parameters, output
            start = end
