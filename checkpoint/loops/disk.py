"""Loops on two levels: few slots in memory and any number on disk, where writing and reading a state have a price.

Aupy, Herrmann, Hovland and Robert 2016, "Optimal multistage algorithm for adjoint computation", with disk states written in
the forward sweep only (their DiskRevolve): least time for up to `LONGEST_EXACT` steps; beyond, states are written at equal
distances, which is the least in the limit (Aupy and Herrmann 2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .binomial import forward_steps
from .turns import Turn, forward, turns

LONGEST_EXACT = 512  # a table of so many steps takes milliseconds


@dataclass(frozen=True, slots=True)
class Prices:
    """What writing a state to disk and reading it back cost, in units of one step's forward run."""

    write: float
    read: float


@dataclass(frozen=True, slots=True)
class DiskForward:
    """The forward sweep: write the states in `writes` to disk, hold those in `holds` in memory, tape from `first` on."""

    writes: tuple[int, ...]
    holds: tuple[int, ...]
    first: int


@dataclass(frozen=True, eq=False, slots=True)
class _Table:
    """Least times by loop length n: in memory alone (`memory`), from a state on disk (`disk`), with writing (`whole`).

    `disk_runs` and `whole_runs` are how far to run first, 0 where memory alone is best.
    """

    memory: np.ndarray
    disk: np.ndarray
    disk_runs: np.ndarray
    whole: np.ndarray
    whole_runs: np.ndarray


@lru_cache(maxsize=8)
def _table(steps: int, slots: int, prices: Prices) -> _Table:
    memory = np.array([0, *(forward_steps(n, slots) for n in range(1, steps + 1))], float)
    disk, whole = memory.copy(), memory.copy()
    disk_runs, whole_runs = np.zeros(steps + 1, int), np.zeros(steps + 1, int)
    counts = np.arange(steps + 1.0)
    for n in range(2, steps + 1):
        behind = slice(n - 1, 0, -1)
        costs = counts[1:n] + memory[behind] + prices.read + disk[1:n]
        best = int(costs.argmin())
        if costs[best] < disk[n]:
            disk[n], disk_runs[n] = costs[best], best + 1
        costs = prices.write + counts[1:n] + whole[behind] + prices.read + disk[1:n]
        best = int(costs.argmin())
        if costs[best] < whole[n]:
            whole[n], whole_runs[n] = costs[best], best + 1
    return _Table(memory, disk, disk_runs, whole, whole_runs)


def _period(slots: int, prices: Prices) -> int:
    """Return how far apart states are written where the rest of the loop is long."""
    lengths = np.arange(1, LONGEST_EXACT + 1)
    costs = prices.write + prices.read + lengths + _table(LONGEST_EXACT, slots, prices).disk[1:]
    return int(np.argmin(costs / lengths)) + 1


def time_with_disk(steps: int, slots: int, prices: Prices) -> float:
    """Return the time of forward runs, taping runs included, of writes and of reads, in forward runs of a step.

    It is the least for up to `LONGEST_EXACT` steps.

    >>> time_with_disk(50, 3, Prices(2, 2))
    175.0
    """
    table = _table(min(steps, LONGEST_EXACT), slots, prices)
    count = 0
    time = 0.0
    if steps > LONGEST_EXACT:
        period = _period(slots, prices)
        count = -(-(steps - LONGEST_EXACT) // period)
        time = count * (prices.write + prices.read + period + float(table.disk[period]))
        steps -= count * period
    return time + float(table.whole[steps])


def forward_with_disk(steps: int, slots: int, prices: Prices) -> DiskForward:
    """Return what the forward sweep of `steps` steps writes to disk and holds in memory, within `slots` states there."""
    writes = []
    start = 0
    table = _table(min(steps, LONGEST_EXACT), slots, prices)
    if steps > LONGEST_EXACT:
        period = _period(slots, prices)
        while steps - start > LONGEST_EXACT:
            writes.append(start)
            start += period
    while run := int(table.whole_runs[steps - start]):
        writes.append(start)
        start += run
    tail = forward(steps - start, slots)
    return DiskForward(tuple(writes), tuple(start + state for state in tail.holds), start + tail.first)


def reads_from_disk(made: DiskForward, steps: int, slots: int, prices: Prices) -> Iterator[int]:
    """Yield the states that the turns of `turns_with_disk` read from disk, in order."""
    table = _table(min(steps, LONGEST_EXACT), slots, prices)
    stop = made.holds[0]
    for start in reversed(made.writes):
        while stop > start:
            yield start
            stop = start + int(table.disk_runs[stop - start])


def turns_with_disk(made: DiskForward, steps: int, slots: int, prices: Prices) -> Iterator[Turn]:
    """Yield the turns that reverse a loop of `steps` steps after its forward sweep `made`.

    A turn whose `start` is not in memory reads it from disk; it stays in memory where it is among the turn's `holds`.
    """
    yield from turns(made.holds, made.first, slots)
    table = _table(min(steps, LONGEST_EXACT), slots, prices)
    stop = made.holds[0]
    for start in reversed(made.writes):
        while stop > start:
            run = int(table.disk_runs[stop - start])
            held = start + run
            for turn in turns((held,), stop, slots):
                if turn.stop == stop:
                    stays = (held,) if turn.first > held else ()
                    turn = Turn(start, stays + turn.holds, turn.first, turn.stop)
                yield turn
            stop = held
