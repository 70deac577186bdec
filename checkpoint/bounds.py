"""Lower bounds: the work that every plan within a budget does at least, whoever makes it."""

from __future__ import annotations

from .program import Program

_MOMENTS = 32


def needed_values(program: Program) -> list[bool]:
    """Tell of each value whether an output depends on it (or is it), so that every plan computes it."""
    needed = [False] * len(program)
    for v in program.outputs:
        needed[v] = True
    for v in range(len(program) - 1, -1, -1):
        if needed[v]:
            for u in program.inputs[v]:
                needed[u] = True
    return needed


def least_work_seconds(program: Program, budget: float) -> float:
    """Return seconds of computing below which no plan within `budget` bytes exists.

    Take the moment at which some value w is computed for the first time. All that w depends on was computed before, and all
    that depends on w is yet to be. Let u be one of the former that one of the latter reads, or an output: if u is not in
    memory at that moment, it is computed at least once more. In memory fit w, its inputs, and so many bytes besides; so at
    least the cheapest selection of values that covers the remaining bytes is computed twice. That selection costs no less
    than the one that may take fractions of values, by cost per byte (the relaxed knapsack problem; Dantzig 1957). The bound
    is the best one over `_MOMENTS` choices of w, those at which most is live in the order of the program.
    """
    needed = needed_values(program)
    once = sum(cost for cost, is_needed in zip(program.costs, needed, strict=True) if is_needed)
    return once + max((_recomputed(program, needed, w, budget) for w in _moments(program, needed)), default=0.0)


def _moments(program: Program, needed: list[bool]) -> list[int]:
    """Return the values at whose making most bytes are live, one from each of `_MOMENTS` stretches of the program."""
    count = len(program)
    last = list(range(count))
    for v in range(count):
        if needed[v]:
            for u in program.inputs[v]:
                last[u] = v
    for v in program.outputs:
        last[v] = count
    ends = [0] * (count + 1)
    for v in range(count):
        ends[last[v]] += program.sizes[v] if needed[v] else 0
    best: dict[int, tuple[int, int]] = {}
    live = 0
    for v in range(count):
        if needed[v]:
            live += program.sizes[v]
            stretch = v * _MOMENTS // count
            best[stretch] = max(best.get(stretch, (0, v)), (live + program.workspaces[v], v))
        live -= ends[v]
    return [v for _, v in best.values()]


def _recomputed(program: Program, needed: list[bool], w: int, budget: float) -> float:
    """Return seconds of recomputation that the moment of making `w` forces on every plan."""
    before, after = {w}, {w}
    for v in range(w, -1, -1):
        if v in before:
            before.update(program.inputs[v])
    read_later = set(program.outputs) & before
    for v in range(w + 1, len(program)):
        if needed[v] and not after.isdisjoint(program.inputs[v]):
            after.add(v)
            read_later.update(u for u in program.inputs[v] if u in before)
    inputs = set(program.inputs[w])
    victim = program.overwrites[w]
    saved = program.sizes[victim] if victim >= 0 else 0
    taken = sum(program.sizes[u] for u in inputs) + program.sizes[w] + program.workspaces[w] - saved
    others = [u for u in read_later if u not in inputs and u != w and program.sizes[u]]
    excess = program.held_bytes + taken + sum(program.sizes[u] for u in others) - budget
    seconds = 0.0
    for u in sorted(others, key=lambda u: program.costs[u] / program.sizes[u]):
        if excess <= 0:
            break
        seconds += program.costs[u] * min(1.0, excess / program.sizes[u])
        excess -= program.sizes[u]
    return seconds
