"""Sets of live values as bit masks: a small program in that form, and all the sets from which it can be finished.

A plan is a path through the sets of values that are in memory. Computing a value goes from a set that holds its inputs to
the set with it (or with it instead of the input whose buffer it takes over); dropping goes to any smaller set. No order of
computing and no number of recomputations is left out, so what has no path has no plan.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from .bounds import needed_values
from .program import Program

MOST_VALUES = 22  # 2**22 sets are half a MiB as bits, and some sixty such families are at work
INFINITE = float("inf")
_UNITS = 2**40
_STEPS = 128
_LONGEST = 24
_BLOCK = 16
_EMPTY = np.uint64(1)
# Within a word, the sets that hold value k: 2**k zeros and 2**k ones, again and again.
_HAVING = [np.uint64(sum(1 << place for place in range(64) if place >> k & 1)) for k in range(6)]


@dataclass(frozen=True, slots=True)
class MaskProgram:
    """The values that a program's outputs depend on, one bit each: `inputs` are masks, `overwrites` masks of one bit or none.

    `values` are the program's numbers of the bits. `sizes` and `needs` (size and workspace) are in bytes. `costs` are whole
    numbers, so that sums are exact, and more than 0, so that nothing is computed in circles: parts of 2**-40 of the work of
    computing everything once. `goal` is the mask of the outputs.
    """

    values: tuple[int, ...]
    sizes: tuple[int, ...]
    needs: tuple[int, ...]
    costs: tuple[int, ...]
    inputs: tuple[int, ...]
    overwrites: tuple[int, ...]
    goal: int


def masked(program: Program, most: int) -> MaskProgram | None:
    """Return `program` as masks, without the values that nothing of its outputs depends on.

    None where more than `most` are left: the masks of 50,000 values would take 300 MiB.
    """
    values = tuple(v for v, is_needed in enumerate(needed_values(program)) if is_needed)
    if len(values) > most:
        return None
    bit = {v: 1 << k for k, v in enumerate(values)}
    whole = sum(program.costs[v] for v in values) or 1.0
    return MaskProgram(
        values,
        tuple(program.sizes[v] for v in values),
        tuple(program.sizes[v] + program.workspaces[v] for v in values),
        tuple(max(round(program.costs[v] / whole * _UNITS), 1) for v in values),
        tuple(sum(bit[u] for u in set(program.inputs[v])) for v in values),
        tuple(bit[program.overwrites[v]] if program.overwrites[v] >= 0 else 0 for v in values),
        sum(bit[v] for v in set(program.outputs)),
    )


class Sets:
    """All sets of values that fit into `room` bytes, and the moves between them, each for all sets at once.

    A family of sets is an array of words whose bit number S stands for the set with mask S, so that computing a value in all
    of them is a shift. For at most `MOST_VALUES` values.
    """

    def __init__(self, program: MaskProgram, room: int) -> None:
        count = len(program.values)
        self.program = program
        self.fitting, ready, ready_in_place = _maps(program, room)
        # The value, by how much a set's mask grows, and the sets in which it can be computed so. The last values come first:
        # what is searched for is the way to the goal.
        self.moves = [(k, 1 << k, ready[k]) for k in range(count)]
        self.moves += [(k, (1 << k) - program.overwrites[k], sets) for k, sets in ready_in_place.items()]
        self.moves.sort(key=lambda move: -move[0])
        self.goal = np.zeros_like(self.fitting)
        self.goal[program.goal >> 6] = 1 << (program.goal & 63)
        self._enlarge(self.goal)

    def _enlarge(self, sets: np.ndarray) -> None:
        """Add all that fit around `sets`, from which these are reached by dropping."""
        for k in range(len(self.program.values)):
            if k < 6:
                sets |= (sets & ~_HAVING[k]) << np.uint64(1 << k)
            else:
                halves = sets.reshape(-1, 2, 1 << (k - 6))
                halves[:, 1] |= halves[:, 0]
        sets &= self.fitting

    def can_finish(self) -> bool:
        """Tell whether the program has any plan within the room: whether the goal is reached from the empty set."""
        reached = self.goal.copy()
        while True:
            before = reached.copy()
            for _, growth, ready in self.moves:
                _add_before(reached, reached, growth, ready)
            self._enlarge(reached)
            if reached[0] & _EMPTY or np.array_equal(reached, before):
                return bool(reached[0] & _EMPTY)

    def work_left(self) -> WorkLeft:
        """Return the least work from every set to the goal, in rounded steps. There must be a plan."""
        costs = self.program.costs
        step = max(sum(costs) / _STEPS, max(costs) / _LONGEST)
        rounded = [round(cost / step) for cost in costs]
        recent: deque[np.ndarray] = deque(maxlen=max(*rounded, 1))  # what is reached by one step more each, the last one last
        planes: list[np.ndarray] = []
        reached = self.goal.copy()
        self._move_freely(reached, rounded)
        while not reached[0] & _EMPTY:
            _count(planes, ~reached)
            recent.append(reached)
            reached = reached.copy()
            for k, growth, ready in self.moves:
                if 0 < rounded[k] <= len(recent):
                    _add_before(reached, recent[-rounded[k]], growth, ready)
            self._enlarge(reached)
            self._move_freely(reached, rounded)
        return WorkLeft(step, tuple(planes), reached)

    def _move_freely(self, reached: np.ndarray, rounded: list[int]) -> None:
        """Add the sets from which `reached` ones are made by what costs less than half a step."""
        free = [(growth, ready) for k, growth, ready in self.moves if not rounded[k]]
        before = None
        while free and (before is None or not np.array_equal(reached, before)):
            before = reached.copy()
            for growth, ready in free:
                _add_before(reached, reached, growth, ready)
            self._enlarge(reached)


@dataclass(frozen=True, slots=True)
class WorkLeft:
    """The least work from a set of values to the goal, rounded to steps of `step`; infinite where that is far or impossible.

    Far is further than from the empty set. `planes` are the bits of the numbers of steps, the lowest first.
    """

    step: float
    planes: tuple[np.ndarray, ...]
    within: np.ndarray

    def __call__(self, live: int) -> float:
        """Return the work left when the values of the mask `live` are in memory."""
        word, bit = live >> 6, live & 63
        if not int(self.within[word]) >> bit & 1:
            return INFINITE
        return self.step * sum((int(plane[word]) >> bit & 1) << k for k, plane in enumerate(self.planes))


def _add_before(reached: np.ndarray, after: np.ndarray, growth: int, ready: np.ndarray) -> None:
    """Add to `reached` the `ready` sets that growing by `growth` makes sets of `after`."""
    words, bits = abs(growth) >> 6, np.uint64(abs(growth) & 63)
    rest = np.uint64(64) - bits
    end = len(after) - words
    if growth > 0:
        source, target = after[words:], slice(0, end)
        moved = source >> bits
        if bits:
            moved[:-1] |= source[1:] << rest
    else:
        source, target = after[:end], slice(words, None)
        moved = source << bits
        if bits:
            moved[1:] |= source[:-1] >> rest
    moved &= ready[target]
    reached[target] |= moved


def _count(planes: list[np.ndarray], sets: np.ndarray) -> None:
    """Add one to the number of each of `sets`, numbers being written across `planes`."""
    for k, plane in enumerate(planes):
        carry = plane & sets
        planes[k] = plane ^ sets
        sets = carry
    if sets.any():
        planes.append(sets)


def _maps(program: MaskProgram, room: int) -> tuple[np.ndarray, list[np.ndarray], dict[int, np.ndarray]]:
    """Return the sets that fit, by value those from which it can be computed, and those where it can be in place."""
    count = len(program.values)
    low = min(count, _BLOCK)
    sizes = np.zeros(1, np.int64)
    for size in program.sizes[:low]:
        sizes = np.concatenate([sizes, sizes + size])
    masks = np.arange(len(sizes))
    wanted = [inputs | 1 << k for k, inputs in enumerate(program.inputs)]
    can = [masks & wanted[k] == inputs & len(sizes) - 1 for k, inputs in enumerate(program.inputs)]
    fitting: list[bytes] = []
    ready: list[list[bytes]] = [[] for _ in range(count)]
    in_place: dict[int, list[bytes]] = {k: [] for k in range(count) if program.overwrites[k]}
    none = bytes(-(-len(sizes) // 8))
    for high in range(1 << (count - low)):
        held = sizes + sum(program.sizes[low + j] for j in range(count - low) if high >> j & 1)
        fitting.append(_bits(held <= room))
        for k, inputs in enumerate(program.inputs):
            is_possible = high & wanted[k] >> low == inputs >> low
            left = room - program.needs[k]
            ready[k].append(_bits(can[k] & (held <= left)) if is_possible else none)
            if k in in_place:
                left += program.sizes[program.overwrites[k].bit_length() - 1]
                in_place[k].append(_bits(can[k] & (held <= left)) if is_possible else none)
    return _joined(fitting), [_joined(parts) for parts in ready], {k: _joined(parts) for k, parts in in_place.items()}


def _bits(which: np.ndarray) -> bytes:
    return np.packbits(which, bitorder="little").tobytes()


def _joined(parts: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(parts).ljust(8, b"\0"), "<u8")
