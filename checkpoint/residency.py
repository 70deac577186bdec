"""The residency: which values are in memory, decided step by step under a budget; pure data in, steps out.

One engine serves all planners and the online policy. Asked to make a value, it answers with steps: values to compute
(rematerialised ancestors first) and values to drop. It evicts the value with the least

    cost of getting it back, evicted ancestors included  /  (bytes x distance)

where distance is that to the next use when the future is known (next-use planning), and the time since the last use
when it is not (Kirisame et al. 2021, "Dynamic Tensor Rematerialization"). A use counts if it is direct or through an
evicted descendant, so a value that only serves to recompute others stays as long as it is worth its bytes. Values
without any such use are dropped at once. Nothing is ever lost: whatever is dropped can be computed again.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from .errors import DoesNotFit
from .program import Program

NEVER = float("inf")
_DEPTH = 64
MOST_STEPS = 8


class Compute(NamedTuple):
    """Make `value`, in the buffer of the value `overwrites` if that is not -1."""

    value: int
    overwrites: int = -1


class Drop(NamedTuple):
    """Free the memory of `value`."""

    value: int


class Spill(NamedTuple):
    """Begin to write `value` to disk; it stays in memory, unchanged, until it is dropped."""

    value: int


class Load(NamedTuple):
    """Take memory for `value` and begin to read it back from disk."""

    value: int


Step = Compute | Drop | Spill | Load


class Hold(NamedTuple):
    """A planner's wish to keep a value, because a whole segment can be recomputed from it and its neighbours.

    It counts as used at position `until`, and is evicted `weight` times less readily than its cost says.
    """

    weight: float
    until: float


class Residency:
    """The state of memory while a program runs or is planned. `budget` is in bytes; infinity is allowed.

    `live` is what is held now, `peak` the most that was held at any step, workspaces included.
    """

    def __init__(self, program: Program, budget: float, *, knows_future: bool, weigh: str = "next_use") -> None:
        self.program = program
        self.budget = budget
        self.knows_future = knows_future
        self.weigh = weigh
        self.live = program.held_bytes
        self.peak = self.live
        self.position = 0
        self.made = bytearray()
        self.wanted = bytearray()
        self.consumers: list[list[int]] = []
        self.evicted_consumers: list[set[int]] = []
        self.outputs: set[int] = set(program.outputs)
        self._clock = 0
        self._resident = np.zeros(256, bool)
        self._cost = np.zeros(256)
        self._size = np.zeros(256)
        self._next = np.zeros(256)
        self._last = np.zeros(256)
        self._steps: list[Step] = []
        self._weight = np.ones(256)
        self._held_until: dict[int, float] = {}
        self._evicted_cost: list[float] = []
        self.extend()

    def extend(self) -> None:
        """Take in the values that were added to the program since the last call."""
        count = len(self.program)
        if count > len(self._resident):
            size = max(count, 2 * len(self._resident))
            for name in ("_resident", "_cost", "_size", "_next", "_last", "_weight"):
                old = getattr(self, name)
                new = np.ones(size, old.dtype) if name == "_weight" else np.zeros(size, old.dtype)
                new[: len(old)] = old
                setattr(self, name, new)
        for v in range(len(self.made), count):
            self.made.append(0)
            self.wanted.append(0)
            self.consumers.append([])
            self.evicted_consumers.append(set())
            self._evicted_cost.append(0.0)
            self._size[v] = self.program.sizes[v]
            for u in set(self.program.inputs[v]):
                self.consumers[u].append(v)

    def hold_back(self, v: int, hold: Hold) -> None:
        """Keep `v` although nothing may read it directly any more, and evict it less readily."""
        self._weight[v] = hold.weight
        self._held_until[v] = hold.until

    def is_resident(self, v: int) -> bool:
        """Tell whether `v` is in memory."""
        return bool(self._resident[v])

    def resident(self) -> list[int]:
        """Return the values in memory."""
        return np.flatnonzero(self._resident[: len(self.made)]).tolist()

    def adopt(self, resident: Iterable[int], position: int) -> None:
        """Continue from a state that somebody else reached: everything before `position` made, `resident` in memory."""
        for v in range(position):
            self.made[v] = 1
        self.position = position
        held = set(resident)
        for v in held:
            self._resident[v] = True
            self.live += self.program.sizes[v]
        for v in range(position):
            if v not in held:
                for u in self.program.inputs[v]:
                    self.evicted_consumers[u].add(v)
                self._evicted_cost[v] = self._ancestors_cost(v)
        self.peak = max(self.peak, self.live)
        self._refresh()

    def reveal(self, outputs: Iterable[int]) -> list[Step]:
        """Learn the whole future: all values are in the program now, `outputs` must exist at the end."""
        self.extend()
        self.knows_future = True
        self.outputs = set(outputs)
        self._steps = []
        self._refresh()
        for v in self.resident():
            if self._next[v] == NEVER:
                self._drop(v)
        return self._steps

    def _refresh(self) -> None:
        for v in self.resident():
            self._cost[v] = np.nan
            self._next[v] = self._next_use(v)

    def want(self, v: int, wanted: bool) -> list[Step]:
        """Online: note whether the program may still use `v`; a value nobody wants is dropped."""
        self.wanted[v] = wanted
        self._steps = []
        if self._resident[v]:
            self._next[v] = self._next_use(v)
            if self._next[v] == NEVER:
                self._drop(v)
        return self._steps

    def hold(self, count: int) -> list[Step]:
        """Make room for `count` bytes that stay to the end (a captured constant). Raises `DoesNotFit`."""
        self._steps = []
        self._make_room(-1, count, (), ())
        self.live += count
        self.peak = max(self.peak, self.live)
        return self._steps

    def make(self, v: int) -> list[Step]:
        """Return the steps after which `v` is in memory. Raises `DoesNotFit` when the budget cannot hold what it needs."""
        self._steps = []
        if not self.made[v]:
            self.position = v
        program = self.program
        stack = [v]
        pending: dict[int, int] = {}
        tries: dict[int, int] = {}
        while stack:
            u = stack[-1]
            if self._resident[u]:
                stack.pop()
                continue
            inputs = program.inputs[u]
            missing = [p for p in inputs if not self._resident[p]]
            if u not in tries:
                for p in inputs:
                    pending[p] = pending.get(p, 0) + 1
                tries[u] = 0
            if missing:
                tries[u] += 1
                if tries[u] > 4 * len(inputs) + 8 or len(self._steps) > MOST_STEPS * len(program) + 200:
                    raise DoesNotFit(u, self._need(u, inputs))
                # The dearest ancestor first: what it needs is gone again before the others come.
                if len(missing) > 1:
                    missing.sort(key=self._ancestors_cost)
                stack.extend(missing)
                continue
            self._compute(u, inputs, pending, is_target=u == v)
            stack.pop()
            del tries[u]
            for p in inputs:
                pending[p] -= 1
                if not pending[p]:
                    del pending[p]
        return self._steps

    def _need(self, u: int, inputs: tuple[int, ...]) -> int:
        program = self.program
        return sum(program.sizes[p] for p in set(inputs)) + program.sizes[u] + program.workspaces[u] + program.held_bytes

    def _compute(self, u: int, inputs: tuple[int, ...], pending: dict[int, int], *, is_target: bool) -> None:
        program = self.program
        first = not self.made[u]
        if first and is_target:
            self.position = u + 1
        for p in inputs:
            self.evicted_consumers[p].discard(u)
        victim = program.overwrites[u]
        if victim >= 0 and self._next_use(victim) != NEVER:
            victim = -1
        saved = program.sizes[victim] if victim >= 0 else 0
        size = program.sizes[u]
        self._make_room(u, size + program.workspaces[u] - saved, inputs, pending)
        self.peak = max(self.peak, self.live + size + program.workspaces[u] - saved)
        self._steps.append(Compute(u, victim))
        if victim >= 0:
            self._evict(victim)
        self.made[u] = 1
        self._resident[u] = True
        self.live += size
        self._clock += 1
        self._last[u] = self._clock
        self._cost[u] = np.nan
        self._next[u] = self._next_use(u)
        if not first:
            for c in self.consumers[u]:
                if not self.made[c]:
                    break
                self._cost[c] = np.nan
        for p in inputs:
            if self._resident[p]:
                self._last[p] = self._clock
                self._next[p] = self._next_use(p)
                if self._next[p] == NEVER:
                    self._drop(p)
        if self._next[u] == NEVER and self.knows_future and not is_target:
            self._drop(u)

    def evict(self, v: int) -> None:
        """Drop a value that is needed again, by a planner's own decision (see `simulate`)."""
        self._drop(v)

    def _drop(self, v: int) -> None:
        self._steps.append(Drop(v))
        self._evict(v)

    def _evict(self, v: int) -> None:
        self._resident[v] = False
        self.live -= self.program.sizes[v]
        inputs = self.program.inputs[v]
        for p in inputs:
            self.evicted_consumers[p].add(v)
        distance = self._next[v]
        if distance != NEVER:
            stack, seen = list(inputs), set(inputs)
            while stack and len(seen) < _DEPTH:
                p = stack.pop()
                if self._resident[p]:
                    self._next[p] = min(self._next[p], distance)
                else:
                    new = [q for q in self.program.inputs[p] if q not in seen]
                    seen.update(new)
                    stack.extend(new)
        self._evicted_cost[v] = self._ancestors_cost(v)
        for c in self.consumers[v]:
            if not self.made[c]:
                break
            if self._resident[c]:
                self._cost[c] = np.nan  # renewed when it is next weighed

    def _ancestors_cost(self, v: int) -> float:
        """Return an estimate of the cost of computing `v` from what is in memory.

        The longest chain of evicted ancestors, with the other evicted inputs' own costs: exact on chains, an
        under-estimate on wide graphs, and linear in the inputs, for what an evicted input took is kept from its eviction.
        """
        costs = self.program.costs
        longest = rest = own = 0.0
        for p in self.program.inputs[v]:
            if not self._resident[p]:
                cost = self._evicted_cost[p]
                if cost > longest:
                    longest = cost
                rest += costs[p]
                if cost == longest:
                    own = costs[p]
        return costs[v] + (longest + rest - own if longest else rest)

    def _next_use(self, v: int) -> float:
        """Return the first position from now on that uses `v`, directly or through an evicted descendant."""
        best = NEVER
        stack, seen = [v], {v}
        position = self.position
        end = float(len(self.made))
        while stack and len(seen) < _DEPTH:
            u = stack.pop()
            if u in self.outputs or (self.wanted[u] and not self.knows_future):
                best = min(best, end)
            if self._held_until and self._held_until.get(u, -1.0) >= position:
                best = min(best, self._held_until[u])
            consumers = self.consumers[u]
            k = bisect_left(consumers, position)
            if k < len(consumers):
                best = min(best, consumers[k])
            for c in self.evicted_consumers[u]:
                if c not in seen:
                    seen.add(c)
                    stack.append(c)
        return best if len(seen) < _DEPTH else min(best, end)

    def _make_room(self, u: int, need: int, inputs: Iterable[int], pending: Iterable[int]) -> None:
        if self.live + need <= self.budget:
            return
        count = len(self.made)
        locked = self._resident[:count].copy()  # then: what may be evicted at all
        locked[self._size[:count] == 0] = False
        for p in self.outputs:  # must all be there at the end, so they stay from their making on
            locked[p] = False
        for p in inputs:
            locked[p] = False
        free = locked.copy()
        for p in pending:
            free[p] = False
        while self.live + need > self.budget:
            victim = self._pick(free)
            if victim < 0:
                # What outer calls wait for may go too, as a last resort, the outermost first: they will ask for it again.
                victim = next((p for p in pending if locked[p] and self._resident[p]), -1)
            if victim < 0:
                raise DoesNotFit(u, int(self.live + need))
            free[victim] = False
            self._drop(victim)

    def _pick(self, candidates: np.ndarray) -> int:
        places = np.flatnonzero(candidates)
        if not len(places):
            return -1
        places = places[self._resident[places]]
        if not len(places):
            return -1
        costs = self._cost[places]
        for k in np.flatnonzero(np.isnan(costs)).tolist():
            costs[k] = self._cost[places[k]] = self._ancestors_cost(int(places[k]))
        weights = self._size[places]
        if not self.knows_future:
            weights = weights * (self._clock - self._last[places] + 1.0)
        elif self.weigh == "next_use":
            weights = weights * np.maximum(self._next[places] - self.position + 1.0, 1.0)
        weights = weights / self._weight[places]
        return int(places[np.argmin(costs / weights)])


