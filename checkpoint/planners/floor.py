"""The smallest budget for which a plan is found, and that plan: exact for small programs, a descent of rules for others.

Rules are not monotone: one may fit into a budget and not into a larger one. So the budget is not merely where a descent
ends: a plan is found for exactly this number of bytes, and, where the effort allows it, none for one byte less.
"""

from __future__ import annotations

import math

from ..errors import DoesNotFit
from ..hoisting import Hoisting, hoisting
from ..plan import Plan
from ..program import Program
from ..residency import Residency
from ..shares import least_shares
from ..simulation import MOST_STEPS, run_through
from .exact import exact, least_budget
from .keep_all import keep_all
from .revolve import least_plan
from .search import Attempt, essential, search

_PRECISION = 1 / 256
_STEPS = 40_000  # near the least memory a step takes up to a twentieth of a millisecond
_STEPS_PER_VALUE = 3
_FEW_VALUES = 1_500
_VERY_FEW_VALUES = 200


def smallest_budget(program: Program) -> tuple[int, Plan]:
    """Return the least budget in bytes for which a plan is found, and that plan.

    No plan exists below it for programs of few values (see `exact`). For others there may be plans below it that are not
    found, never below `Program.lower_bound_bytes`: it is the least peak of `revolve` and of what rules reach. Up to 200
    values a search finds none with a byte less, and rules alone none up to 1,500; for more, the rules are tried for about
    40,000 simulated steps, and 3 a value at least. Loops have their smallest shares.
    """
    program = least_shares(program)
    kept = keep_all(program, math.inf)
    assert kept is not None
    least = least_budget(program, kept.projected_peak_bytes)
    if least is not None:
        return least, exact(program, least) or kept
    descent = _Descent(program, kept)
    descent.cut()
    for attempt in essential(descent.ahead.program):
        descent.go_down(attempt)
    high, found = descent.found.projected_peak_bytes, descent.found
    while len(program) <= _FEW_VALUES and (lower := _any_plan(program, high - 1)) is not None:
        high, found = lower.projected_peak_bytes, lower
    return high, found


def small_plan(program: Program) -> Plan:
    """Return a plan near the smallest budget: the least that one rule finds by bisection, in little time."""
    program = least_shares(program)
    kept = keep_all(program, math.inf)
    assert kept is not None
    descent = _Descent(program, kept)
    descent.go_down(next(essential(descent.ahead.program)))
    return descent.found


def _any_plan(program: Program, budget: int) -> Plan | None:
    return search(program, budget, effort=None if len(program) <= _VERY_FEW_VALUES else 0) or exact(program, budget)


class _Descent:
    """A plan, `found`, that takes less and less memory, as long as there are `left` steps to simulate.

    `ahead` is the program in the order in which its values are looked at, hoisted ones early.
    """

    def __init__(self, program: Program, found: Plan) -> None:
        self.program, self.found = program, found
        self.left = max(_STEPS, _STEPS_PER_VALUE * len(program))
        self.ahead = hoisting(program) or Hoisting(program, tuple(range(len(program))))

    def cut(self) -> None:
        """Take the plan of the least memory among those of `revolve`."""
        plan = least_plan(self.ahead.program)
        if plan is not None and plan.projected_peak_bytes < self.found.projected_peak_bytes:
            self.found = Plan(self.program, self.ahead.steps_for(self.program, plan.steps), "revolve")

    def go_down(self, attempt: Attempt) -> None:
        """Look for the least budget for which an attempt makes a plan, between what is proved and what is found."""
        low, high = self.program.lower_bound_bytes(), self.found.projected_peak_bytes
        middle = int(high * (1 - _PRECISION))
        while middle >= low and self.left > 0:
            plan = self._plan(attempt, middle)
            if plan is None:
                low = middle + 1
                if middle >= int(high * (1 - _PRECISION)):
                    break
            else:
                self.found, high = plan, plan.projected_peak_bytes
            middle = min(int(math.sqrt(low * high)), high - 1)

    def _plan(self, attempt: Attempt, budget: int) -> Plan | None:
        program = self.ahead.program
        most = MOST_STEPS * len(program) + 200
        residency = Residency(program, budget, knows_future=True, rule=attempt.rule, holds=attempt.holds, most=most)
        try:
            steps = run_through(residency)
        except DoesNotFit:
            return None
        finally:
            self.left -= residency.taken
        return Plan(self.program, self.ahead.steps_for(self.program, steps), "search", budget)
