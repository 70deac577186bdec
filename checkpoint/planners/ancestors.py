"""ancestors: evict what is cheapest to get back per byte, whenever it is needed next.

The rule h_MSPS of Peng et al. 2020 ("Capuchin"), with evicted ancestors counted in the cost; better than next-use on
some graphs with long skips.
"""

from __future__ import annotations

from ..plan import Plan
from ..program import Program
from ..rules import Rule
from ..simulation import simulate

RULE = Rule(age="none")


def ancestors(program: Program, budget: float) -> Plan | None:
    """Return the plan of the cost-per-byte rule, or None when it finds no way within `budget`."""
    steps = simulate(program, budget, rule=RULE)
    return None if steps is None else Plan(program, steps, "ancestors", int(budget))
