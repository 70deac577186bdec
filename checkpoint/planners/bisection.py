"""bisection: halve the forward sweep at narrow places, reverse its second half, run the first half again and reverse that.

The halves are halved in turn, down to segments that are taped as a whole: on a chain of n steps, states as many as there
are levels, log2(n) at the most, are held beside one segment's tape, and each step is run at most once a level (Griewank
1992, "Achieving logarithmic growth of temporal and spatial complexity in reverse automatic differentiation"). Which
plan there is does not depend on the budget, but for the choice among numbers of segments: the way into the least memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..order import steps_of
from ..plan import Plan
from ..program import Program


def bisection(program: Program, budget: float) -> Plan | None:
    """Return the cheapest plan over numbers of segments that are powers of two, or None when none fits."""
    found: Plan | None = None
    for plan in bisections(program):
        if plan.projected_peak_bytes <= budget and (found is None or plan.work_seconds < found.work_seconds):
            found = plan
    return found


def bisections(program: Program) -> Iterator[Plan]:
    """Yield a plan for each number of segments, the fewest first, as long as more of them take less memory.

    >>> program = Program(outputs=(7,), forward=4)
    >>> for inputs in ((), (0,), (1,), (2,), (3,), (2, 4), (1, 5), (0, 6)):
    ...     _ = program.add(10, inputs, cost=1.0)
    >>> [(plan.projected_peak_bytes, plan.work_seconds) for plan in bisections(program)]
    [(40, 9.0)]
    """
    count, peak = 2, float("inf")
    while 2 * count <= program.forward:
        plan = Plan(program, steps_of(program, _order(program, program.cuts(count - 1))), "bisection")
        if plan.projected_peak_bytes >= 1.5 * peak:
            break
        peak = min(peak, plan.projected_peak_bytes)
        yield plan
        count *= 2


def _order(program: Program, places: list[int]) -> list[int]:
    """Return the computations, whether or not they are read, when the segments between `places` are reversed by halves."""
    edges = [0, *places, program.forward]
    ends = _ends(program, edges)
    order: list[int] = []
    stretches = [(0, len(edges) - 1)]
    while stretches:
        first, last = stretches.pop()
        middle = (first + last) // 2 if last - first > 1 else last
        order += range(edges[first], edges[middle])
        if middle == last:
            order += range(ends[last], ends[first])
        else:
            stretches += [(first, middle), (middle, last)]
    return order


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
