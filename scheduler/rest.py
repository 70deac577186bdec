"""The rest of a call that was recorded under the online policy: the plan of its reverse sweep from what is in memory."""

from __future__ import annotations

from ..checkpoint.errors import DoesNotFit
from ..checkpoint.plan import Plan
from ..checkpoint.residency import Residency
from ..checkpoint.steps import Steps
from .known import Known

# Steps (to compute, to drop) for each value, after which going on is given up: with so little memory left, as at the end of
# a long chain, one step after the other would be made from the start again, where a plan of the whole takes a few each.
_MOST_STEPS = 12


def going_on(new: Known, residency: Residency, budget: int) -> Plan | None:
    """Return the plan of the reverse sweep from what is in memory, next uses being known now; None where that does not fit.

    What takes very many steps counts as not fitting.
    """
    program = new.program
    position, start = program.forward, frozenset(residency.resident())
    steps = Steps()
    residency.most = residency.taken + _MOST_STEPS * len(program)
    try:
        steps.extend(residency.reveal(program))
        for v in range(position, len(program)):
            steps.extend(residency.make(v))
        for v in program.outputs:
            if not residency.is_resident(v):
                steps.extend(residency.make(v))
    except DoesNotFit:
        return None
    return Plan(program, steps, "online", budget, start, position)
