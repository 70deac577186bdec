"""keep_all: everything that is read again is kept, everything else freed at once. No extra work, the highest peak."""

from __future__ import annotations

import math

from ..plan import Plan
from ..program import Program
from ..simulation import simulate


def keep_all(program: Program, budget: float) -> Plan | None:
    """Return the plan without recomputation, or None when its peak is over `budget`."""
    steps = simulate(program, math.inf)
    assert steps is not None
    plan = Plan(program, steps, "keep_all", None if budget == math.inf else int(budget))
    return plan if plan.projected_peak_bytes <= budget else None
