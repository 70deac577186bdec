"""The plan: an order of steps over a program's values, and its peak, its extra work and its explanation as folds over it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .bounds import least_work_seconds
from .explanation import explain
from .hoisting import hoisted_values
from .program import Program
from .simulation import simulate
from .steps import Compute, Drop, Load, Spill, Step


@dataclass(frozen=True, eq=False)
class Plan:
    """What is computed when, dropped and computed again, for one program under one budget.

    `steps` is the whole order; values may be computed in any order that their inputs allow, and those that no output
    depends on may be left out. `is_optimal` tells that no plan has less work within the budget. `projected_seconds` is
    what it takes on this machine, where that was measured; `waiting_seconds` is how long it is expected to wait for a disk.
    A plan that goes on from the middle of a run has `start` (the
    values in memory by then) and `start_position` (the first value not made yet).
    """

    program: Program
    steps: Sequence[Step]
    planner: str
    budget_bytes: int | None = None
    start: frozenset[int] = frozenset()
    start_position: int = 0
    is_optimal: bool = False
    projected_seconds: float | None = None
    waiting_seconds: float = 0.0

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
                if isinstance(step, Load):
                    live += sizes[step.value]
                elif isinstance(step, Drop):
                    live -= sizes[step.value]
                yield step, live, live

    @cached_property
    def projected_peak_bytes(self) -> int:
        """The most bytes that are live at any step, workspaces included."""
        start = self.program.held_bytes + sum(self.program.sizes[v] for v in self.start)
        return max((during for _, during, _ in self.memory()), default=start)

    @cached_property
    def _hoisted(self) -> dict[int, int]:
        return hoisted_values(self.program)

    @cached_property
    def turn(self) -> int:
        """The number of steps before the reverse sweep begins; hoisted values do not count as of it."""
        for place, step in enumerate(self.steps):
            if isinstance(step, Compute) and step.value >= self.program.forward and step.value not in self._hoisted:
                return place
        return len(self.steps)

    @cached_property
    def stops(self) -> list[int]:
        """By value of the forward sweep, how many steps may be done once the program has called for the values up to it.

        What is made for the first time by then is; nothing is that comes later in the program, but for hoisted values.
        """
        stops = [0] * self.program.forward
        made: set[int] = set()
        latest = -1
        for place, step in enumerate(self.steps[: self.turn], start=1):
            if isinstance(step, Compute):
                latest = max(latest, self._hoisted.get(step.value, step.value))
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
        return extra_work(self.program, self.computed)

    @cached_property
    def spilled_bytes(self) -> int:
        """The bytes of all values that are written to disk."""
        return sum(self.program.sizes[step.value] for step in self.steps if isinstance(step, Spill))

    @cached_property
    def least_work_seconds(self) -> float:
        """Seconds of computing below which no plan within the budget exists (see `bounds`); exact where `is_optimal`."""
        if self.is_optimal:
            return self.work_seconds
        if self.spilled_bytes or self.program.loops:
            # The bounds are those of plans that recompute, with the shares that loops have.
            return self.program.work_seconds() - self.program.repeated_seconds()
        return least_work_seconds(self.program, math.inf if self.budget_bytes is None else self.budget_bytes)

    @cached_property
    def gap(self) -> float:
        """How much more work the plan does than any plan must, at most, as a fraction: 0 is proved to be the best."""
        return self.work_seconds / self.least_work_seconds - 1.0 if self.least_work_seconds else 0.0

    @cached_property
    def least_budget_bytes(self) -> int:
        """The smallest budget for which a plan is found; with one byte less, planning raises. May take some seconds."""
        from .planners import smallest_budget  # which make plans

        return smallest_budget(self.program)[0]

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
            elif isinstance(step, Load):
                live.add(step.value)
            elif isinstance(step, Drop):
                live.discard(step.value)
        return summed_by_line(self.program, at_peak, count) if sizes else []

    def recomputed(self, count: int = 5) -> list[tuple[float, int, str, str]]:
        """Return where most work is done again, by line: (share of all work once, times, op, the user's ``file:line``)."""
        once = self.program.work_seconds() or 1.0
        sums: dict[tuple[str, str], tuple[float, int]] = {}
        for v, times in enumerate(self.computed):
            if times > 1:
                key = (self.program.labels[v], self.program.lines[v])
                share, total = sums.get(key, (0.0, 0))
                sums[key] = share + (times - 1) * self.program.costs[v] / once, total + times - 1
        rows = sorted(((share, total, *key) for key, (share, total) in sums.items()), reverse=True)
        return rows[:count]

    def __str__(self) -> str:
        return explain(self)

    def save(self, path: Any) -> None:
        """Write the plan into the file `path`, from which `load_plan` reads it for another process.

        Raises `FileNotFoundError` for a missing folder.
        """
        from .saved import save_plan

        save_plan(self, path)

    def plot(self, path: Any, *, measured: Any = None) -> None:
        """Draw live memory over the plan's steps against the budget into `path` (PNG, SVG or PDF by its suffix).

        `measured` is an optional list of measured bytes, one a step. Needs matplotlib (`pip install 'retape[plot]'`).
        """
        from .picture import draw

        draw(self, path, measured)


def extra_work(program: Program, computed: Sequence[int]) -> float:
    """Return the work beyond running everything once, as a fraction, of computing each value so often."""
    repeated = program.repeated_seconds()
    once = program.work_seconds() - repeated
    again = sum((n - 1) * cost for n, cost in zip(computed, program.costs, strict=True) if n > 1)
    return (again + repeated) / once if once > 0 else 0.0


def summed_by_line(program: Program, values: Any, count: int) -> list[tuple[int, str, str]]:
    """Return the largest sums of bytes of `values` by op and line."""
    sums: dict[tuple[str, str], int] = {}
    for v in values:
        key = (program.labels[v], program.lines[v])
        sums[key] = sums.get(key, 0) + program.sizes[v]
    rows = sorted(((size, label, line) for (label, line), size in sums.items() if size), reverse=True)
    return rows[:count]
