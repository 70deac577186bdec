"""Plans that spill: values go to disk when they are made and come back ahead of their use, where recomputing costs more.

Values are evicted by next use (the farthest first, as in L. Belady 1966), those on disk already before others. What is
read back is read as early as memory allows, so that reading and writing go on beside the computing: how long that takes
is the plan's elapsed time, a fold over its steps with one clock for the processor and one for the disk. No optimality
guarantee; a plan that spills is taken only where its elapsed time is less than the work of the plan that recomputes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .disk import Disk
from .plan import Plan
from .program import Program
from .rules import NEVER
from .steps import Compute, Drop, Load, Spill, Step


def spilling(program: Program, budget: int, disk: Disk, may_spill: Sequence[int]) -> Plan | None:
    """Return the fastest plan found that spills, or None where even that does not fit.

    `may_spill` tells by value whether it can be written to disk at all. Room for none, one or two values more than are
    needed is kept free, so that reading goes ahead; the fastest of the three is taken.
    """
    largest = max((size for v, size in enumerate(program.sizes) if may_spill[v]), default=0)
    plans = []
    for spare in (0, largest, 2 * largest):
        steps = _Walk(program, budget, disk, may_spill, spare).steps()
        if steps is not None:
            steps = _ahead(program, steps, budget, disk)
            plan = Plan(program, steps, "spilling", budget)
            waiting = elapsed_seconds(program, steps, disk) - plan.work_seconds
            plans.append(replace(plan, waiting_seconds=max(waiting, 0.0)))
    return min(plans, key=lambda plan: plan.work_seconds + plan.waiting_seconds, default=None)


def elapsed_seconds(program: Program, steps: Iterable[Step], disk: Disk) -> float:
    """Return the estimated seconds of a plan's steps: computing waits for what it reads, and memory for what is written."""
    computing = moving = 0.0
    written: dict[int, float] = {}  # when, by value
    read: dict[int, float] = {}
    for step in steps:
        v = step.value
        if isinstance(step, Compute):
            ready = [read[u] for u in program.inputs[v] if u in read]
            computing = max([computing, written.get(step.overwrites, 0.0), *ready]) + program.costs[v]
        elif isinstance(step, Drop):
            computing = max(computing, written.get(v, 0.0), read.pop(v, 0.0))
        elif isinstance(step, Spill):
            moving = written[v] = max(moving, computing) + program.sizes[v] / disk.write_bytes_per_second
        else:
            moving = read[v] = max(moving, computing) + program.sizes[v] / disk.read_bytes_per_second
    return computing


