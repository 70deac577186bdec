"""Simulation: a whole program run through the residency under a budget, without arrays; its steps are a plan's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from .errors import DoesNotFit
from .program import Program
from .residency import Residency
from .rules import NEXT_USE, Hold, Rule
from .steps import Step

MOST_STEPS = 8


def simulate(
    program: Program,
    budget: float,
    *,
    rule: Rule = NEXT_USE,
    holds: Mapping[int, Hold] | None = None,
    at: Callable[[Residency, int], list[Step]] | None = None,
    most: float = math.inf,
) -> tuple[Step, ...] | None:
    """Return the steps of running the whole program under `budget`, or None where it does not fit.

    A way that takes more than `most` steps (at the most `MOST_STEPS` a value) counts as not fitting: nobody would wait.
    `rule` chooses what is evicted, `holds` keep values back (see `Hold`). `at(residency, v)` is called before value `v`
    is first made and may evict values.
    """
    most = min(most, MOST_STEPS * len(program) + 200)
    residency = Residency(program, budget, knows_future=True, rule=rule, holds=holds, most=most)
    try:
        return tuple(run_through(residency, at))
    except DoesNotFit:
        return None


def run_through(residency: Residency, at: Callable[[Residency, int], list[Step]] | None = None) -> list[Step]:
    """Return the steps of running the whole program. Raises `DoesNotFit`; `residency.taken` tells how far it got."""
    steps: list[Step] = []
    for v in range(len(residency.program)):
        if at is not None:
            steps += at(residency, v)
        steps += residency.make(v)
    for v in residency.program.outputs:
        if not residency.is_resident(v):
            steps += residency.make(v)
    return steps
