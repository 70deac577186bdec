"""boundaries: next-use eviction in which the boundaries of segments go last, those of coarse cuts last of all.

Evicting value by value can tear a state apart (a position without its velocity, a cell without its output), or drop it
because no rule reads it; then nothing can be recomputed from what is left. Here the values live across one cut are held
back together, in as many levels as there are cuts: within a segment the finer cuts decide, as in the recursion of Chen
et al. 2016.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..plan import Plan
from ..program import Program
from ..rules import Hold
from ..simulation import simulate

_FACTOR = 1e4


def boundaries(program: Program, budget: float) -> Plan | None:
    """Return the cheapest plan over a few numbers of coarse cuts, or None when none fits."""
    found: Plan | None = None
    for holds in boundary_sets(program):
        steps = simulate(program, budget, holds=holds, most=math.inf if found is None else 1.2 * len(found.steps))
        if steps is None:
            continue
        plan = Plan(program, steps, "boundaries", int(budget))
        if found is None or plan.work_seconds < found.work_seconds:
            found = plan
    return found


def boundary_sets(program: Program) -> Iterator[dict[int, Hold]]:
    """Yield the holds of a few numbers of coarse cuts; of one coarse number with a finer level too."""
    root = math.sqrt(max(program.forward, 1))
    tried: set[tuple] = set()
    for scale, levels in ((0.15, 2), (0.15, 1), (0.4, 1), (1.0, 1)):
        holds = boundary_holds(program, max(round(root * scale), 1), levels)
        key = tuple(holds.items())
        if holds and key not in tried:
            tried.add(key)
            yield holds


def boundary_holds(program: Program, count: int, levels: int) -> dict[int, Hold]:
    """Return holds for the values live across `count` cuts, and weaker ones for each finer level of cuts."""
    holds: dict[int, Hold] = {}
    for level in range(levels - 1, -1, -1):
        cuts = count * 5**level
        if cuts * 3 > program.forward:
            continue
        for values, until in program.boundaries(program.cuts(cuts)):
            for v in values:
                holds[v] = Hold(_FACTOR ** ((levels - level) / levels), until)
    return holds
