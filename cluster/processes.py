"""Makes names for processes that stay true when the system gives their numbers to others, and ends those named."""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Process:
    """A process of one machine: its number, and when it began (in the system's ticks since its start)."""

    number: int
    born: int

    @property
    def is_alive(self) -> bool:
        """Whether it is there and not a zombie; a stopped process is."""
        state, born = _look(self.number)
        return state not in ("", "Z", "X") and born == self.born

    def kill(self) -> None:
        """Ends it at once, stopped or not; does nothing when it is gone already."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.number, signal.SIGKILL)


def own_process() -> Process:
    """This process."""
    return Process(os.getpid(), _look(os.getpid())[1])


def _look(number: int) -> tuple[str, int]:
    try:
        with open(f"/proc/{number}/stat", encoding="ascii", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[19])
