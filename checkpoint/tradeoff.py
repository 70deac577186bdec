"""The tradeoff: plans of one program from the memory that keeps everything down to the smallest budget, to choose from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .plan import Plan
from .planners import PLANNERS, best, smallest_budget
from .program import Program
from .units import format_bytes


@dataclass(frozen=True, eq=False)
class Tradeoff:
    """Plans of one program, the largest budget first. `print` gives a table, `plot` a picture."""

    plans: tuple[Plan, ...]

    def __str__(self) -> str:
        without = self.plans[0].unbudgeted_peak_bytes or 1
        lines = [
            f"{len(self.plans)} plans of {len(self.plans[0].program)} values: the less memory, the more is computed again",
            "",
            "      budget (bytes)         of all   extra work   at least      seconds   planner",
        ]
        for plan in self.plans:
            peak = plan.projected_peak_bytes if plan.budget_bytes is None else plan.budget_bytes
            least = plan.least_work_seconds / plan.program.work_seconds() - 1 if plan.program.work_seconds() else 0.0
            seconds = "" if plan.projected_seconds is None else f"{plan.projected_seconds:.3g}"
            budget = f"{format_bytes(peak):>10} {f'({peak})':<15} {100 * peak / without:>6.0f} %"
            work = f"{100 * plan.extra_work:>8.1f} %   {100 * max(least, 0.0):>6.1f} %"
            lines.append(f"  {budget}   {work}   {seconds:>10}   {plan.planner}")
        return "\n".join(lines)

    def plot(self, path: Any) -> None:
        """Draw extra work against memory into `path` (PNG, SVG or PDF by its suffix). Needs `pip install 'retape[plot]'`.

        Raises `ImportError` without matplotlib, `FileNotFoundError` for a missing folder.
        """
        from .picture import draw_tradeoff

        draw_tradeoff(self, path)


def weigh(program: Program, points: int, planner: str = "best") -> Tradeoff:
    """Return `points` plans of `program`, from the smallest budget to the peak without one, each the same share more.

    A plan for less memory is one for more, so work never rises with the budget.
    """
    kept = PLANNERS["keep_all"](program, float("inf"))
    assert kept is not None
    most = kept.projected_peak_bytes
    least, found = smallest_budget(program)
    if not found.is_optimal:
        found = min(found, best(program, least), key=lambda plan: plan.work_seconds)
    plans = [replace(found, budget_bytes=least)]
    for k in range(1, points):
        budget = most if k == points - 1 else int(least * (most / max(least, 1)) ** (k / (points - 1)))
        if budget == plans[-1].budget_bytes:
            continue
        plan = best(program, budget, planner)
        if plan.work_seconds > plans[-1].work_seconds:
            plan = replace(plans[-1], budget_bytes=budget, is_optimal=False)
        plans.append(plan)
    return Tradeoff(tuple(reversed(plans)))
