"""Makes a live line, or plain lines where there is no terminal, from a run's metrics rows."""

import time
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ..checkpoint.units import format_bytes

_PLAIN_SECONDS = 10.0


class ProgressLine:
    """A context manager that shows the rows it is given; ``goal`` is the name of the validation figure to
    show."""

    def __init__(self, *, steps: int, unit: str, goal: str) -> None:
        """Nothing is shown before the first row."""
        self.steps, self.unit, self.goal = steps, unit, goal
        self._console = Console()
        self._live: Progress | None = None
        self._task: Any = None
        self._latest: dict[str, Any] = {}
        self._printed = 0.0

    def __enter__(self) -> "ProgressLine":
        """Starts the live line on a terminal."""
        if self._console.is_terminal:
            self._live = Progress(
                TextColumn("step {task.completed}/{task.total}"),
                BarColumn(bar_width=None),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the line, leaving its last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def say(self, sentence: str) -> None:
        """Prints a sentence above the line."""
        self._console.print(sentence, markup=False, highlight=False, soft_wrap=True)

    def row(self, row: dict[str, Any]) -> None:
        """Takes one metrics row: a step's, a validation's, or a warning."""
        if "warning" in row:
            self.say(f"step {row['step']}: {row['warning']}")
            return
        self._latest.update(row)
        text = self._text()
        if self._live is not None:
            if self._task is None:
                self._task = self._live.add_task(text, total=self.steps)
            self._live.update(self._task, completed=row["step"], description=text)
        elif self.goal in row or time.monotonic() - self._printed > _PLAIN_SECONDS:
            self._printed = time.monotonic()
            self.say(f"step {row['step']}/{self.steps}  {text}")

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
