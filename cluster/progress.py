"""Makes a live line, or plain lines where there is no terminal, from a run's metrics rows."""

import time
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..checkpoint.units import format_bytes
from .phases import by_rank, mean_phases

_PLAIN_SECONDS = 10.0
# Times are means over the last steps; a table of more workers would not stay on the screen.
_STEPS, _WORKERS = 50, 16
_LIVE_SECONDS, _SHOWN_SHARE = 0.25, 0.01


class ProgressLine:
    """A context manager that shows the rows it is given: a line, and on a terminal the workers below it.

    ``goal`` is the name of the validation figure to show.
    """

    def __init__(self, *, steps: int, unit: str, goal: str) -> None:
        """Nothing is shown before the first row."""
        self.steps, self.unit, self.goal = steps, unit, goal
        self._console = Console()
        self._live: Live | None = None
        self._progress = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(bar_width=None),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._task: Any = None
        self._steps: deque[dict[str, Any]] = deque(maxlen=_STEPS)
        self._latest: dict[str, Any] = {}
        self._printed = 0.0

    def __enter__(self) -> "ProgressLine":
        """Starts the live line on a terminal."""
        if self._console.is_terminal:
            self._live = Live(self._progress, console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the line, leaving its last state on the screen."""
        if self._live is not None:
            self._show()
            self._live.stop()

    def say(self, sentence: str) -> None:
        """Prints a sentence above the line, if anybody reads it and there is room for it."""
        # rich ends a process whose reader is gone; a run outlives it, and a log on a full disk.
        with suppress(OSError, SystemExit):
            self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def row(self, row: dict[str, Any]) -> None:
        """Takes one metrics row: a step's, a validation's, or a warning."""
        if "warning" in row:
            self.say(f"step {row['step']}: {row['warning']}")
            return
        self._latest.update(row)
        if "step_seconds" in row:
            self._steps.append(row)
        if self._live is not None:
            if self._task is None:
                self._task = self._progress.add_task("", total=self.steps)
            if time.monotonic() - self._printed > _LIVE_SECONDS:
                self._printed = time.monotonic()
                self._show()
            self._progress.update(self._task, completed=row["step"])
        elif self.goal in row or time.monotonic() - self._printed > _PLAIN_SECONDS:
            self._printed = time.monotonic()
            self.say(f"step {row['step']}/{self.steps}  {self._text()}  {self._phases()}".rstrip())

    def _show(self) -> None:
        if self._live is not None and self._task is not None:
            self._progress.update(self._task, description=self._text())
            self._live.update(Group(self._progress, Text(self._phases()), *self._workers()))

    def _text(self) -> str:
        row = self._latest
        parts = []
        if "loss" in row:
            parts.append(f"loss {row['loss']:.3f}")
        if self.goal in row:
            parts.append(f"{self.goal.removeprefix('val_').replace('_', ' ')} {row[self.goal]:.3f}")
        if "tokens_per_second" in row:
            parts.append(f"{row['tokens_per_second']:,.0f} {self.unit}/s")
        if row.get("peak_bytes") is not None:
            parts.append(f"peak {format_bytes(row['peak_bytes'])} of {format_bytes(row['budget_bytes'])}")
        return "  ".join(parts)

    def _phases(self) -> str:
        if not self._steps:
            return ""
        shares = mean_phases(self._steps).shares()
        return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share >= _SHOWN_SHARE)

    def _workers(self) -> list[Table]:
        """A table of the workers, where there are several."""
        ranks = by_rank(self._steps)
        if len(ranks) < 2:
            return []
        table = Table(box=None, pad_edge=False)
        for column in ("worker", "gradients", "waits", "last in"):
            table.add_column(column, justify="right")
        for rank in sorted(ranks, key=lambda rank: -rank.slowest_share)[:_WORKERS]:
            waits = f"{rank.gradient_seconds * 1e3:.1f} ms", f"{rank.wait_seconds * 1e3:.1f} ms"
            table.add_row(str(rank.rank), *waits, f"{rank.slowest_share:.0%}")
        return [table]
