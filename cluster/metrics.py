"""Makes the rows of a run's metrics.jsonl, one JSON object a line, and reads them back."""

import json
import os
from pathlib import Path
from typing import Any

METRICS_NAME = "metrics.jsonl"


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a metrics file; a last line that was cut short by a killed process is left out."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
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
    """An open metrics file: a resumed run keeps the rows up to its snapshot's ``step`` and appends after
    them."""

    def __init__(self, path: str | Path, *, step: int) -> None:
        """Opens ``path``, dropping rows after ``step``. Raises ``OSError`` when it cannot be written."""
        path = Path(path)
        kept = [row for row in read_rows(path) if row.get("step", 0) <= step]
        temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
        temporary.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        os.replace(temporary, path)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - lives as long as the run

    def write(self, row: dict[str, Any]) -> None:
        """Appends one row, visible to other processes at once."""
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
