"""Decides whether a worker is alive, from its own answers and from what its node's system says of its process.

A worker whose loss holds Python's global lock cannot answer, nor can one that many others keep from the processor. They are
not to be replaced for that: their processes use it, or wait for it or for a disk. One that stands still does neither. Pure
data: clocks and processes are elsewhere.
"""

from dataclasses import dataclass, replace

from .processes import Work

# The threads of an idle Ray worker take about 1 % of a core; one that computes has more even where twenty share it.
_BUSY_SHARE = 0.03


@dataclass(frozen=True)
class Signs:
    """A worker's last signs of life, in seconds on the driver's clock: when it ``answered``, when it was seen at ``work``.

    ``since`` is when its process had used ``cpu_seconds``, from where its use of the processor is counted.
    """

    answered: float
    worked: float
    since: float
    cpu_seconds: float | None = None

    @staticmethod
    def at(now: float) -> "Signs":
        """Those of a worker that answers for the first time.

        >>> Signs.at(5.0).silent_seconds(7.5, patience_seconds=300.0)
        2.5
        """
        return Signs(now, now, now)

    def answer(self, now: float) -> "Signs":
        """Those after an answer."""
        return replace(self, answered=now)

    def look(self, now: float, work: Work) -> "Signs":
        """Those after a look at its process.

        >>> signs = Signs.at(0.0).look(0.0, Work(1.0))
        >>> signs.look(2.0, Work(2.5)).silent_seconds(2.5, patience_seconds=300.0)
        0.5
        >>> signs.look(2.0, Work(1.01)).silent_seconds(2.5, patience_seconds=300.0)
        2.5
        """
        if self.cpu_seconds is None:
            return replace(self, since=now, cpu_seconds=work.cpu_seconds)
        used = work.cpu_seconds - self.cpu_seconds
        if work.is_stopped or not (work.is_waiting or used > _BUSY_SHARE * (now - self.since)):
            return self
        return replace(self, worked=now, since=now, cpu_seconds=work.cpu_seconds)

    def silent_seconds(self, now: float, *, patience_seconds: float) -> float:
        """How long there has been no sign of life; work alone counts as one until ``patience_seconds`` after an answer."""
        if now - self.answered > patience_seconds:
            return now - self.answered
        return now - max(self.answered, self.worked)
