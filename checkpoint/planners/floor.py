"""The smallest budget for which a plan is found, and that plan: exact for small programs, a bisection over rules for others.

Rules are not monotone: one may fit into a budget and not into a larger one. So the budget is not merely where a bisection
ends: a plan is found for exactly this number of bytes, and none for one byte less.
"""

from __future__ import annotations

import math

from ..errors import DoesNotFit
from ..plan import Plan
from ..program import Program
from ..residency import Residency
from ..shares import least_shares
from ..simulation import MOST_STEPS, run_through
from .exact import exact, least_budget
from .keep_all import keep_all
from .search import Attempt, essential, search

_PRECISION = 1 / 256


def smallest_budget(program: Program) -> tuple[int, Plan]:
    """Return the least budget in bytes for which a plan is found, and that plan.

    No plan exists below it for programs of few values (see `exact`). For others there may be plans below it that no rule
    finds, never below `Program.lower_bound_bytes`. Loops have their smallest shares.
    """
    program = least_shares(program)
    kept = keep_all(program, math.inf)
    assert kept is not None
    least = least_budget(program, kept.projected_peak_bytes)
    if least is not None:
        return least, exact(program, least) or kept
    low, high = program.lower_bound_bytes(), kept.projected_peak_bytes
    for attempt in essential(program):
        high = _least(program, attempt, low, high)
    found = _any_plan(program, high)
    while (lower := _any_plan(program, high - 1)) is not None:
        high, found = lower.projected_peak_bytes, lower
    assert found is not None
    return high, found


def small_plan(program: Program) -> Plan:
    """Return a plan near the smallest budget: the least that one rule finds by bisection, in little time."""
    program = least_shares(program)
    kept = keep_all(program, math.inf)
    assert kept is not None
    attempt = next(essential(program))
    budget = _least(program, attempt, program.lower_bound_bytes(), kept.projected_peak_bytes)
    return search(program, budget, effort=0) or kept


def _any_plan(program: Program, budget: int) -> Plan | None:
    return search(program, budget, effort=0) or exact(program, budget)


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
