"""The steps of a plan: values are computed, dropped, written to disk and read back."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from operator import eq
from typing import Any, NamedTuple, overload


class Compute(NamedTuple):
    """Make `value`, in the buffer of the value `overwrites` if that is not -1."""

    value: int
    overwrites: int = -1


class Drop(NamedTuple):
    """Free the memory of `value`."""

    value: int


class Spill(NamedTuple):
    """Begin to write `value` to disk; it stays in memory, unchanged, until it is dropped."""

    value: int


class Load(NamedTuple):
    """Take memory for `value` and begin to read it back from disk."""

    value: int


Step = Compute | Drop | Spill | Load


class Steps(Sequence[Step]):
    """A sequence of steps that takes eight bytes each and can only grow; a step is put together when it is asked for."""

    __slots__ = ("_values", "_kinds")

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self._values = array("i")
        self._kinds = array("i")  # what a value overwrites, or -1; below that, what else is done with it
        self.extend(steps)

    def extend(self, steps: Iterable[Step]) -> None:
        """Add steps at the end."""
        for step in steps:
            self._values.append(step.value)
            self._kinds.append(step.overwrites if type(step) is Compute else _NUMBERS[type(step)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[Step]:
        for value, kind in zip(self._values, self._kinds, strict=True):
            yield Compute(value, kind) if kind >= -1 else _KINDS[kind](value)

    @overload
    def __getitem__(self, place: int) -> Step: ...
    @overload
    def __getitem__(self, place: slice) -> Steps: ...
    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            part = Steps()
            part._values, part._kinds = self._values[place], self._kinds[place]
            return part
        value, kind = self._values[place], self._kinds[place]
        return Compute(value, kind) if kind >= -1 else _KINDS[kind](value)


_NUMBERS: dict[type, int] = {Drop: -2, Spill: -3, Load: -4}
_KINDS: dict[int, Any] = {number: kind for kind, number in _NUMBERS.items()}
