"""A plan in words, for somebody who sees one for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .steps import Compute, Drop, Load
from .units import format_bytes

if TYPE_CHECKING:
    from .plan import Plan
    from .program import Loop


def explain(plan: Plan) -> str:
    """Return the plan in words: memory, work and time, what is kept and what is recomputed, and who holds the most memory."""
    program = plan.program
    budget = "without a budget" if plan.budget_bytes is None else f"within a budget of {format_bytes(plan.budget_bytes)}"
    lines = [
        f"Plan of {len(program)} values ({program.forward} in the forward sweep) {budget}, made by {plan.planner}",
        *_figures(plan),
        "",
        "  segments of the forward sweep: bytes made, bytes still in memory when the reverse sweep begins, and what is",
        "  computed again",
        "",
        "  segment   values            makes       kept for the reverse sweep   recomputed",
    ]
    kept = _kept_at_turn(plan)
    for number, (a, b) in enumerate(plan.segments()):
        held = [v for v in range(a, b) if v in kept]
        made = sum(program.sizes[a:b])
        times = sum(max(plan.computed[v] - 1, 0) for v in range(a, b))
        lines.append(
            f"  {number:>7}   {f'{a}..{b - 1}':<15} {format_bytes(made):>10}   "
            f"{format_bytes(sum(program.sizes[v] for v in held)):>12} in {len(held):>4} values   {times:>10}"
        )
    holders = plan.holders()
    if holders:
        lines += ["", "  largest holders at the peak"]
        lines += [f"  {format_bytes(size):>12}  {label}{'  ' + line if line else ''}" for size, label, line in holders]
    again = plan.recomputed()
    if again:
        lines += ["", "  most work done again"]
        lines += [
            f"  {100 * share:>10.1f} %  {label}, {count} times{'  ' + line if line else ''}"
            for share, count, label, line in again
        ]
    return "\n".join(lines)


def _figures(plan: Plan) -> list[str]:
    peak, without = plan.projected_peak_bytes, plan.unbudgeted_peak_bytes
    again = [n - 1 for n in plan.computed if n > 1]
    share = f", {100 * peak / without:.0f} % of the {format_bytes(without)} needed without a budget" if without else ""
    lines = [f"  projected   {format_bytes(peak)} ({peak} bytes){share}"]
    if plan.spilled_bytes:
        lines.append(f"  spilled     {format_bytes(plan.spilled_bytes)} are written to disk and read back")
    lines += [_loop_in_words(loop) for loop in plan.program.loops]
    if not again and not plan.program.repeated_seconds():
        lines.append("  extra work  none: everything is computed once")
    else:
        proof = (
            "no plan does less"
            if plan.gap == 0
            else f"all work is at most {100 * plan.gap:.1f} % more than every plan must do"
        )
        what = f"{sum(again)} recomputations of {len(again)} values"
        if plan.program.repeated_seconds():
            what += ", and steps of loops run again"
        lines.append(f"  extra work  {100 * plan.extra_work:.1f} % ({what}); {proof}")
    if plan.projected_seconds is not None:
        lines.append(f"  time        {plan.projected_seconds:.3g} s a call, as measured on this machine")
    least = plan.least_budget_bytes
    lines.append(f"  at least    {format_bytes(least)} ({least} bytes) is the smallest budget that works")
    return lines


def _loop_in_words(loop: Loop) -> str:
    costs, share = loop.costs, loop.share
    blocks = costs.blocks(share)
    steps = f"{costs.length} steps" + (" (a guess)" if costs.is_open else "")
    if share.rung.steps > 1:
        steps += f" in {blocks} blocks"
    on_disk = costs.disk_bytes(share)
    more = f", {format_bytes(on_disk)} of others on disk" if on_disk else ""
    held = min(share.slots, max(blocks, 1))
    return f"  loop        {steps}, {held} states of {format_bytes(costs.state_bytes)} in memory at a time{more}"


def _kept_at_turn(plan: Plan) -> set[int]:
    """Return the values in memory when the reverse sweep begins."""
    live = set(plan.start)
    for step in plan.steps[: plan.turn]:
        if isinstance(step, Compute):
            live.add(step.value)
            live.discard(step.overwrites)
        elif isinstance(step, Load):
            live.add(step.value)
        elif isinstance(step, Drop):
            live.discard(step.value)
    return live
