"""The planners, one per file, all of one signature: ``(program, budget) -> Plan | None``; `best` chooses among them."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import MemoryBudgetError
from ..plan import Plan
from ..program import Program
from ..shares import least_shares, shared
from ..units import format_bytes
from .ancestors import ancestors
from .binomial import binomial
from .boundaries import boundaries
from .chain import chain
from .exact import exact
from .floor import small_plan, smallest_budget
from .keep_all import keep_all
from .next_use import next_use
from .revolve import revolve
from .search import filled, search
from .staleness import staleness
from .uniform import uniform

__all__ = ["PLANNERS", "best", "check_effort", "check_name", "refusal", "small_plan", "smallest_budget", "with_best_shares"]

PLANNERS: dict[str, Callable[[Program, float], Plan | None]] = {
    "keep_all": keep_all,
    "binomial": binomial,
    "exact": exact,
    "chain": chain,
    "uniform": uniform,
    "revolve": revolve,
    "boundaries": boundaries,
    "next_use": next_use,
    "ancestors": ancestors,
    "staleness": staleness,
    "search": search,
}


def check_effort(effort: int | None) -> None:
    """Raise `ValueError` for an effort that is no number of simulated steps; None leaves it to the planner."""
    if effort is not None and (not isinstance(effort, int) or effort < 0):
        raise ValueError(f"planning_effort={effort!r} must be a whole number of simulated steps, such as 100_000")


def check_name(planner: str) -> None:
    """Raise `ValueError` for a planner's name that is not known."""
    if planner not in (*PLANNERS, "best"):
        raise ValueError(f"unknown planner {planner!r}; known are best, {', '.join(PLANNERS)}")


def best(program: Program, budget: int, planner: str = "best", *, effort: int | None = None) -> Plan:
    """Return the plan with the least extra work that is found; `planner` asks for one by name.

    `effort` is what "best" may spend on searching, in simulated steps (see `search`). Raises `MemoryBudgetError` when
    no plan fits, `ValueError` for an unknown name or an effort that is no number of steps.
    """
    check_name(planner)
    check_effort(effort)
    program = with_best_shares(program, budget)
    if planner != "best":
        plan = PLANNERS[planner](program, budget)
        if plan is None:
            raise refusal(program, budget, planner)
        return plan
    if budget < program.lower_bound_bytes():
        raise refusal(program, budget)
    plan = keep_all(program, budget) or binomial(program, budget) or exact(program, budget)
    if plan is not None and (plan.is_optimal or max(plan.computed, default=0) <= 1):
        return plan
    searched = search(program, budget, effort=effort)
    found = [made for made in (plan, searched) if made is not None]
    if found:
        return min(found, key=lambda made: made.work_seconds)
    needed, least = smallest = smallest_budget(program)
    if needed > budget:
        raise refusal(program, budget, smallest=smallest)
    return filled(least, budget)  # rules are not monotone: one may fit into less memory alone


def with_best_shares(program: Program, budget: int) -> Program:
    """Return the program with those shares of its loops that lead to the least work; with the smallest if none fits."""
    if not program.loops:
        return program
    return shared(program, budget, lambda candidate: search(candidate, budget, effort=0)) or least_shares(program)


def refusal(
    program: Program, budget: int, planner: str = "best", *, smallest: tuple[int, Plan] | None = None
) -> MemoryBudgetError:
    """Return the error that says what the cheapest plan needs, who holds it, and the nearest cure."""
    needed, plan = smallest or smallest_budget(program)
    if planner not in ("best", "search"):
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
