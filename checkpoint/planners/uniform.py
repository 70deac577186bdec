"""uniform: cut the forward sweep into about sqrt(n) segments, keep the boundaries, recompute each segment in reverse.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost": one extra forward sweep at most, memory of order
sqrt(n) on a chain of n equal steps. Several numbers of segments are tried; the cheapest that fits is returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..plan import Plan
from ..program import Program
from ..residency import Residency
from ..rules import Hold
from ..simulation import simulate
from ..steps import Step


def uniform(program: Program, budget: float) -> Plan | None:
    """Return the cheapest plan over a few numbers of segments, or None when none fits."""
    root = math.sqrt(max(program.forward, 1))
    tried: set[tuple[int, ...]] = set()
    found: Plan | None = None
    for count in sorted({max(round(root * scale), 1) for scale in (0.25, 0.5, 1.0, 2.0)}):
        places = program.cuts(count)
        if not places or tuple(places) in tried:
            continue
        tried.add(tuple(places))
        holds = {v: Hold(1.0, until) for values, until in program.boundaries(places) for v in values}
        steps = simulate(program, math.inf, holds=holds, at=_drop_segments(places, holds))
        assert steps is not None
        plan = Plan(program, steps, "uniform", None if budget == math.inf else int(budget))
        if plan.projected_peak_bytes <= budget and (found is None or plan.work_seconds < found.work_seconds):
            found = plan
    return found


def _drop_segments(places: list[int], holds: dict[int, Hold]) -> Callable[[Residency, int], list[Step]]:
    """Return a hook that drops, at each cut, the values of the segment before it that are in no boundary."""
    edges = dict(zip(places, (0, *places[:-1]), strict=True))

    def at(residency: Residency, v: int) -> list[Step]:
        steps: list[Step] = []
        for u in range(edges.get(v, v), v):
            if u not in holds and residency.is_resident(u) and u not in residency.outputs:
                steps += residency.evict(u)
        return steps

    return at
