"""The residency: which values are in memory, decided step by step under a budget; pure data in, steps out.

One engine serves all planners and the online policy. Asked to make a value, it answers with steps: values to compute
(rematerialised ancestors first) and values to drop. It evicts the value with the least

    cost of getting it back x weight  /  (bytes x age)

where a `Rule` says how the cost and the age are counted. A use counts if it is direct or through an evicted descendant,
so a value that only serves to recompute others stays as long as it is worth its bytes. Values without any such use are
dropped at once. Nothing is ever lost: whatever is dropped can be computed again.

Next uses are kept exactly, by propagation through evicted values as they are evicted and made again. Costs are renewed
when a value comes up for eviction: evictions in between can only have raised them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from .classes import EvictedClasses
from .errors import DoesNotFit
from .program import Program

NEVER = float("inf")
_DEEP = 256
_WIDE = 32
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


@dataclass(frozen=True, slots=True)
class Rule:
    """How the value to evict is chosen.

    `cost` of getting it back counts its evicted "ancestors", or the evicted "classes" next to it (see `classes`).
    `age` is the distance to the "next use", the time since the "last use" (staleness), or "none".
    """

    cost: Literal["ancestors", "classes"] = "ancestors"
    age: Literal["next use", "last use", "none"] = "next use"
    power: float = 1.0


NEXT_USE = Rule()
ONLINE = Rule(age="last use")


class Residency:
    """The state of memory while a program runs or is planned. `budget` is in bytes; infinity is allowed.

    `live` is what is held now, `peak` the most that was held at any step, workspaces included; `most` bounds the steps.
    """

    def __init__(
        self,
        program: Program,
        budget: float,
        *,
        knows_future: bool,
        rule: Rule | None = None,
        weights: np.ndarray | None = None,
        holds: Mapping[int, Hold] | None = None,
        most: float = NEVER,
    ) -> None:
        if rule is None:
            rule = NEXT_USE if knows_future else ONLINE
        self.program = program
        self.budget = budget
        self.knows_future = knows_future
        self.rule = rule
        self.live = program.held_bytes
        self.peak = self.live
        self.position = 0
        self.count = 0
        self.most = most
        self.made = bytearray()
        self.wanted = bytearray()
        self.outputs: set[int] = set(program.outputs)
        self.taken = 0
        self._steps: list[Step] = []
        self._is_resident = bytearray()
        self._consumers: list[list[int]] = []
        self._pointers: list[int] = []  # by value: the first of its consumers that is not made for the first time yet
        self._evicted_consumers: list[set[int]] = []
        self._next_uses: list[float] = []
        self._classes = EvictedClasses(program) if rule.cost == "classes" else None
        self._weights = weights
        self._scale: list[float] = []  # by value: weight / bytes
        self._holds = dict(holds or {})
        self._expiring: dict[float, list[int]] = {}
        for v, hold in self._holds.items():
            self._expiring.setdefault(hold.until + 1, []).append(v)
        size = max(len(program), 256)
        self._price = np.full(size, NEVER)  # cost x weight / bytes; infinite for what is not there or may not go
        # An infinite price must be divided by a positive, finite age.
        self._no_age = 1e300 if rule.age == "next use" else 0.0
        self._ages = np.full(size, self._no_age)  # position of the next use, or of the last one
        self._room = np.empty(size)
        self._stale: set[int] = set()  # resident values whose price may have fallen
        self.extend()

    def extend(self) -> None:
        """Take in the values that were added to the program since the last call."""
        first, count = self.count, len(self.program)
        if count > len(self._price):
            more = max(count, 2 * len(self._price)) - len(self._price)
            self._price = np.concatenate([self._price, np.full(more, NEVER)])
            self._ages = np.concatenate([self._ages, np.full(more, self._no_age)])
            self._room = np.empty(len(self._price))
        new = count - first
        self.made.extend(bytes(new))
        self.wanted.extend(bytes(new))
        self._is_resident.extend(bytes(new))
        self._pointers.extend([0] * new)
        self._next_uses.extend([NEVER] * new)
        consumers = self._consumers
        for v in range(first, count):
            consumers.append([])
            self._evicted_consumers.append(set())
            weight = 1.0 if self._weights is None else float(self._weights[v])
            if v in self._holds:
                weight *= self._holds[v].weight
            self._scale.append(weight / max(self.program.sizes[v], 1))
            for u in dict.fromkeys(self.program.inputs[v]):
                consumers[u].append(v)
                if v < self._next_uses[u]:
                    self._next_uses[u] = v
                    if self._is_resident[u]:
                        self._note_age(u)
                    elif self.made[u]:
                        self._lend_use(u)
        self.count = count

    def is_resident(self, v: int) -> bool:
        """Tell whether `v` is in memory."""
        return bool(self._is_resident[v])

    def resident(self) -> list[int]:
        """Return the values in memory."""
        return [v for v, there in enumerate(self._is_resident) if there]

    def adopt(self, resident: Iterable[int], position: int) -> None:
        """Continue from a state that somebody else reached: everything before `position` made, `resident` in memory."""
        self.position = position
        self.made[:position] = b"\1" * position
        for v in resident:
            self._is_resident[v] = 1
            self.live += self.program.sizes[v]
        self.peak = max(self.peak, self.live)
        self._recount()

    def reveal(self, outputs: Iterable[int]) -> list[Step]:
        """Learn the whole future: all values are in the program now, `outputs` must exist at the end."""
        self.extend()
        self.knows_future = True
        self.rule = NEXT_USE
        self._no_age = 1e300
        self._ages[:] = self._no_age
        self.outputs = set(outputs)
        self._steps = []
        self._recount()
        for v in self.resident():
            if self._next_uses[v] == NEVER:
                self._drop(v)
        return self._steps

    def _recount(self) -> None:
        """Count all next uses from nothing."""
        for v in range(self.count - 1, -1, -1):
            self._evicted_consumers[v] = {
                c for c in self._consumers[v] if self.made[c] and not self._is_resident[c] and self._next_uses[c] != NEVER
            }
            self._next_uses[v] = self._next_use(v)
            if self._is_resident[v]:
                self._admit(v)

    def want(self, v: int, wanted: bool) -> list[Step]:
        """Online: note whether the program may still use `v`; a value nobody wants is dropped."""
        self.wanted[v] = wanted
        self._steps = []
        self._renew(v)
        return self._steps

    def hold(self, count: int) -> list[Step]:
        """Make room for `count` bytes that stay to the end (a captured constant). Raises `DoesNotFit`."""
        self._steps = []
        if self.live + count > self.budget:
            self._make_room(-1, count, (), ())
        self.live += count
        self.peak = max(self.peak, self.live)
        return self._steps

    def make(self, v: int) -> list[Step]:
        """Return the steps after which `v` is in memory. Raises `DoesNotFit` when the budget cannot hold what it needs."""
        self._steps = []
        if not self.made[v]:
            self.position = v
        there = self._is_resident
        program_inputs = self.program.inputs
        if not there[v] and all([there[p] for p in program_inputs[v]]):
            self._compute(v, program_inputs[v], (), is_target=True)
            return self._steps
        stack = [v]
        pending: dict[int, int] = {}
        tries: dict[int, int] = {}
        while stack:
            u = stack[-1]
            if there[u]:
                stack.pop()
                continue
            inputs = program_inputs[u]
            missing = [p for p in inputs if not there[p]]
            if u not in tries:
                for p in inputs:
                    pending[p] = pending.get(p, 0) + 1
                tries[u] = 0
            if missing:
                tries[u] += 1
                if tries[u] > 4 * len(inputs) + 8 or self.taken > self.most:
                    raise DoesNotFit(u, self._need(u, inputs))
                # The dearest ancestor first: what it needs is gone again before the others come.
                if len(missing) > 1:
                    missing.sort(key=self._cost_of_return)
                stack.extend(missing)
                continue
            self._compute(u, inputs, pending, is_target=u == v)
            stack.pop()
            del tries[u]
            for p in inputs:
                if pending[p] == 1:
                    del pending[p]
                else:
                    pending[p] -= 1
        return self._steps

    def _need(self, u: int, inputs: tuple[int, ...]) -> int:
        program = self.program
        return sum(program.sizes[p] for p in set(inputs)) + program.sizes[u] + program.workspaces[u] + program.held_bytes

    def _compute(self, u: int, inputs: tuple[int, ...], pending: Iterable[int], *, is_target: bool) -> None:
        program = self.program
        next_uses, evicted_consumers = self._next_uses, self._evicted_consumers
        first = not self.made[u]
        if first and is_target:
            self.position = u + 1
        for p in inputs:  # all are resident, so what changes here goes no further
            evicted_consumers[p].discard(u)
            next_uses[p] = self._next_use(p)
        size = program.sizes[u]
        victim = program.overwrites[u]
        if victim >= 0 and next_uses[victim] != NEVER:
            victim = -1
        during = self.live + size + program.workspaces[u] - (program.sizes[victim] if victim >= 0 else 0)
        if during > self.budget:
            self._make_room(u, during - self.live, inputs, pending)
            during = self.live + size + program.workspaces[u] - (program.sizes[victim] if victim >= 0 else 0)
        if during > self.peak:
            self.peak = during
        self._steps.append(Compute(u, victim))
        self.taken += 1
        if victim >= 0:
            self._evict(victim)
        self.live += size
        self._is_resident[u] = 1
        if first:
            self.made[u] = 1
            next_uses[u] = self._next_use(u)
        else:
            self._note_return(u)
        if self._classes is not None:
            self._classes.leave(u)
        self._admit(u)
        for p in inputs:
            if self._is_resident[p]:
                if next_uses[p] == NEVER:
                    self._drop(p)
                else:
                    self._note_age(p)
        if next_uses[u] == NEVER and self.knows_future:
            self._drop(u)
        if first and self.position in self._expiring:  # not before: what is read here has no later use
            for v in self._expiring[self.position]:
                self._renew(v)

    def evict(self, v: int) -> list[Step]:
        """Drop a value that is needed again, by a planner's own decision (see `simulate`)."""
        self._steps = []
        self._drop(v)
        return self._steps

    def _drop(self, v: int) -> None:
        self._steps.append(Drop(v))
        self.taken += 1
        self._evict(v)

    def _evict(self, v: int) -> None:
        self._is_resident[v] = 0
        self.live -= self.program.sizes[v]
        self._price[v] = NEVER
        self._ages[v] = self._no_age
        if self._next_uses[v] != NEVER:
            self._lend_use(v)
        if self._classes is not None:
            self._classes.enter(v, self._is_resident, self.made, self._consumers[v])

    def _lend_use(self, v: int) -> None:
        """Count the uses of the evicted `v` as uses of what it is made from."""
        next_uses, there = self._next_uses, self._is_resident
        inputs = self.program.inputs
        stack = [v]
        while stack:
            u = stack.pop()
            use = next_uses[u]
            for p in inputs[u]:
                self._evicted_consumers[p].add(u)
                if use < next_uses[p]:
                    next_uses[p] = use
                    if there[p]:
                        self._note_age(p)
                    else:
                        stack.append(p)

    def _renew(self, v: int) -> None:
        """Count the next use of `v` again, and those of what it is made from if it is evicted; drop what has none left."""
        stack = [v]
        while stack:
            u = stack.pop()
            use = self._next_use(u)
            if use == self._next_uses[u]:
                continue
            self._next_uses[u] = use
            if self._is_resident[u]:
                if use == NEVER:
                    self._drop(u)
                else:
                    self._note_age(u)
            elif self.made[u]:
                for p in self.program.inputs[u]:
                    if use == NEVER:
                        self._evicted_consumers[p].discard(u)
                    else:
                        self._evicted_consumers[p].add(u)
                    stack.append(p)

    def _next_use(self, v: int) -> float:
        """Return the first position from now on that uses `v`, directly or through an evicted descendant."""
        consumers, position = self._consumers[v], self.position
        at, count = self._pointers[v], len(consumers)
        while at < count and consumers[at] < position:
            at += 1
        self._pointers[v] = at
        best = consumers[at] if at < count else NEVER
        for c in self._evicted_consumers[v]:
            if self._next_uses[c] < best:
                best = self._next_uses[c]
        if best == NEVER and (v in self.outputs or (self.wanted[v] and not self.knows_future)):
            best = float(self.count)
        if self._holds and v in self._holds and position <= self._holds[v].until < best:
            best = self._holds[v].until
        return best

    def _admit(self, v: int) -> None:
        """Put a resident value among those that may be evicted. Outputs stay from their making on."""
        if self.program.sizes[v] and v not in self.outputs:
            # Without what is evicted around it: when it is picked, the price is found too low and set right.
            self._price[v] = self.program.costs[v] * self._scale[v]
            self._note_age(v)

    def _note_age(self, v: int) -> None:
        self._ages[v] = self._next_uses[v] if self.rule.age == "next use" else self.taken

    def _set_price(self, v: int) -> float:
        price = self._cost_of_return(v) * self._scale[v]
        self._price[v] = price
        return price

    def _cost_of_return(self, v: int) -> float:
        """Return the cost of computing `v` from what is in memory; of deep ancestries only the nearest part is counted."""
        if self._classes is not None:
            return self._classes.cost(v, self._is_resident, self.made, self._consumers[v])
        program_inputs, costs, there = self.program.inputs, self.program.costs, self._is_resident
        cost = costs[v]
        stack = [p for p in program_inputs[v] if not there[p]]
        if stack:
            seen = set(stack)
            for p in stack:  # grows while it is walked
                cost += costs[p]
                for q in program_inputs[p]:
                    if not there[q] and q not in seen:
                        seen.add(q)
                        stack.append(q)
                if len(stack) > _DEEP:
                    break
        return cost

    def _note_return(self, v: int) -> None:
        """Mark the resident descendants that have become cheaper because `v` is there again."""
        there, made = self._is_resident, self.made
        queue = [v]
        seen = {v}
        for u in queue:
            for c in self._consumers[u]:
                if not made[c]:
                    break
                if there[c]:
                    self._stale.add(c)
                elif c not in seen:
                    seen.add(c)
                    queue.append(c)
            if len(queue) > _WIDE:
                break

    def _make_room(self, u: int, need: int, inputs: Iterable[int], pending: Iterable[int]) -> None:
        price = self._price
        locked = {*inputs, *pending}
        saved = {p: price[p] for p in locked}
        for p in locked:
            price[p] = NEVER
        try:
            while self.live + need > self.budget:
                victim = self._pick(locked)
                if victim < 0:
                    # What outer calls wait for may go too, as a last resort, the outermost first: they ask for it again.
                    victim = next((p for p in pending if saved[p] != NEVER and self._may_go(p, inputs)), -1)
                    if victim < 0:
                        raise DoesNotFit(u, int(self.live + need))
                    saved[victim] = NEVER
                self._drop(victim)
        finally:
            for p, was in saved.items():
                price[p] = was

    def _may_go(self, v: int, inputs: Iterable[int]) -> bool:
        return bool(self._is_resident[v]) and v not in inputs

    def _pick(self, locked: set[int]) -> int:
        """Return the value with the least price over its age, or -1 when nothing may be evicted."""
        for v in self._stale:
            if v not in locked and self._price[v] != NEVER:
                self._set_price(v)
        self._stale &= locked
        price, ages = self._price[: self.count], self._ages[: self.count]
        room = self._room[: self.count]
        age = self.rule.age
        while True:
            if age == "next use":
                np.subtract(ages, self.position - 1, out=room)
                if self._holds:  # one that expires now may be a step behind
                    np.maximum(room, 1.0, out=room)
                if self.rule.power == 0.5:
                    np.sqrt(room, out=room)
                elif self.rule.power != 1.0:
                    np.power(room, self.rule.power, out=room)
                np.divide(price, room, out=room)
                victim = int(room.argmin())
            elif age == "last use":
                np.subtract(self.taken + 1, ages, out=room)
                np.divide(price, room, out=room)
                victim = int(room.argmin())
            else:
                victim = int(price.argmin())
            before = price[victim]
            if before == NEVER:
                return -1
            if self._set_price(victim) <= before:
                return victim