def simulate(
    program: Program,
    budget: float,
    *,
    weigh: str = "next_use",
    holds: dict[int, Hold] | None = None,
    at: Callable[[Residency, int], None] | None = None,
    most: float = NEVER,
) -> tuple[Step, ...] | None:
    """Return the steps of running the whole program under `budget`, or None where it does not fit.

    A way that takes more than `MOST_STEPS` steps a value (or `most` in all) counts as not fitting: nobody would wait.

    `weigh` is "next_use" or "ancestors" (cost of getting back over bytes alone); `holds` keep values back (see
    `Hold`). `at(residency, v)` is called before
    value `v` is first made and may drop values.
    """
    residency = Residency(program, budget, knows_future=True, weigh=weigh)
    for v, hold in (holds or {}).items():
        residency.hold_back(v, hold)
    steps: list[Step] = []
    most = min(most, MOST_STEPS * len(program) + 200)
    try:
        for v in range(len(program)):
            if at is not None:
                residency._steps = []
                at(residency, v)
                steps.extend(residency._steps)
            steps.extend(residency.make(v))
            if len(steps) > most:
                return None
            if residency.is_resident(v) and residency._next[v] == NEVER:
                residency._steps = []
                residency._drop(v)
                steps.extend(residency._steps)
        for v in program.outputs:
            if not residency.is_resident(v):
                steps.extend(residency.make(v))
    except DoesNotFit:
        return None
    return tuple(steps)
