"""next_use: evict what is cheap to get back, large, and not needed for long. For any graph and any wiring.

The key is cost of getting back / (bytes x distance to the next use), both through evicted values (see `residency`): the
idea of Belady's rule carried over to values that can be recomputed. No optimality guarantee; exact on many small graphs.
"""

from __future__ import annotations

from ..plan import Plan
from ..program import Program
from ..rules import NEXT_USE
from ..simulation import simulate

RULE = NEXT_USE


def next_use(program: Program, budget: float) -> Plan | None:
    """Return the next-use plan, or None when the rule finds no way within `budget`."""
    steps = simulate(program, budget)
    return None if steps is None else Plan(program, steps, "next_use", int(budget))
