"""exact: the least work of any order of computing and dropping, for small programs; every other planner is measured by it.

A shortest path through the sets of values in memory (A*; Hart, Nilsson & Raphael 1968), guided by what must be computed yet.
It leaves out nothing: values may be computed in any order that the wiring allows, any number of times, in the forward as in
the reverse sweep. In little room most ways lead nowhere; there it goes only to sets from which the program can be finished,
which are known all at once (`masks`). How far it goes is counted in sets, so the answer does not depend on the machine.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator

from ..masks import MOST_VALUES, MaskProgram, Sets, masked
from ..order import steps_of
from ..plan import Plan
from ..program import Program

# A second or two, and some 20 MiB, which planning takes besides the budget.
_MOST_REACHED = 12_000
_MOST_VALUES = 64


def exact(program: Program, budget: float) -> Plan | None:
    """Return the plan with the least work within `budget` bytes; None where there is none, or the limits end the search.

    For up to 22 values a plan is found wherever there is one. Where a budget near the least one makes the search for the
    least work too long, it is led by a table of the work left in rounded steps, and the plan is within some percent of the
    least work; its `is_optimal` tells.

    >>> program = Program(outputs=(3,), forward=2)
    >>> for inputs in ((), (0,), (1,), (0, 2)):
    ...     _ = program.add(10, inputs, cost=1.0)
    >>> plan = exact(program, 30)
    >>> plan.work_seconds, plan.projected_peak_bytes, exact(program, 29)
    (4.0, 30, None)
    """
    small = masked(program, _MOST_VALUES)
    if small is None:
        return None
    room = int(min(budget, program.held_bytes + sum(small.needs))) - program.held_bytes
    if room < 0:
        return None
    order = _search(small, room, lambda live: _must_be_computed(small, live), _MOST_REACHED)
    is_optimal = order is not None
    if order is None and len(small.values) <= MOST_VALUES:
        order = _guided(small, room)
    if order is None:
        return None
    steps = steps_of(program, order)
    return Plan(program, steps, "exact", None if budget == math.inf else int(budget), is_optimal=is_optimal)


def least_budget(program: Program, enough: int) -> int | None:
    """Return the least budget in bytes under which any plan exists, given one that is `enough`; None for large programs."""
    small = masked(program, MOST_VALUES)
    if small is None:
        return None
    unit = math.gcd(*small.sizes, *small.needs) or 1  # all sums of bytes, and so the answer, are multiples of it
    low, high = (-(-(bound - program.held_bytes) // unit) for bound in (program.lower_bound_bytes(), enough))
    while low < high:
        middle = (low + high) // 2
        if Sets(small, middle * unit).can_finish():
            high = middle
        else:
            low = middle + 1
    return high * unit + program.held_bytes


def _guided(program: MaskProgram, room: int) -> list[int] | None:
    """Return an order close to the least work, or None where there is none, knowing the work left in rounded steps."""
    sets = Sets(program, room)
    if not sets.can_finish():
        return None
    left = sets.work_left()

    def ahead(live: int) -> float:
        return max(left(live), _must_be_computed(program, live))

    # What is known is a little off, and work done weighs a little less, so that the first way found is gone to its end.
    order = _search(program, room, lambda live: 1.02 * ahead(live), _MOST_REACHED)
    return order or _search(program, room, lambda live: 2.0 * ahead(live), 1 << MOST_VALUES)


def _search(program: MaskProgram, room: int, work_left: Callable[[int], float], most: int) -> list[int] | None:
    """Return the order that is found first by work done and `work_left` together; None when it is not through `most` sets."""
    sizes, needs, costs, inputs, overwrites = program.sizes, program.needs, program.costs, program.inputs, program.overwrites
    everything = range(len(program.values))
    single = [1 << k for k in everything]
    least = {0: 0}
    came: dict[int, tuple[int, int]] = {}
    frontier: list[tuple[float, float, int, int]] = [(0.0, 0.0, 0, 0)]
    while frontier:
        _, _, work, live = heapq.heappop(frontier)
        if work > least[live]:
            continue
        if live & program.goal == program.goal:
            return _traced_back(program, came, live)
        live_bytes = sum(sizes[k] for k in everything if live >> k & 1)
        for k in everything:
            if live >> k & 1 or inputs[k] & ~live:
                continue
            over = live_bytes + needs[k] - room
            others = [(sizes[j], 1 << j) for j in everything if live >> j & 1 and not inputs[k] >> j & 1]
            ways = [live & ~dropped for dropped in _minimal_drops(others, over)] if over > 0 else [live]
            victim = overwrites[k]
            if victim and over > 0:
                saved = sizes[victim.bit_length() - 1]
                ways += [live & ~dropped & ~victim for dropped in _minimal_drops(others, over - saved)]
            done = work + costs[k]
            for way in ways:
                after = way | 1 << k
                if done >= least.get(after, math.inf):
                    continue
                if len(least) >= most:
                    return None
                least[after] = done
                # A set with one value more, reached with no more work, makes this one needless.
                if any(least.get(after | bit, math.inf) <= done for bit in single if not after & bit):
                    continue
                left = work_left(after)
                if left < math.inf:
                    came[after] = (live, k)
                    heapq.heappush(frontier, (done + left, left, done, after))
    return None


def _must_be_computed(program: MaskProgram, live: int) -> int:
    """Return the work that is left at least: the outputs that are not live, and all that is missing to compute them."""
    work, missing, seen = 0, program.goal & ~live, 0
    while missing:
        k = missing.bit_length() - 1
        seen |= 1 << k
        work += program.costs[k]
        missing = (missing | program.inputs[k] & ~live) & ~seen
    return work


def _minimal_drops(others: list[tuple[int, int]], over: int) -> Iterator[int]:
    """Yield the sets of values that free `over` bytes, none of which would be enough without one of its values."""
    others = sorted((pair for pair in others if pair[0]), reverse=True)
    following = [0]
    for size, _ in reversed(others):
        following.append(following[-1] + size)
    following.reverse()
    stack = [(0, 0, 0)]
    while stack:
        place, freed, dropped = stack.pop()
        if freed >= over:
            # The largest came first: without the last one, or a larger one, it would not have been enough.
            yield dropped
        elif freed + following[place] >= over:
            size, bit = others[place]
            stack.append((place + 1, freed, dropped))
            stack.append((place + 1, freed + size, dropped | bit))


def _traced_back(program: MaskProgram, came: dict[int, tuple[int, int]], live: int) -> list[int]:
    backwards = []
    while live:
        live, k = came[live]
        backwards.append(program.values[k])
    return backwards[::-1]
