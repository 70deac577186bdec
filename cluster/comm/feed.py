"""Tells a reduction in progress, from another thread, which of its spans are ready."""

import os
from collections import deque
from collections.abc import Sequence


class Feed:
    """Says to a reduction in progress, from another thread, which of its spans are ready."""

    def __init__(self, spans: int) -> None:
        """``spans`` is how many there will be."""
        self.missing = spans
        self._ready: deque[int] = deque()
        self.read_end, self._write_end = os.pipe()

    def add(self, spans: Sequence[int]) -> None:
        """Says that these spans are ready."""
        self._ready.extend(spans)
        os.write(self._write_end, b"+")

    def take(self) -> list[int]:
        """The spans that became ready since the last time; called when ``read_end`` has something to read."""
        os.read(self.read_end, 4096)
        found = []
        while self._ready:
            found.append(self._ready.popleft())
        self.missing -= len(found)
        return found

    def close(self) -> None:
        """Gives the pipe back."""
        os.close(self.read_end)
        os.close(self._write_end)
