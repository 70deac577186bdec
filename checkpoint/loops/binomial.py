"""Binomial checkpointing in closed form: how far to run between two held states, from integers alone.

Griewank and Walther 2000, "Algorithm 799: revolve". A loop has n equal steps and memory for `slots` states, that of its
first state included. The tape of a step, which its reverse needs, lies beside the slots while one step is reversed; where
it is not much larger than a state, holding the tapes of some steps instead of states saves runs (the mixed schedules of
Maddison 2024): `tape_slots` says how many slots one tape takes, 0 that only one step is taped at a time.
"""

from __future__ import annotations

from functools import lru_cache
from math import comb


def forward_steps(steps: int, slots: int) -> int:
    """Return the least number of step runs, taping runs included, that reverse a loop when tapes are not held.

    T(n, s) = n + r n - C(s + r, s + 1), with r the least such that C(s + r, s) >= n: no step runs more than r + 1 times.

    >>> forward_steps(10, 3), forward_steps(1000, 10)
    (25, 4636)
    """
    r = repetitions(steps, slots, 0) - 1
    return steps + r * steps - comb(slots + r, slots + 1)


def taped_at_once(slots: int, tape_slots: int) -> int:
    """Return how many steps can be taped together when `slots` slots are free and one tape lies beside them."""
    return 1 + slots // tape_slots if tape_slots else 1


@lru_cache(maxsize=65536)
def capacity(slots: int, runs: int, tape_slots: int) -> int:
    """Return the length of the longest loop that is reversed with no step run more than `runs` times.

    By induction over the first held state: capacity(s, r) = capacity(s, r - 1) + capacity(s - 1, r), and without held
    states as many steps as are taped at once. Solved: sums of binomials, one if tapes are not held.
    """
    if runs < 1:
        return 0
    count = comb(slots + runs - 1, slots)
    if tape_slots:
        count += sum(comb(slots - k + runs - 1, runs - 1) for k in range(tape_slots, slots + 1, tape_slots))
    return count


def repetitions(steps: int, slots: int, tape_slots: int) -> int:
    """Return the least r such that every step is run at most r times."""
    if slots < 1:
        raise ValueError("a loop needs a slot for its first state")
    if slots == 1 and not tape_slots:
        return steps
    high = 1
    while capacity(slots, high, tape_slots) < steps:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        if capacity(slots, middle, tape_slots) < steps:
            low = middle
        else:
            high = middle
    return high
