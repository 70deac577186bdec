"""Makes the rows of a run's metrics.jsonl, one JSON object a line, and reads them back."""

import errno
import json
import os
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

METRICS_NAME = "metrics.jsonl"
_TAIL_BYTES, _WAITING_ROWS = 2**16, 4096


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; a last line that was cut short by a killed process is left out."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return []
    return _parsed(text)


def read_tail(path: str | Path, *, tail_bytes: int = 2**16) -> list[dict[str, Any]]:
    """The rows that lie wholly within the last bytes of a metrics file, which a long run makes large."""
    try:
        with open(path, "rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - tail_bytes)
            file.seek(start)
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return _parsed(text if start == 0 else text.partition("\n")[2])


def _parsed(text: str) -> list[dict[str, Any]]:
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


class MetricsFile:
    """An open metrics file: a resumed run keeps the rows up to its snapshot's ``step`` and appends after them.

    A row that cannot be written, to a full disk for example, waits for room with those after it; ``failure`` is then the
    reason, and a run does not end for it.
    """

    def __init__(self, path: str | Path, *, step: int) -> None:
        """Opens ``path``, dropping rows after ``step``. Raises ``OSError`` when it cannot be opened."""
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - lives as long as the run
        self._size = _end_of(Path(path), step)
        self._file.truncate(self._size)
        self._waiting: deque[bytes] = deque(maxlen=_WAITING_ROWS)
        self.failure: OSError | None = None

    def write(self, row: dict[str, Any]) -> None:
        """Appends one row, visible to other processes at once."""
        self._waiting.append(json.dumps(row).encode() + b"\n")
        text = b"".join(self._waiting)
        try:
            if self._file.write(text) != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self.failure = error
            with suppress(OSError):
                self._file.truncate(self._size)  # half a row would spoil the next one
        else:
            self._size += len(text)
            self._waiting.clear()
            self.failure = None

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _end_of(path: Path, step: int) -> int:
    """The length of a metrics file up to its last whole row that is not after ``step``, found from the end."""
    size = path.stat().st_size
    looked_at = min(size, _TAIL_BYTES)
    with open(path, "rb") as file:
        while True:
            file.seek(size - looked_at)
            text = file.read(looked_at)
            # What stands before the first line break may be half a row, unless it is the file's first.
            at = text.find(b"\n") + 1 if looked_at < size else 0
            end = None if looked_at < size else 0
            for line in text[at:].splitlines(keepends=True):
                at += len(line)
                if line.endswith(b"\n") and _step_of(line) <= step:
                    end = size - looked_at + at
            if end is not None:
                return end
            looked_at = min(size, 4 * looked_at)


def _step_of(line: bytes) -> float:
    try:
        return json.loads(line).get("step", 0)
    except (json.JSONDecodeError, AttributeError):
        return 0
