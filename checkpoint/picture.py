"""Pictures: a plan as live memory over its steps, with its budget as a line; a tradeoff as extra work against memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .steps import Compute
from .units import format_bytes

if TYPE_CHECKING:
    from .plan import Plan
    from .tradeoff import Tradeoff


def draw(plan: Plan, path: Any, measured: Any = None) -> None:
    """Draw `plan` into the file `path`. Raises `ImportError` without matplotlib, `FileNotFoundError` for a missing folder."""
    figure, target = _figure(path)
    mib = 1 / 2**20
    during = [bytes_ * mib for _, bytes_, _ in plan.memory()]
    seen: set[int] = set()
    again = []
    for place, (step, _, _) in enumerate(plan.memory()):
        if isinstance(step, Compute):
            if step.value in seen:
                again.append(place)
            seen.add(step.value)
    axes = figure.subplots()
    axes.fill_between(range(len(during)), during, step="mid", color="#4878a8", alpha=0.45, label="projected, live")
    if again:
        axes.scatter(again, [during[k] for k in again], s=4, color="#7b3294", label="recomputed", zorder=3)
    if measured is not None:
        axes.plot([bytes_ * mib for bytes_ in measured], color="black", linewidth=0.8, label="measured")
    if plan.budget_bytes is not None:
        axes.axhline(plan.budget_bytes * mib, color="red", linestyle="--", label=f"budget {format_bytes(plan.budget_bytes)}")
    without = plan.unbudgeted_peak_bytes
    axes.axhline(without * mib, color="orange", linestyle=":", label=f"without a budget {format_bytes(without)}")
    if plan.turn < len(plan.steps):
        axes.axvline(plan.turn, color="grey", linewidth=0.8)
        axes.text(plan.turn, axes.get_ylim()[1], " reverse sweep", va="top", fontsize=8, color="grey")
    axes.set(
        xlabel="step of the plan",
        ylabel="MiB",
        ylim=(0, None),
        title=f"{plan.planner}: {100 * plan.extra_work:.1f} % extra work",
    )
    axes.legend(loc="best", fontsize=8)
    figure.savefig(target, dpi=120)


def draw_tradeoff(tradeoff: Tradeoff, path: Any) -> None:
    """Draw a tradeoff into the file `path`: extra work of its plans, and what no plan goes below, against the budget."""
    figure, target = _figure(path)
    axes = figure.subplots()
    plans = tradeoff.plans
    memory = [(plan.budget_bytes or plan.projected_peak_bytes) / 2**20 for plan in plans]
    once = plans[0].program.work_seconds() or 1.0
    bound = [100 * max(plan.least_work_seconds / once - 1, 0.0) for plan in plans]
    axes.plot(memory, [100 * plan.extra_work for plan in plans], "o-", color="#4878a8", label="extra work of the plans")
    axes.fill_between(memory, bound, color="grey", alpha=0.3, label="no plan does less")
    axes.axvline(memory[-1], color="red", linestyle="--", label=f"smallest budget {memory[-1]:.3g} MiB")
    axes.set(xlabel="memory budget, MiB", ylabel="extra work, %", xlim=(0, None), ylim=(0, None))
    axes.legend(loc="best", fontsize=8)
    figure.savefig(target, dpi=120)


def _figure(path: Any) -> tuple[Any, Path]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("a picture of a plan needs matplotlib: pip install 'retape[plot]'") from error
    target = Path(path)
    if not target.parent.exists():
        raise FileNotFoundError(f"cannot draw into {target}: the folder {target.parent} does not exist")
    return Figure(figsize=(9, 4.5), layout="constrained"), target