def simulate(
    program: Program,
    budget: float,
    *,
    rule: Rule = NEXT_USE,
    holds: Mapping[int, Hold] | None = None,
    at: Callable[[Residency, int], list[Step]] | None = None,
    most: float = NEVER,
) -> tuple[Step, ...] | None:
    """Return the steps of running the whole program under `budget`, or None where it does not fit.

    A way that takes more than `most` steps (at the most `MOST_STEPS` a value) counts as not fitting: nobody would wait.
    `rule` chooses what is evicted, `holds` keep values back (see `Hold`). `at(residency, v)` is called before value `v`
    is first made and may evict values.
    """
    most = min(most, MOST_STEPS * len(program) + 200)
    residency = Residency(program, budget, knows_future=True, rule=rule, holds=holds, most=most)
    try:
        return tuple(run_through(residency, at))
    except DoesNotFit:
        return None


def run_through(residency: Residency, at: Callable[[Residency, int], list[Step]] | None = None) -> list[Step]:
    """Return the steps of running the whole program. Raises `DoesNotFit`; `residency.taken` tells how far it got."""
    steps: list[Step] = []
    for v in range(len(residency.program)):
        if at is not None:
            steps += at(residency, v)
        steps += residency.make(v)
    for v in residency.program.outputs:
        if not residency.is_resident(v):
            steps += residency.make(v)
    return steps
