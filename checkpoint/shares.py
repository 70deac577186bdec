"""Shares of a budget for the loops of a program: several are tried, and the plan with the least work is kept."""

from __future__ import annotations

from collections.abc import Callable

from .loops.share import Share
from .plan import Plan
from .program import Program

_FRACTIONS = (0.97, 0.9, 0.8, 0.65, 0.5, 0.35, 0.25, 0.15, 0.08, 0.0)
_HALVINGS = 4


def least_shares(program: Program) -> Program:
    """Return the program with the smallest share for each loop."""
    return program.with_shares([loop.costs.ladder()[0] for loop in program.loops]) if program.loops else program


def shared(program: Program, budget: float, attempt: Callable[[Program], Plan | None]) -> Program | None:
    """Return the program with the shares that lead to the least work within `budget`; None where none of them fits.

    All loops are bounded by one number of bytes, each takes the fastest way within it. `attempt` makes a quick plan.
    The bounds tried are fractions of the budget, then those between the best one and its neighbours.
    """
    room = max(budget - program.held_bytes, 0)
    tried: dict[tuple[Share, ...], float] = {}
    best: tuple[float, float, Program] | None = None

    def cost(fraction: float) -> float:
        nonlocal best
        shares = tuple(loop.costs.cheapest(fraction * room) for loop in program.loops)
        if shares not in tried:
            candidate = program.with_shares(shares)
            plan = attempt(candidate)
            tried[shares] = plan.work_seconds if plan is not None else float("inf")
            if plan is not None and (best is None or plan.work_seconds < best[0]):
                best = plan.work_seconds, fraction, candidate
        return tried[shares]

    for fraction in _FRACTIONS:
        cost(fraction)
    if best is None:
        return None
    low, high = _neighbours(best[1])
    for _ in range(_HALVINGS):
        at = best[1]
        for fraction in ((low + at) / 2, (at + high) / 2):
            cost(fraction)
        low, high = ((low + at) / 2, (at + high) / 2) if best[1] == at else (low, at) if best[1] < at else (at, high)
    return best[2]


def _neighbours(fraction: float) -> tuple[float, float]:
    below = max((f for f in _FRACTIONS if f < fraction), default=0.0)
    above = min((f for f in _FRACTIONS if f > fraction), default=1.0)
    return below, above
