"""The smallest budget for which a plan is found, and that plan: a bisection over eviction rules, closed by the search.

Rules are not monotone: one may fit into a budget and not into a larger one. So the budget is not merely where a bisection
ends: the search finds a plan for exactly this number of bytes, and none for one byte less.
"""

from __future__ import annotations

import math

from ..errors import DoesNotFit
from ..plan import Plan
from ..program import Program
from ..residency import MOST_STEPS, Residency, run_through
from .keep_all import keep_all
from .search import Attempt, essential, search

_PRECISION = 1 / 256


def smallest_budget(program: Program) -> tuple[int, Plan]:
    """Return the least budget in bytes for which `search` finds a plan, and that plan.

    Budgets below it may be possible under plans that no rule finds, never below `Program.lower_bound_bytes`.
    """
    kept = keep_all(program, math.inf)
    assert kept is not None
    low, high = program.lower_bound_bytes(), kept.projected_peak_bytes
    for attempt in essential(program):
        high = _least(program, attempt, low, high)
    found = search(program, high, effort=0)
    while (lower := search(program, high - 1, effort=0)) is not None:
        high, found = lower.projected_peak_bytes, lower
    assert found is not None
    return high, found


def _least(program: Program, attempt: Attempt, low: int, high: int) -> int:
    """Return the least peak of the plans that an attempt makes for budgets from `low` to `high`, or `high`."""
    middle = high - 1 - int((high - low) * _PRECISION)
    while middle >= low:
        peak = _peak(program, attempt, middle)
        if peak is None:
            low = middle + 1
            if high - low <= (high - program.held_bytes) * _PRECISION or middle == high - 1:
                break
        else:
            high = peak
        middle = (low + high - 1) // 2
    return high


def _peak(program: Program, attempt: Attempt, budget: int) -> int | None:
    """Return the peak of an attempt's plan, or None where it does not fit."""
    most = MOST_STEPS * len(program) + 200
    residency = Residency(program, budget, knows_future=True, rule=attempt.rule, holds=attempt.holds, most=most)
    try:
        run_through(residency)
    except DoesNotFit:
        return None
    return residency.peak
