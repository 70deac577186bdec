"""The plan: an order of steps over a program's values, and its peak, its extra work and its explanation as folds over it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .program import Program
from .residency import Compute, Step, simulate
from .units import format_bytes


@dataclass(frozen=True, eq=False)
class Plan:
    """What is computed when, dropped and computed again, for one program under one budget.

    `steps` is the whole order; values may be computed in any order that their inputs allow, and those that no output
    depends on may be left out. `is_optimal` tells that no plan has less work within the budget. A plan that goes on from
    the middle of a run has `start` (the values in memory by then) and `start_position` (the first value not made yet).
    """

    program: Program
    steps: tuple[Step, ...]
    planner: str
    budget_bytes: int | None = None
    start: frozenset[int] = frozenset()
    start_position: int = 0
    is_optimal: bool = False

    def memory(self) -> Iterator[tuple[Step, int, int]]:
        """Yield each step with the bytes live during it (workspace included) and after it."""
        sizes, workspaces = self.program.sizes, self.program.workspaces
        live = self.program.held_bytes + sum(sizes[v] for v in self.start)
        for step in self.steps:
            if isinstance(step, Compute):
                saved = sizes[step.overwrites] if step.overwrites >= 0 else 0
                during = live + sizes[step.value] + workspaces[step.value] - saved
                live += sizes[step.value] - saved
                yield step, during, live
            else:
                live -= sizes[step.value]
                yield step, live, live

    @cached_property
    def projected_peak_bytes(self) -> int:
        """The most bytes that are live at any step, workspaces included."""
        start = self.program.held_bytes + sum(self.program.sizes[v] for v in self.start)
        return max((during for _, during, _ in self.memory()), default=start)

    @cached_property
    def stops(self) -> list[int]:
        """By value of the forward sweep, how many steps may be done once the program has called for the values up to it.

        What is made for the first time by then is; nothing is that comes later in the program.
        """
        stops = [0] * self.program.forward
        made: set[int] = set()
        latest = -1
        for place, step in enumerate(self.steps, start=1):
            if isinstance(step, Compute):
                latest = max(latest, step.value)
                if latest >= self.program.forward:
                    break
                if step.value not in made:
                    made.add(step.value)
                    stops[latest] = place
        for v in range(1, self.program.forward):
            stops[v] = max(stops[v], stops[v - 1])
        return stops

    @cached_property
    def computed(self) -> list[int]:
        """How many times each value is computed."""
        counts = [0] * len(self.program)
        for step in self.steps:
            if isinstance(step, Compute):
                counts[step.value] += 1
        return counts

    @cached_property
    def work_seconds(self) -> float:
        """Estimated seconds of all computing in the plan."""
        return sum(count * cost for count, cost in zip(self.computed, self.program.costs, strict=True))

    @cached_property
    def extra_work(self) -> float:
        """Work beyond computing every value once, as a fraction: 0.3 means 30 % more."""
        once = self.program.work_seconds()
        again = sum(max(n - 1, 0) * cost for n, cost in zip(self.computed, self.program.costs, strict=True))
        return again / once if once else 0.0

    @cached_property
    def unbudgeted_peak_bytes(self) -> int:
        """The peak of the same program when everything that is read again is kept."""
        steps = simulate(self.program, math.inf)
        assert steps is not None
        return Plan(self.program, steps, "keep_all").projected_peak_bytes

    def segments(self) -> list[tuple[int, int]]:
        """Return the forward sweep's segments as (first, past the last) value, cut at narrow places."""
        places = self.program.cuts(max(min(round(math.sqrt(self.program.forward)) - 1, 15), 0))
        edges = [0, *places, self.program.forward]
        return [(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True) if b > a]

    def holders(self, count: int = 5) -> list[tuple[int, str, str]]:
        """Return the largest holders of memory at the peak: (bytes, op, the user's ``file:line``), summed by line."""
        sizes = self.program.sizes
        live = set(self.start)
        peak, at_peak = -1, frozenset()
        for step, during, _ in self.memory():
            if isinstance(step, Compute):
                live.add(step.value)
                if during > peak:
                    peak, at_peak = during, frozenset(live)
                live.discard(step.overwrites)
            else:
                live.discard(step.value)
        return summed_by_line(self.program, at_peak, count) if sizes else []

    def __str__(self) -> str:
        return explain(self)

    def plot(self, path: Any, *, measured: Any = None) -> None:
        """Draw live memory over the plan's steps against the budget into `path` (PNG, SVG or PDF by its suffix).

        `measured` is an optional list of measured bytes, one a step. Needs matplotlib (`pip install 'retape[plot]'`).
        """
        from .picture import draw

        draw(self, path, measured)


def summed_by_line(program: Program, values: Any, count: int) -> list[tuple[int, str, str]]:
    """Return the largest sums of bytes of `values` by op and line."""
    sums: dict[tuple[str, str], int] = {}
    for v in values:
        key = (program.labels[v], program.lines[v])
        sums[key] = sums.get(key, 0) + program.sizes[v]
    rows = sorted(((size, label, line) for (label, line), size in sums.items() if size), reverse=True)
    return rows[:count]


def explain(plan: Plan) -> str:
    """Return the plan in words: budget, peak, extra work, segments, and who holds the most memory."""
    program = plan.program
    peak, without = plan.projected_peak_bytes, plan.unbudgeted_peak_bytes
    again = [n - 1 for n in plan.computed if n > 1]
    budget = "none" if plan.budget_bytes is None else format_bytes(plan.budget_bytes)
    share = f", {100 * peak / without:.0f} % of the {format_bytes(without)} needed without a budget" if without else ""
    lines = [
        f"Plan of {len(program)} values ({program.forward} in the forward sweep), made by {plan.planner}",
        f"  budget      {budget}",
        f"  projected   {format_bytes(peak)}{share}",
        f"  extra work  {100 * plan.extra_work:.1f} % ({sum(again)} recomputations of {len(again)} values)",
        f"  at least    {format_bytes(program.lower_bound_bytes())} under any plan",
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
    return "\n".join(lines)


def _kept_at_turn(plan: Plan) -> set[int]:
    """Return the values in memory when the reverse sweep begins."""
    live = set(plan.start)
    for step in plan.steps:
        if isinstance(step, Compute):
            if step.value >= plan.program.forward:
                break
            live.add(step.value)
            live.discard(step.overwrites)
        else:
            live.discard(step.value)
    return live
