"""chain: the dynamic program of heterogeneous chains, over the segments of any program.

Beaumont, Eyraud-Dubois, Herrmann, Joly and Shilova 2019, "Optimal checkpointing for heterogeneous chains": of each stretch
of segments, either the first one is taped as a whole, or its input is held and the segments up to some other are run
without being taped. Optimal for chains among plans that hold a value, once held, until it is read in reverse; whatever
the program, the plan is valid, for its memory is counted by its own steps and not by the segments' sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd, inf
from typing import Any

import numpy as np

from ..order import steps_of
from ..plan import Plan
from ..program import Program

_MOST_SEGMENTS = 40
_MOST_UNITS = 1024
_TRIES = 8


def chain(program: Program, budget: float) -> Plan | None:
    """Return the cheapest plan over the memory that the dynamic program is allowed, or None when none fits."""
    if program.forward < 2 or budget == inf:
        return None
    stages = stages_of(program)
    # What is counted for a segment may be counted again for another, so that more than the budget may be allowed.
    table = _Table(stages, int(1.5 * budget))
    found: Plan | None = None
    levels = table.levels()
    low, high = 0, len(levels)
    for _ in range(_TRIES):
        if low >= high:
            break
        middle = (low + high) // 2 if found is not None or high < len(levels) else _start(table, levels, budget)
        plan = Plan(program, steps_of(program, table.order(levels[middle])), "chain", int(budget))
        if plan.projected_peak_bytes <= budget:
            if found is None or plan.work_seconds < found.work_seconds:
                found = plan
            low = middle + 1
        else:
            high = middle
    return found


def _start(table: _Table, levels: list[int], budget: float) -> int:
    """Return the level that fits the budget if the segments' sizes are true."""
    return max((k for k, level in enumerate(levels) if level <= budget // table.unit), default=0)


@dataclass(frozen=True, eq=False, slots=True)
class Stages:
    """Segments of a program, forward and reverse: `runs` are the values that each computes, `returns` its cotangents.

    In bytes, by segment: `entering`, what comes in from the segments before; `going`, what goes on of what it makes; `taped`,
    what is held of it while those behind it are reversed; `running`, the peak of computing it and holding only what goes
    on, beside what comes in; `taping`, that of computing it and holding all; `returning`, that of its reverse; and
    `arriving`, the cotangents live before its reverse (one more entry: those behind the last). `reads_own` and `reads_more`
    tell whether the reverse reads any of the segment's values, and any but those that go on.
    """

    runs: list[range]
    returns: list[range]
    forward_costs: list[float]
    reverse_costs: list[float]
    entering: list[int]
    taped: list[int]
    running: list[int]
    taping: list[int]
    returning: list[int]
    arriving: list[int]
    going: list[int]
    reads_own: list[bool]
    reads_more: list[bool]


def stages_of(program: Program) -> Stages:
    """Cut a program into segments, at every position where there are few, and count their bytes."""
    forward, sizes, inputs = program.forward, program.sizes, program.inputs
    places = list(range(1, forward)) if forward <= _MOST_SEGMENTS else program.cuts(_MOST_SEGMENTS - 1)
    edges = [0, *places, forward]
    count = len(edges) - 1
    runs = [range(a, b) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    segment = [number for number, run in enumerate(runs) for _ in run]

    reach = list(segment)  # the last segment that reads a value in the forward sweep
    for v in range(forward):
        for u in inputs[v]:
            reach[u] = max(reach[u], segment[v])
    returns, block = _blocks(program, reach, count)
    last_use: list[float] = list(range(len(program)))
    for w in range(len(program)):
        for u in inputs[w]:
            last_use[u] = w
    for v in program.outputs:
        last_use[v] = inf

    entering, arriving = [0] * count, [0] * (count + 1)
    taped, running, taping, returning, going = ([0] * count for _ in range(5))
    reads_own, reads_more = [False] * count, [False] * count
    for v in range(forward):
        for k in range(segment[v] + 1, reach[v] + 1):
            entering[k] += sizes[v]
    for w in range(forward, len(program)):
        end = block[int(last_use[w])] if last_use[w] != inf else -1
        for k in range(end + 1, block[w] + 1):
            arriving[k] += sizes[w]
    for number, run in enumerate(runs):
        # A value may also be read in reverse as what enters a later segment: that is that segment's matter.
        is_read = {v: last_use[v] == inf or last_use[v] >= forward and block[int(last_use[v])] <= number for v in run}
        is_held = {v: is_read[v] or reach[v] > number for v in run}
        going[number] = sum(sizes[v] for v in run if reach[v] > number)
        reads_own[number] = any(is_read.values())
        reads_more[number] = any(is_read[v] and reach[v] == number for v in run)
        taped[number] = sum(sizes[v] for v in run if is_held[v])
        running[number] = _peak(program, run, {v: reach[v] > number for v in run})
        taping[number] = _peak(program, run, is_held)
        here = returns[number]
        start = sum(sizes[v] for v in run if is_read[v]) + arriving[number + 1]
        stays = {w: last_use[w] == inf or block[int(last_use[w])] < number for w in here}
        returning[number] = start + _peak(program, here, stays, frees=_freed(program, here, last_use, run))
    costs = program.costs
    return Stages(
        runs, returns, [sum(costs[v] for v in run) for run in runs], [sum(costs[w] for w in back) for back in returns],
        entering, taped, running, taping, returning, arriving, going, reads_own, reads_more,
    )  # fmt: skip


def _blocks(program: Program, reach: list[int], count: int) -> tuple[list[range], list[int]]:
    """Give each reverse value to a segment: in order, to the last one whose forward values are all that it reads."""
    block = [0] * len(program)
    now = count - 1
    firsts = [len(program)] * count
    for w in range(program.forward, len(program)):
        now = min([now, *(reach[u] for u in program.inputs[w] if u < program.forward)])
        block[w] = now
        firsts[now] = min(firsts[now], w)
    for number in range(count - 1, -1, -1):
        if firsts[number] == len(program):  # a segment without a reverse: it comes where the next one does
            before = [first for first in firsts[:number] if first < len(program)]
            firsts[number] = min(before, default=len(program))
    ends = [firsts[number - 1] if number else len(program) for number in range(count)]
    return [range(a, max(a, b)) for a, b in zip(firsts, ends, strict=True)], block


def _freed(program: Program, returns: range, last_use: list[float], run: range) -> dict[int, int]:
    """Return the bytes that are free after each value of a reverse: of the segment's own values and of cotangents."""
    freed: dict[int, int] = {}
    for w in returns:
        for u in dict.fromkeys(program.inputs[w]):
            is_counted = u in run or u >= program.forward
            if is_counted and last_use[u] == w:
                freed[w] = freed.get(w, 0) + program.sizes[u]
    return freed


def _peak(program: Program, values: range, stays: dict[int, bool], frees: dict[int, int] | None = None) -> int:
    """Return the most bytes live while `values` are computed, when those that do not stay go at their last use among them."""
    last = {}
    for v in values:
        last[v] = v
        for u in program.inputs[v]:
            if u in last:
                last[u] = v
    live = peak = 0
    for v in values:
        peak = max(peak, live + program.sizes[v] + program.workspaces[v])
        live += program.sizes[v]
        if frees is not None:
            live -= frees.get(v, 0)
        else:
            live -= sum(program.sizes[u] for u in dict.fromkeys((*program.inputs[v], v)) if last.get(u) == v and not stays[u])
    return peak


class _Table:
    """Least seconds of reversing the segments s .. t with m units of memory beside what enters s, by (s, t, is_there)[m].

    `is_there` tells whether what goes on from t is in memory already; then it counts among the m units.
    """

    def __init__(self, stages: Stages, budget: int) -> None:
        self.stages = stages
        sizes = (
            stages.entering, stages.taped, stages.running, stages.taping, stages.returning, stages.arriving, stages.going,
        )  # fmt: skip
        common = gcd(*(size for part in sizes for size in part))
        self.unit = common if common and budget // common <= _MOST_UNITS else max(-(-budget // _MOST_UNITS), 1)
        self.units = budget // self.unit
        self._entering, self._taped, self._running, self._taping, self._returning, self._arriving, self._going = (
            [-(-size // self.unit) for size in part] for part in sizes
        )
        count = len(stages.runs)
        self._ran = np.concatenate(([0.0], np.cumsum(stages.forward_costs)))
        self._least: dict[tuple[int, int, bool], np.ndarray] = {}
        for span in range(count):
            for s in range(count - span):
                for is_there in (False, True):
                    self._least[s, s + span, is_there] = self._fill(s, s + span, is_there)

    def _taped_first(self, s: int, t: int, is_there: bool) -> tuple[np.ndarray, int, bool]:
        """Return the cost of taping segment s and going on, the least units for it, and whether s has to be run."""
        stages = self.stages
        if s == t:
            runs = stages.reads_more[s] if is_there else stages.reads_own[s] or t == len(stages.runs) - 1
        else:
            runs = True
        need = self._returning[s]
        if runs:
            need = max(need, self._arriving[t + 1] + self._taping[s] + (self._going[t] if is_there and s < t else 0))
        cost = np.full(self.units + 1, stages.reverse_costs[s] + (stages.forward_costs[s] if runs else 0.0))
        if s < t:
            cost += shifted(self._least[s + 1, t, is_there], self._taped[s])
        return cost, need, runs

    def _split(self, s: int, k: int, t: int, is_there: bool) -> np.ndarray:
        """Return the cost of running from segment s to before k without taping, and of both parts."""
        left = np.minimum(self._least[s, k - 1, False], self._least[s, k - 1, True])
        return self._ran[k] - self._ran[s] + shifted(self._least[k, t, is_there], self._entering[k]) + left

    def _needs(self, s: int, t: int, is_there: bool) -> list[int]:
        """Return the least units for running from segment s to before k without taping, for k from s + 1 to t."""
        beside = self._arriving[t + 1] + (self._going[t] if is_there else 0)
        needs, most = [], 0
        for j in range(s, t):
            most = max(most, (self._entering[j] if j > s else 0) + self._running[j])
            needs.append(min(beside + most, self.units + 1))
        return needs

    def _fill(self, s: int, t: int, is_there: bool) -> np.ndarray:
        best, need, _ = self._taped_first(s, t, is_there)
        best[: min(need, self.units + 1)] = inf
        for k, least in enumerate(self._needs(s, t, is_there), s + 1):
            np.minimum(best[least:], self._split(s, k, t, is_there)[least:], out=best[least:])
        return best

    def levels(self) -> list[int]:
        """Return the least units of memory for each cost that can be had, ascending in units."""
        least = self._least[0, len(self.stages.runs) - 1, False]
        return [m for m in range(self.units + 1) if least[m] < (least[m - 1] if m else inf)]

    def order(self, units: int) -> list[int]:
        """Return the values in the order in which the best plan with so many units computes them."""
        made: list[int] = []
        pending: list[Any] = [(0, len(self.stages.runs) - 1, units, False)]
        while pending:
            item = pending.pop()
            if isinstance(item, range):
                made.extend(item)
                continue
            s, t, m, is_there = item
            cost, need, runs = self._taped_first(s, t, is_there)
            choice, least = -1, cost[m] if m >= need else inf
            for k, floor in enumerate(self._needs(s, t, is_there), s + 1):
                if m >= floor and (found := self._split(s, k, t, is_there)[m]) < least:
                    choice, least = k, found
            if choice < 0:
                if runs:
                    made.extend(self.stages.runs[s])
                pending.append(self.stages.returns[s])
                if s < t:
                    pending.append((s + 1, t, m - self._taped[s], is_there))
            else:
                for j in range(s, choice):
                    made.extend(self.stages.runs[j])
                stays = self._least[s, choice - 1, True][m] <= self._least[s, choice - 1, False][m]
                pending += [(s, choice - 1, m, bool(stays)), (choice, t, m - self._entering[choice], is_there)]
        return made


def shifted(cost: np.ndarray, units: int) -> np.ndarray:
    """Return a cost by units of memory when `units` of them are taken; infinite where there are not so many."""
    if units <= 0:
        return cost
    made = np.full(len(cost), inf)
    made[units:] = cost[: max(len(cost) - units, 0)]
    return made
