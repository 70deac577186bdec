"""The planners, one per file, all of one signature: ``(program, budget) -> Plan | None``; `best` chooses among them."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import MemoryBudgetError
from ..plan import Plan
from ..program import Program
from ..units import format_bytes
from .ancestors import ancestors
from .binomial import binomial
from .boundaries import boundaries, nested
from .chain import chain
from .exact import exact, least_budget
from .keep_all import keep_all
from .next_use import next_use
from .uniform import uniform

PLANNERS: dict[str, Callable[[Program, float], Plan | None]] = {
    "keep_all": keep_all,
    "binomial": binomial,
    "exact": exact,
    "chain": chain,
    "uniform": uniform,
    "boundaries": boundaries,
    "next_use": next_use,
    "ancestors": ancestors,
}


_ROUNDS = 6


def check_name(planner: str) -> None:
    """Raise `ValueError` for a planner's name that is not known."""
    if planner not in (*PLANNERS, "best"):
        raise ValueError(f"unknown planner {planner!r}; known are best, {', '.join(PLANNERS)}")


def best(program: Program, budget: int, planner: str = "best") -> Plan:
    """Return the plan with the least extra work that fits; `planner` asks for one by name.

    Raises `MemoryBudgetError` when none fits, `ValueError` for an unknown name.
    """
    check_name(planner)
    if planner != "best":
        plan = PLANNERS[planner](program, budget)
        if plan is None:
            raise refusal(program, budget, planner)
        return plan
    plan = keep_all(program, budget) or binomial(program, budget) or exact(program, budget)
    if plan is not None:
        return plan
    plans = [
        plan for make in (uniform, next_use, ancestors, boundaries, chain) if (plan := make(program, budget)) is not None
    ]
    if not plans:
        raise refusal(program, budget)
    return min(plans, key=lambda plan: plan.work_seconds)


def smallest_budget(program: Program) -> tuple[int, Plan]:
    """Return the least budget in bytes for which a plan was found, and that plan: a bisection over the next-use planners."""
    kept = keep_all(program, float("inf"))
    assert kept is not None
    least = least_budget(program, kept.projected_peak_bytes)
    if least is not None:
        return least, exact(program, least) or kept
    low, high, plan = program.lower_bound_bytes(), kept.projected_peak_bytes, kept
    middle = low
    for _ in range(_ROUNDS):
        if high - low <= high // 200:
            break
        found = next_use(program, middle) or nested(program, middle)
        if found is None:
            low = middle + 1
        else:
            plan, high = found, found.projected_peak_bytes
        middle = (low + high) // 2
    return high, plan


def refusal(program: Program, budget: int, planner: str = "best") -> MemoryBudgetError:
    """Return the error that says what the cheapest plan needs, who holds it, and the nearest cure."""
    needed, plan = smallest_budget(program)
    if planner not in ("best", "next_use", "ancestors"):
        return MemoryBudgetError(
            f"the planner {planner!r} found no plan within {format_bytes(budget)} ({budget} bytes); other planners need "
            f"at least {format_bytes(needed)} ({needed} bytes): leave the choice to planner='best'",
            needed_bytes=needed,
            budget_bytes=budget,
        )
    rows = "\n".join(f"  {format_bytes(size):>12}  {label}  {line}" for size, label, line in plan.holders())
    return MemoryBudgetError(
        f"the cheapest plan needs {format_bytes(needed)} ({needed} bytes), the budget is {format_bytes(budget)} "
        f"({budget} bytes). Largest holders at its peak:\n{rows}\nRaise the budget to {needed} bytes, or make the batch "
        "smaller: retape.accumulate(f, microbatch='auto', memory_budget=...) splits it until a plan fits",
        needed_bytes=needed,
        budget_bytes=budget,
    )
