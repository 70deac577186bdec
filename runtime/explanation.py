"""The explanation: a table of what ops or lines cost in time and memory, from measured rows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from .text import format_bytes, format_seconds, shortened, table

_MOST_ROWS = 24
_MOST_LINES = 5
_MOST_SOURCE = 64
_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Row:
    """What the calls of one op, or of one line, cost.

    `reverse_seconds` is what their steps of the reverse sweep take, `output_bytes` the memory that they make (views make
    none), and `residual_bytes` what of it is held for the reverse sweep. `share` is of the time of all ops.
    """

    name: str
    calls: int
    forward_seconds: float
    reverse_seconds: float
    output_bytes: int
    residual_bytes: int
    share: float
    source: str = ""

    @property
    def seconds(self) -> float:
        """The time of both sweeps."""
        return self.forward_seconds + self.reverse_seconds


@dataclass(frozen=True, slots=True)
class Explanation:
    """Rows by op or by line, the most costly first; `print` shows them with totals.

    `ops_seconds` is the sum of the rows, `whole_seconds` what the same takes when nobody measures inside: a gradient, or
    where the output is not a real scalar (`has_reverse` is False) the forward sweep. `record_bytes` is the trail's own
    memory, `captured_bytes` that of the plain arrays which it keeps read-only, the caller's included.
    """

    by: str
    rows: tuple[Row, ...]
    lines: tuple[Row, ...]
    ops_seconds: float
    whole_seconds: float
    record_bytes: int
    captured_bytes: int
    rounds: int
    has_reverse: bool

    @property
    def calls(self) -> int:
        """The number of calls of the forward sweep."""
        return sum(row.calls for row in self.rows)

    @property
    def residual_bytes(self) -> int:
        """The bytes made by the program that are held for the reverse sweep."""
        return sum(row.residual_bytes for row in self.rows)

    def __str__(self) -> str:
        total = Row(
            f"all {self.calls} calls",
            self.calls,
            sum(row.forward_seconds for row in self.rows),
            sum(row.reverse_seconds for row in self.rows),
            sum(row.output_bytes for row in self.rows),
            self.residual_bytes,
            1.0 if self.rows else 0.0,
        )
        text = _as_table(self.rows, self.by, _MOST_ROWS, total)
        text += ["", *textwrap.wrap(self._about_time(), _WIDTH)]
        text += textwrap.wrap(
            f"The reverse sweep holds {format_bytes(self.residual_bytes)} that the program made, "
            f"{format_bytes(self.captured_bytes)} of captured plain arrays and {format_bytes(self.record_bytes)} of records.",
            _WIDTH,
        )
        if self.by == "op" and self.lines:
            text += ["", "Heaviest lines:", *_as_table(self.lines, "line", _MOST_LINES, None)]
        return "\n".join(text)

    def _about_time(self) -> str:
        whole, ops = self.whole_seconds, self.ops_seconds
        what = "a gradient" if self.has_reverse else "the forward sweep"
        text = f"{what[0].upper()}{what[1:]} takes {format_seconds(whole)} (median of {self.rounds} runs); its ops"
        if ops <= whole:
            share = (whole - ops) / whole if whole else 0.0
            rest = "recording, Python between the ops, and plain NumPy that meets no traced array"
            text += f" take {format_seconds(ops)}. The other {format_seconds(whole - ops)} ({share:.0%}) are {rest}."
        else:
            text += (
                f" took {format_seconds(ops)} when measured one by one, {ops / whole - 1:.0%} more: "
                "differences of that size between rows are noise."
            )
        if not self.has_reverse:
            text += " There is no reverse sweep: the output is not a real scalar."
        return text


def _as_table(rows: Sequence[Row], by: str, most: int, total: Row | None) -> list[str]:
    cells = [[by, "calls", "forward", "reverse", "share", "output", "held", ""]]
    shown = [*rows[:most], *([total] if total else [])]
    for row in shown:
        times = [format_seconds(row.forward_seconds), format_seconds(row.reverse_seconds), f"{row.share:.1%}"]
        sizes = [format_bytes(row.output_bytes), format_bytes(row.residual_bytes)]
        cells.append([row.name, str(row.calls), *times, *sizes, shortened(row.source, _MOST_SOURCE)])
    text = table(cells, "lrrrrrrl")
    if total:
        text.insert(-1, "-" * max(map(len, text)))
    if len(rows) > most:
        text.insert(most + 1, f"... {len(rows) - most} more")
    return text
