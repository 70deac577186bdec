"""A loop's share of a budget: how many bytes its ways of running take, and what each costs in seconds.

A loop runs in blocks of steps, the first step a block of its own. Its forward sweep holds states before some blocks, and its
reverse runs blocks again, by the binomial schedule (see `binomial`); with states on disk, by that of `disk`. The more states
are held, the fewer blocks run again; the larger the blocks, the fewer states are needed, but the more their reverse takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from ..disk import Disk
from .binomial import forward_steps
from .disk import Prices, forward_with_disk, time_with_disk

_MOST_LISTED = 32  # numbers of states that are looked at one by one; of larger ones every eighth part more
_LISTED_WITH_DISK = (1, 2, 4, 8, 16)
STATES_IN_FLIGHT = 2  # on their way to disk; or one on its way back, ahead of its use


@dataclass(frozen=True, slots=True)
class Rung:
    """A way to run blocks of `steps` steps: bytes at the peak beside what comes in, and seconds, forward and in reverse."""

    steps: int
    forward_bytes: int
    forward_seconds: float
    reverse_bytes: int
    reverse_seconds: float


@dataclass(frozen=True, slots=True)
class Share:
    """How a loop runs: its blocks by `rung`, `slots` states in memory (the first one, which comes in, included).

    With `prices`, others are written to disk, and the slots are beside the first one.
    """

    rung: Rung
    slots: int
    prices: Prices | None = None


@dataclass(frozen=True, slots=True)
class LoopCosts:
    """What a loop of `length` steps needs: `result_bytes` of its last carry and outputs come and go with its states.

    `gradient_bytes` are those of the cotangents of what comes in. `rungs` are the ways to run it. The length of an open loop
    is a guess.
    """

    length: int
    state_bytes: int
    result_bytes: int
    gradient_bytes: int
    rungs: tuple[Rung, ...]
    disk: Disk | None = None
    is_open: bool = False

    def blocks(self, share: Share) -> int:
        """Return the number of blocks."""
        return block_count(self.length, share.rung.steps)

    def states_bytes(self, share: Share) -> int:
        """Return the bytes of the loop's results and of the states in memory, but for the first."""
        held = share.slots - 1 if share.prices is None else share.slots + STATES_IN_FLIGHT
        if not self.is_open:
            held = min(held, max(self.blocks(share), 1) - 1)
        return self.result_bytes + held * self.state_bytes

    def disk_bytes(self, share: Share) -> int:
        """Return the bytes of the states that are written to disk; the first one never is."""
        if share.prices is None:
            return 0
        return len(writes(self.blocks(share), share.slots, share.prices)) * self.state_bytes

    def forward_workspace(self, share: Share) -> int:
        """Return the bytes that the forward sweep takes beside `states_bytes`: one block's, for a state is a result."""
        return max(share.rung.forward_bytes, self.state_bytes)

    def reverse_workspace(self, share: Share) -> int:
        """Return the bytes that the reverse takes beside the cotangents: a state, and a block's run or its reverse."""
        return self.state_bytes + max(share.rung.forward_bytes, share.rung.reverse_bytes)

    def forward_seconds(self, share: Share) -> float:
        """Return the seconds of running the loop."""
        return self.blocks(share) * share.rung.forward_seconds

    def reverse_seconds(self, share: Share) -> float:
        """Return the seconds of reversing the loop, the time of writing and reading states included."""
        count, rung = self.blocks(share), share.rung
        if share.prices is None:
            time = _runs(count, share.slots)
        else:
            time = _time(count, share.slots, share.prices)
        return count * rung.reverse_seconds + max(time - 2 * count + 1, 0) * rung.forward_seconds

    def least_seconds(self) -> float:
        """Return the seconds of running every step once, forward and in reverse."""
        return min(block_count(self.length, rung.steps) * rung.reverse_seconds for rung in self.rungs)

    def need_bytes(self, share: Share) -> int:
        """Return the most bytes that the loop takes at a time, beside what comes in."""
        more = self.gradient_bytes + self.reverse_workspace(share)
        return self.states_bytes(share) + max(self.forward_workspace(share), more)

    def in_memory(self) -> LoopCosts:
        """Return the costs of the same loop without a disk."""
        return replace(self, disk=None)

    def ladder(self) -> list[Share]:
        """Return the shares that no other one betters in both bytes and seconds, the one with the fewest bytes first."""
        return list(_ladder(self))

    def cheapest(self, most_bytes: float) -> Share:
        """Return the share that takes the least time within `most_bytes`; where none fits, the smallest."""
        ladder = _ladder(self)
        fitting = [share for share in ladder if self.need_bytes(share) <= most_bytes]
        return fitting[-1] if fitting else ladder[0]


def block_count(length: int, steps: int) -> int:
    """Return the number of blocks of a loop: the first step, and blocks of `steps` steps.

    >>> block_count(100, 1), block_count(100, 33), block_count(0, 5)
    (100, 4, 0)
    """
    return 1 + -(-(length - 1) // steps) if length else 0


@lru_cache(maxsize=64)
def _ladder(costs: LoopCosts) -> tuple[Share, ...]:
    found = []
    for rung in costs.rungs:
        count = block_count(costs.length, rung.steps)
        prices = _prices(costs, rung)
        found += [Share(rung, slots) for slots in _numbers(max(count, 1))]
        if prices is not None:
            found += [s for slots in _LISTED_WITH_DISK if slots < count and (s := _with_disk(costs, rung, slots, prices))]
    rows = sorted((costs.need_bytes(s), costs.forward_seconds(s) + costs.reverse_seconds(s), k) for k, s in enumerate(found))
    best, ladder = float("inf"), []
    for _, seconds, k in rows:
        if seconds < best:
            best = seconds
            ladder.append(found[k])
    return tuple(ladder)


def _numbers(count: int) -> Iterator[int]:
    number = 1
    while number < count:
        yield number
        number = number + 1 if number < _MOST_LISTED else number + number // 8
    yield count


def _with_disk(costs: LoopCosts, rung: Rung, slots: int, prices: Prices) -> Share | None:
    """Return the share with states on disk; where they do not fit there, writing is taken for dearer, so that fewer are."""
    assert costs.disk is not None
    while True:
        share = Share(rung, slots, prices)
        size = costs.disk_bytes(share)
        if size <= costs.disk.capacity_bytes:
            return share if size else None
        prices = Prices(4 * prices.write, prices.read)


def _prices(costs: LoopCosts, rung: Rung) -> Prices | None:
    if costs.disk is None or not rung.forward_seconds:
        return None
    write = costs.state_bytes / costs.disk.write_bytes_per_second / rung.forward_seconds
    read = costs.state_bytes / costs.disk.read_bytes_per_second / rung.forward_seconds
    return Prices(write, read)


@lru_cache(maxsize=4096)
def _runs(blocks: int, slots: int) -> int:
    return forward_steps(blocks, slots) if blocks > 1 else blocks


_time = lru_cache(maxsize=4096)(time_with_disk)


@lru_cache(maxsize=256)
def writes(blocks: int, slots: int, prices: Prices) -> tuple[int, ...]:
    """Return the states that are written to disk: those of the schedule but for the first, which comes in."""
    return tuple(state for state in forward_with_disk(blocks, slots, prices).writes if state)