class _Walk:
    """One run over a program within `budget` bytes, of which `spare` are left free where that can be done."""

    def __init__(self, program: Program, budget: int, disk: Disk, may_spill: Sequence[int], spare: int) -> None:
        self.program = program
        self.budget = budget
        self.disk = disk
        self.may_spill = may_spill
        self.spare = spare
        self.live = program.held_bytes
        self.resident: dict[int, None] = {}
        self.spilled: set[int] = set()
        self.spilled_bytes = 0
        self.made: list[Step] = []
        self.position = 0
        self.outputs = frozenset(program.outputs)
        self.consumers: list[list[int]] = [[] for _ in program.sizes]
        for v, inputs in enumerate(program.inputs):
            for u in set(inputs):
                self.consumers[u].append(v)

    def steps(self) -> tuple[Step, ...] | None:
        """Return the steps, or None where the budget cannot be held."""
        program = self.program
        for v in range(len(program)):
            self.position = v
            if not self._make(v, frozenset(program.inputs[v])):
                return None
            for u in (*dict.fromkeys(program.inputs[v]), v):
                if u in self.resident and self._next_use(u) == NEVER:
                    self._drop(u)
        loaded = {step.value for step in self.made if isinstance(step, Load)}
        steps: list[Step] = []
        for step in self.made:
            steps.append(step)
            if isinstance(step, Compute) and step.value in loaded:
                steps.append(Spill(step.value))
                loaded.remove(step.value)
        return tuple(steps)

    def _next_use(self, v: int) -> float:
        """Return the position of the next call after the one at hand that reads `v`."""
        if v in self.outputs:
            return float(len(self.program))
        consumers = self.consumers[v]
        place = bisect_right(consumers, self.position)
        return consumers[place] if place < len(consumers) else NEVER

    def _make(self, v: int, locked: frozenset[int]) -> bool:
        """Compute `v`, its inputs first brought back; tell whether that fits."""
        program = self.program
        for u in dict.fromkeys(program.inputs[v]):
            if u not in self.resident and not self._bring_back(u, locked):
                return False
        victim = program.overwrites[v]
        if victim not in self.resident or self._next_use(victim) != NEVER:
            victim = -1
        saved = program.sizes[victim] if victim >= 0 else 0
        if not self._make_room(program.sizes[v] + program.workspaces[v] - saved, locked):
            return False
        self.made.append(Compute(v, victim))
        if victim >= 0:
            self._forget(victim)
        self._note(v)
        return True

    def _bring_back(self, v: int, locked: frozenset[int]) -> bool:
        """Load `v`, or compute it again from what is in memory where that takes less time than reading."""
        program = self.program
        inputs = frozenset(program.inputs[v])
        is_cheap = program.costs[v] < program.sizes[v] / self.disk.read_bytes_per_second
        if is_cheap and all(u in self.resident for u in inputs):
            need = program.sizes[v] + program.workspaces[v]
            if self.live + need <= self.budget or self._make_room(need, locked | inputs):
                self.made.append(Compute(v))
                self._note(v)
                return True
        if v not in self.spilled or not self._make_room(program.sizes[v], locked):
            return False
        self.made.append(Load(v))
        self._note(v)
        return True

    def _make_room(self, need: int, locked: frozenset[int]) -> bool:
        sizes = self.program.sizes
        while self.live + need > self.budget - self.spare:
            candidates = [v for v in self.resident if v not in locked and v not in self.outputs and self._may_go(v)]
            if not candidates:
                return self.live + need <= self.budget
            victim = max(candidates, key=lambda v: (self._next_use(v) - self.position) * (2 if v in self.spilled else 1))
            if victim not in self.spilled:
                self.spilled.add(victim)
                self.spilled_bytes += sizes[victim]
            self._drop(victim)
        return True

    def _may_go(self, v: int) -> bool:
        size = self.program.sizes[v]
        return v in self.spilled or bool(self.may_spill[v]) and self.spilled_bytes + size <= self.disk.capacity_bytes

    def _note(self, v: int) -> None:
        self.resident[v] = None
        self.live += self.program.sizes[v]

    def _forget(self, v: int) -> None:
        del self.resident[v]
        self.live -= self.program.sizes[v]

    def _drop(self, v: int) -> None:
        self.made.append(Drop(v))
        self._forget(v)


def _ahead(program: Program, steps: tuple[Step, ...], budget: int, disk: Disk) -> tuple[Step, ...]:
    """Return the steps with every load moved forward, as far as memory allows and reading takes time."""
    during, before_bytes = [], 0
    for _, most, after in Plan(program, steps, "spilling").memory():
        during.append(max(most, before_bytes))  # before a drop there is more than after it
        before_bytes = after
    places: list[float] = [float(place) for place in range(len(steps))]
    for place, step in enumerate(steps):
        if not isinstance(step, Load):
            continue
        size = program.sizes[step.value]
        most = 4 * size / disk.read_bytes_per_second
        start = place
        while start > 0 and most > 0 and during[start - 1] + size <= budget and steps[start - 1].value != step.value:
            start -= 1
            before = steps[start]
            most -= program.costs[before.value] if isinstance(before, Compute) else 0.0
        for between in range(start, place):
            during[between] += size
        if start < place:
            places[place] = start - 0.5
    return tuple(step for _, _, step in sorted(zip(places, range(len(steps)), steps, strict=True), key=lambda row: row[:2]))
