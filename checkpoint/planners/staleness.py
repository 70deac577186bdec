"""staleness: evict what is cheap to get back, large, and was not used for long.

The rule h_DTR_eq of Kirisame et al. 2021 ("Dynamic Tensor Rematerialization"): the cost counts whole classes of evicted
neighbours. Made for programs whose future is unknown; near the optimum on long uniform chains.
"""

from __future__ import annotations

from ..plan import Plan
from ..program import Program
from ..rules import Rule
from ..simulation import simulate

RULE = Rule(cost="classes", age="last use")


def staleness(program: Program, budget: float) -> Plan | None:
    """Return the plan of the rule of cost over bytes and staleness, or None when it finds no way within `budget`."""
    steps = simulate(program, budget, rule=RULE)
    return None if steps is None else Plan(program, steps, "staleness", int(budget))
