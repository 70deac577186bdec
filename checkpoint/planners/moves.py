"""Two ways to make a plan better by moves of its timeline: `fill` its free memory, and `exchange` what is repeated."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np

from ..timeline import EMPTY, Timeline

_MOST_INSERTED = 3
_MOST_CANDIDATES = 4


def fill(timeline: Timeline, budget: float, most: float = math.inf) -> int:
    """Take out repeated computations as long as the peak stays within `budget`; return how many were looked at.

    No more than `most` are, the dearest per byte first.
    """
    costs, sizes, value = timeline.program.costs, timeline.program.sizes, timeline.value
    slots = timeline.repeated()
    slots.sort(key=lambda slot: -costs[value[slot]] / (sizes[value[slot]] + 1))
    looked_at = 0
    for slot in slots:
        if not _is_repeated(timeline, slot):
            continue
        if looked_at >= most:
            break
        looked_at += 1
        mark = timeline.mark()
        timeline.remove(slot)
        if timeline.peak() > budget:
            timeline.undo(mark)
    timeline.settle()
    return looked_at


def exchange(timeline: Timeline, budget: float) -> int:
    """Take out repeated computations that there is no room for, where repeating cheaper ones instead makes it.

    Returns how many were looked at.
    """
    costs, value = timeline.program.costs, timeline.value
    starts, readers, sizes, prices = gaps = _gaps(timeline)
    slots = timeline.repeated()
    slots.sort(key=lambda slot: -costs[value[slot]])
    looked_at = 0
    for slot in slots:
        if not _is_repeated(timeline, slot):
            continue
        looked_at += 1
        mark, before = timeline.mark(), timeline.cost
        timeline.remove(slot)
        for _ in range(_MOST_INSERTED):
            over = np.flatnonzero(timeline.memory > budget)
            if not len(over):
                break
            need = timeline.memory[over].max() - budget
            spans = (starts < over[0]) & (prices < before - timeline.cost)
            fitting = np.flatnonzero(spans & (readers > over[-1]) & (sizes >= need))
            if not len(fitting):
                fitting = np.flatnonzero(spans & (readers > over[0]) & (sizes > 0))
            fitting = fitting[np.argsort(prices[fitting] / np.minimum(sizes[fitting], need), kind="stable")]
            if not any(_insert(timeline, gaps, k) for k in fitting[:_MOST_CANDIDATES].tolist()):
                break
        if timeline.peak() > budget or timeline.cost >= before * (1 - 1e-12):
            timeline.undo(mark)
    timeline.settle()
    return looked_at


def _is_repeated(timeline: Timeline, slot: int) -> bool:
    """Tell whether a slot still holds a computation, and not the first of its value."""
    v = timeline.value[slot]
    return v != EMPTY and timeline.instances[v][0] != slot


def _gaps(timeline: Timeline) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return where values lie unread for a while: the slots before and behind, their bytes and their own costs."""
    program = timeline.program
    rows = []
    for slot, v in enumerate(timeline.value):
        if v != EMPTY:
            edges = [slot, *(r for r in timeline.readers[slot] if r < timeline.end)]
            rows += [
                (a, b, program.sizes[v], program.costs[v]) for a, b in zip(edges[:-1], edges[1:], strict=True) if b - a > 2
            ]
    starts, readers, sizes, costs = np.array(rows, float).reshape(-1, 4).T
    return starts, readers, sizes, costs


def _insert(timeline: Timeline, gaps: tuple[np.ndarray, ...], k: int) -> bool:
    """Compute the value of a gap again at its end, if the gap is still there."""
    start, reader = int(gaps[0][k]), int(gaps[1][k])
    if timeline.value[reader] == EMPTY:
        return False
    for v in timeline.program.inputs[timeline.value[reader]]:
        source = timeline.source(v, reader)
        at = bisect_left(timeline.readers[source], reader)
        is_same = source == start if at == 0 else timeline.readers[source][at - 1] == start
        if is_same and timeline.program.sizes[v] == gaps[2][k] and timeline.program.costs[v] == gaps[3][k]:
            return timeline.insert(v, reader) >= 0
    return False
