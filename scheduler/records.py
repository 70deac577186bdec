"""Records: the bytes that a program's own records count for, and the error for a program whose records pass its budget."""

from __future__ import annotations

from collections.abc import Callable

from ..checkpoint.errors import MemoryBudgetError
from ..checkpoint.units import format_bytes
from ..runtime.tape import ShapesOnly

_RECORD_BYTES = 640
_UNCOUNTED_BYTES = 8 * 2**20
CALLS_AT_ONCE = 256


def record_bytes(calls: int) -> int:
    """Return the bytes that the records of a program of so many calls count for: tape, lowering, policy, plan and script.

    The first 8 MiB are not counted: with what is loaded, and planning's own lists, they stay within the resident set's noise.
    """
    return max(0, calls * _RECORD_BYTES - _UNCOUNTED_BYTES)


def require_room(calls: int, budget: float, besides: int) -> None:
    """Raise `MemoryBudgetError` where the records of so many calls pass `budget` bytes, with `besides` needed too."""
    records = record_bytes(calls)
    needed = records + besides
    if records and needed > budget:
        raise MemoryBudgetError(
            f"the program needs at least {format_bytes(needed)} ({needed} bytes), the budget is {format_bytes(int(budget))} "
            f"({int(budget)} bytes). {format_bytes(records)} of that are the records of {calls} calls: loop with "
            "retape.scan or retape.fori_loop, which record one step at a time, or raise the budget",
            needed_bytes=needed,
            budget_bytes=int(budget),
        )


class Counting(ShapesOnly):
    """The keeper of a reverse sweep that is recorded by shapes alone, while what the forward sweep has made is in memory.

    `count` is told of so many calls before they are there, and makes room for their records.
    """

    def __init__(self, count: Callable[[int], None]) -> None:
        self.count = count

    def admit(self, call: int) -> None:
        """Make room for the records of the calls to come."""
        if call % CALLS_AT_ONCE == 0:
            self.count(call + CALLS_AT_ONCE)
