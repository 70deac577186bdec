"""Makes a run's metrics rows last: every worker keeps the newest in memory, and the first rank writes them to a file.

All workers make the same rows, so that whoever becomes the first rank after a fault can complete the file.
"""

from collections import deque
from pathlib import Path
from typing import Any

from .metrics import METRICS_NAME, MetricsFile, read_rows

Row = dict[str, Any]
_KEPT = 2048


def identity(row: Row) -> tuple[int, str]:
    """What a row is known by: its step, and whether it tells of the step, of a validation or of which mishap."""
    return row["step"], "loss" if "loss" in row else row.get("warning", "validation")


class Rows:
    """The rows of the run in ``out``, as one worker has them."""

    def __init__(self, out: Path) -> None:
        """Holds no rows, and touches no file before :meth:`open`."""
        self._path = out / METRICS_NAME
        self._kept: deque[Row] = deque(maxlen=_KEPT)
        self._file: MetricsFile | None = None

    def since(self, step: int) -> tuple[Row, ...]:
        """The rows of ``step`` and the steps after it, as far as they are kept."""
        return tuple(row for row in self._kept.copy() if row["step"] >= step)

    def take_over(self, rows: tuple[Row, ...]) -> None:
        """Goes on from another worker's rows."""
        self._kept = deque(rows, maxlen=_KEPT)

    def keep_until(self, step: int) -> None:
        """Forgets the rows after ``step``: its worker goes back there."""
        self.take_over(tuple(row for row in self._kept if row["step"] <= step))

    def open(self, step: int) -> None:
        """Becomes the writer of the file: rows after ``step`` are dropped, and those that are missing are added."""
        self.close()
        self._file = MetricsFile(self._path, step=step)
        written = {identity(row) for row in read_rows(self._path)}
        for row in self._kept:
            if row["step"] <= step and identity(row) not in written:
                self._file.write(row)

    def record(self, row: Row) -> None:
        """Takes a row, unless it is known already, and writes it where this worker is the writer."""
        # From the newest back: a look at all that are kept would cost more than the rest of a step's bookkeeping.
        for known in reversed(self._kept):
            if known["step"] < row["step"]:
                break
            if identity(known) == identity(row):
                return
        self._kept.append(row)
        if self._file is not None:
            self._file.write(row)

    def close(self) -> None:
        """Is no longer the writer of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
