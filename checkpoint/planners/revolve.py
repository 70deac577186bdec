"""revolve: segments between narrow places reversed from the last to the first, each run again from the nearest state held.

Griewank and Walther 2000, "Algorithm 799: revolve", for segments of any sizes as if they were equal steps: a segment is
taped as a whole when its turn comes, beside as many states as there are slots. On a chain of n steps s slots are enough to
run no step more than r times, where C(s + r, s) >= n. Which plans there are does not depend on the budget: each is one
number of segments and one number of slots, and few slots with many segments are the way into the least memory. Beside
them stand the plans that halve the segments again and again (Griewank 1992), which suit a forward sweep over a tree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..loops.binomial import forward_steps
from ..loops.turns import Split, forward, turns
from ..order import steps_of
from ..plan import Plan
from ..program import Program
from ..simulation import MOST_STEPS

_TRIED = 4  # numbers of slots
_WORSE_IN_A_ROW = 2


def revolve(program: Program, budget: float) -> Plan | None:
    """Return the cheapest plan over numbers of segments that are powers of two, or None when none fits."""
    found: Plan | None = None
    worse = 0
    for segments in _segmentations(program, budget):
        plan = segments.cheapest(budget)
        if plan is not None and (found is None or plan.work_seconds < found.work_seconds):
            found, worse = plan, 0
        elif found is not None:
            worse += 1
        if worse == _WORSE_IN_A_ROW:
            break
    return found


def least_plan(program: Program) -> Plan | None:
    """Return the plan that takes the least memory, or None where there is none.

    >>> program = Program(outputs=(7,), forward=4)
    >>> for inputs in ((), (0,), (1,), (2,), (3,), (2, 4), (1, 5), (0, 6)):
    ...     _ = program.add(10, inputs, cost=1.0)
    >>> plan = least_plan(program)
    >>> plan.projected_peak_bytes, plan.work_seconds
    (40, 9.0)
    """
    made = list(_segmentations(program, 2.0 * program.lower_bound_bytes()))
    if not made:
        return None
    segments = min(made, key=lambda segments: segments.halved.projected_peak_bytes)
    fewest = segments.plan(segments.fewest)
    return min(segments.halved, fewest, key=lambda plan: plan.projected_peak_bytes)


def _segmentations(program: Program, budget: float) -> Iterator[_Segments]:
    """Yield the segments that may fit into `budget`, the fewest first: twice as many take half the memory at best."""
    count, most = 2, program.forward // 2
    while count <= most:
        segments = _Segments(program, count)
        times = segments.halved.projected_peak_bytes / max(budget, 1.0)
        if times < 4 or 2 * count > most:
            yield segments
        count = max(2 * count, min(count * 2 ** int(math.log2(max(times, 1.0))), 2 ** int(math.log2(most))))


class _Segments:
    """The forward sweep cut into `count` segments or fewer; `fewest` is the least number of slots that is not too much work.

    `halved` is the plan that halves them, and holds a state for each level.
    """

    def __init__(self, program: Program, count: int) -> None:
        self.program = program
        places = program.cuts(count - 1)
        self.edges = [0, *places, program.forward]
        self.ends = _ends(program, self.edges)
        self.count = len(self.edges) - 1
        widths = [sum(program.sizes[v] for v in values) for values, _ in program.boundaries(places)]
        self.state_bytes = max(1, *widths) if widths else 1
        reverse = len(program) - program.forward
        self.fewest = 1
        while forward_steps(self.count, self.fewest) * program.forward / self.count + reverse > MOST_STEPS * len(program):
            self.fewest += 1
        self.levels = (self.count - 1).bit_length() + 1
        self.halved = self.plan(self.levels, lambda steps, free: (steps + 1) // 2)

    def plan(self, slots: int, split: Split | None = None) -> Plan:
        """Return the plan that holds at the most so many states at a time, that of the start included."""
        return Plan(self.program, steps_of(self.program, list(self._order(slots, split))), "revolve")

    def cheapest(self, budget: float) -> Plan | None:
        """Return the plan with the most slots that fits into `budget`, or nearly; None when none is found."""
        free = budget - self.halved.projected_peak_bytes
        found = self.halved if free >= 0 else None
        slots = int(min(self.levels + free // self.state_bytes, self.count))
        for _ in range(_TRIED):
            if slots < self.fewest:
                break
            plan = self.plan(slots)
            over = plan.projected_peak_bytes - budget
            if over <= 0:
                return plan if found is None or plan.work_seconds < found.work_seconds else found
            slots -= math.ceil(over / self.state_bytes)
        return found

    def _order(self, slots: int, split: Split | None) -> Iterator[int]:
        """Yield the computations, whether or not they are read."""
        edges, ends = self.edges, self.ends
        held = forward(self.count, slots, split=split)
        yield from range(ends[held.first])
        for start, _, first, stop in turns(held.holds, held.first, slots, split=split):
            yield from range(edges[start], edges[stop])
            yield from range(ends[stop], ends[first])


def _ends(program: Program, edges: list[int]) -> list[int]:
    """Return, for each edge, the end of the reverse sweep's part that reads what lies behind the edge."""
    last_reader = list(range(len(program)))
    for v, inputs in enumerate(program.inputs):
        for u in inputs:
            last_reader[u] = v
    ends = [program.forward]
    for a, b in zip(edges[-2::-1], edges[:0:-1], strict=True):
        ends.append(max(ends[-1], 1 + max(last_reader[a:b])))
    return [len(program), *ends[-2::-1]]
