"""Prints a table of rows of text: with rules and colour on a terminal, plain elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

_PLAIN_WIDTH = 200
_console = Console(highlight=False)
if not _console.is_terminal:
    _console = Console(highlight=False, width=_PLAIN_WIDTH)


def say(text: str) -> None:
    """Print a line."""
    _console.print(text, markup=False)


def table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    texts: int = 1,
    notes: Sequence[str] = (),
) -> None:
    """Print a table: texts to the left, figures to the right, notes below."""
    made = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for position, column in enumerate(columns):
        made.add_column(column, justify="right" if position >= texts else "left", no_wrap=True)
    for row in rows:
        made.add_row(*row)
    _console.print()
    _console.print(made)
    for note in notes:
        say(f"  {note}")


def ratio(value: float | None, *, digits: int = 2) -> str:
    """A ratio as text; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}x"
