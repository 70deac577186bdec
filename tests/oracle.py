"""The least work and the least peak of a program over every order of computing and dropping, by brute force.

A table over all sets of live values, one axis of two places a value (0: not in memory, 1: in memory), improved until nothing
changes. Written for being plainly right: it shares nothing with the planners, and takes seconds for 16 values.
"""

import math
from collections.abc import Callable

import numpy as np

from retape.checkpoint.program import Program


def least_work(program: Program, budget: float) -> float:
    """Return the least cost of any plan within `budget` bytes, infinite where there is none."""
    size = live_bytes(program)

    def after(table: np.ndarray, v: int, saved: int) -> np.ndarray:
        during = size + program.sizes[v] + program.workspaces[v] - saved
        return np.where(during <= budget, table + program.costs[v], math.inf)

    return best_at_goal(program, np.full_like(size, math.inf), after)


def least_peak(program: Program) -> float:
    """Return the least budget in bytes under which the program has a plan."""
    size = live_bytes(program)

    def after(table: np.ndarray, v: int, saved: int) -> np.ndarray:
        return np.maximum(table, size + program.sizes[v] + program.workspaces[v] - saved)

    return best_at_goal(program, np.full_like(size, math.inf), after)


def live_bytes(program: Program) -> np.ndarray:
    """Return the bytes of every set of values."""
    size = np.full((1,) * len(program), float(program.held_bytes))
    for v, one in enumerate(program.sizes):
        shape = [1] * len(program)
        shape[v] = 2
        size = size + np.array([0.0, one]).reshape(shape)
    return size


def best_at_goal(program: Program, table: np.ndarray, after: Callable[[np.ndarray, int, int], np.ndarray]) -> float:
    """Return the least entry of the table at the outputs, when `after` tells what computing a value makes of an entry."""
    axes = range(len(program))
    table[(0,) * len(program)] = 0.0
    while True:
        before = table.copy()
        for v in axes:
            missing = tuple(1 if u in program.inputs[v] else 0 if u == v else slice(None) for u in axes)
            made = tuple(1 if u == v else place for u, place in enumerate(missing))
            table[made] = np.minimum(table[made], after(table, v, 0)[missing])
            victim = program.overwrites[v]
            if victim >= 0:
                in_place = tuple(0 if u == victim else place for u, place in enumerate(made))
                table[in_place] = np.minimum(table[in_place], after(table, v, program.sizes[victim])[missing])
        for v in axes:
            without, held = (tuple(place if u == v else slice(None) for u in axes) for place in (0, 1))
            table[without] = np.minimum(table[without], table[held])
        if np.array_equal(table, before):
            break
    goal = tuple(1 if v in program.outputs else slice(None) for v in axes)
    return float(table[goal].min())
