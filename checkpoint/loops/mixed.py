"""The mixed schedule of a short loop, exactly: a table of the least number of step runs, by steps and free slots.

Maddison 2024, "On the implementation of checkpointing with high-level algorithmic differentiation", generalised from
tapes as large as states to tapes of `tape_slots` slots: P(n, s) = n where n steps can be taped at once, else
min over k of k + P(k, s) + P(n - k, s - 1).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .binomial import taped_at_once
from .turns import Split, closed_form

_MOST_ENTRIES = 50_000


@lru_cache(maxsize=8)
def least_runs(steps: int, slots: int, tape_slots: int) -> tuple[np.ndarray, np.ndarray]:
    """Return P(n, s) and its first split k, indexed [s, n], for up to `steps` steps and `slots` free slots.

    Where no way exists (more than one step and no slot), P is 2**62. Time and memory grow with steps**2 x slots and
    steps x slots.

    >>> int(least_runs(1000, 3, 1)[0][3, 1000])
    12986
    """
    least = np.full((slots + 1, steps + 1), 2**62, np.int64)
    split = np.zeros((slots + 1, steps + 1), np.int64)
    counts = np.arange(steps + 1)
    for free in range(slots + 1):
        together = min(taped_at_once(free, tape_slots), steps)
        row = least[free]
        row[: together + 1] = counts[: together + 1]
        for n in range(together + 1, steps + 1) if free else ():
            # The first slot holds this loop's first state, so that the part behind the split has one slot less.
            costs = counts[1:n] + row[1:n] + least[free - 1, n - 1 : 0 : -1]
            best = int(costs.argmin())
            row[n], split[free, n] = costs[best], best + 1
    return least, split


def best_split(steps: int, slots: int, tape_slots: int) -> Split:
    """Return how to split up to `steps` steps: exactly where tapes are held and the table is small, else in closed form."""
    if not tape_slots or steps * (slots + 1) > _MOST_ENTRIES:
        return closed_form(slots, tape_slots)
    table = least_runs(steps, slots, tape_slots)[1].tolist()
    return lambda n, free: table[free][n]
