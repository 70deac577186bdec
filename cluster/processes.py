"""Makes names for processes that stay true when the system gives their numbers to others, looks at those named, and ends
them."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import glob

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Work:
    """What the system says of a process: the processor's time that it has used, whether it was stopped, and whether a
    thread of it waits for a disk or for its turn on a processor."""

    cpu_seconds: float
    is_stopped: bool = False
    is_waiting: bool = False


@dataclass(frozen=True)
class Process:
    """A process of one machine: its number, and when it began (in the system's ticks since its start)."""

    number: int
    born: int

    @property
    def is_alive(self) -> bool:
        """Whether it is there and not a zombie; a stopped process is."""
        fields = _look(self.number)
        return bool(fields) and fields[0] not in ("Z", "X") and int(fields[19]) == self.born

    def work(self) -> Work | None:
        """What it does now; ``None`` when it is gone, or where the system does not tell (it has no ``/proc``)."""
        fields = _look(self.number)
        if not fields or int(fields[19]) != self.born:
            return None
        used = (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND
        states = {found[0] for path in glob(f"/proc/{self.number}/task/*/stat") if (found := _fields(path))}
        return Work(used, is_stopped=fields[0] in ("T", "t", "Z", "X"), is_waiting=not states.isdisjoint("DR"))

    def kill(self) -> None:
        """Ends it at once, stopped or not; does nothing when it is gone already."""
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.number, signal.SIGKILL)


def own_process() -> Process:
    """This process."""
    fields = _look(os.getpid())
    return Process(os.getpid(), int(fields[19]) if fields else 0)


def have_ended(processes: Sequence[Process], seconds: float) -> bool:
    """Whether all of them have ended after at most so many seconds."""
    deadline = time.monotonic() + seconds
    while any(process.is_alive for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _look(number: int) -> list[str]:
    return _fields(f"/proc/{number}/stat")


def _fields(path: str) -> list[str]:
    """The fields of a ``stat`` file from the third, the state, on (proc(5)); none when its process is gone."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []
