"""Makes a run's metrics rows last: every worker keeps the newest in memory, and the first rank writes them to a file.

All workers make the same rows, so that whoever becomes the first rank after a fault can complete the file.
"""

import itertools
from collections import deque
from pathlib import Path
from typing import Any

from .metrics import METRICS_NAME, MetricsFile, read_tail

Row = dict[str, Any]
_KEPT = 2048
# The kept rows lie within the last of a file.
_TAIL_BYTES = 4 * 2**20


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
        self._is_failing = False

    def since(self, step: int) -> tuple[Row, ...]:
        """The rows of ``step`` and the steps after it, as far as they are kept."""
        newest = itertools.takewhile(lambda row: row["step"] >= step, reversed(self._kept.copy()))
        return tuple(newest)[::-1]

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
        tail = read_tail(self._path, tail_bytes=_TAIL_BYTES)
        written = {identity(row) for row in tail}
        # Older rows than those of the tail, if there are any, have been in the file for long.
        first = tail[0]["step"] if tail and self._path.stat().st_size > _TAIL_BYTES else -1
        for row in self._kept:
            if first <= row["step"] <= step and identity(row) not in written:
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
            self._tell(row["step"], self._file.failure)

    def _tell(self, step: int, failure: OSError | None) -> None:
        """Records once that the file cannot be written, and once that it can again."""
        if (failure is not None) == self._is_failing:
            return
        self._is_failing = failure is not None
        if failure is not None:
            text = (
                f"{self._path} cannot be written: {failure.strerror or failure}; training goes on, and the rows wait for room"
            )
        else:
            text = f"{self._path} is written again, and no row is missing"
        self.record({"step": step, "warning": text})

    def close(self) -> None:
        """Is no longer the writer of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
