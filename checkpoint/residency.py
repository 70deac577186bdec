"""The residency: which values are in memory, decided step by step under a budget; pure data in, steps out.

One engine serves all planners and the online policy. Asked to make a value, it answers with steps: values to compute
(rematerialised ancestors first) and values to drop. What it evicts, a `Rule` says. A use counts if it is direct or through
an evicted descendant (see `uses`), so a value that only serves to recompute others stays as long as it is worth its bytes.
Values without any such use are dropped at once. Nothing is ever lost: whatever is dropped can be computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .classes import EvictedClasses
from .errors import DoesNotFit
from .pool import Pool
from .program import Program
from .rules import NEVER, NEXT_USE, ONLINE, Hold, Rule
from .steps import Compute, Drop, Step
from .uses import Uses

_DEEP = 256
_WIDE = 32


class Residency:
    """The state of memory while a program runs or is planned. `budget` is in bytes; infinity is allowed.

    `live` is what is held now, `peak` the most that was held at any step, workspaces included. `most` bounds the steps of
    all, `most_at_once` those of making one value.
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
        most_at_once: float = NEVER,
    ) -> None:
        if rule is None:
            rule = NEXT_USE if knows_future else ONLINE
        self.program = program
        self.budget = budget
        self.live = program.held_bytes
        self.peak = self.live
        self.most = most
        self.most_at_once = most_at_once
        self.taken = 0
        self._steps: list[Step] = []
        self._holds = dict(holds or {})
        self._uses = Uses(program, knows_future=knows_future, holds=self._holds, changed=self._note_use)
        self._pool = Pool(rule, has_holds=bool(holds))
        self._classes = EvictedClasses(program) if rule.cost == "classes" else None
        self._weights = weights
        self._scale: list[float] = []  # by value: weight / bytes
        self._stale: set[int] = set()  # resident values whose price may have fallen
        self.extend()

    @property
    def outputs(self) -> set[int]:
        """The values that must exist at the end."""
        return self._uses.outputs

    def extend(self) -> None:
        """Take in the values that were added to the program since the last call."""
        for v in range(self._uses.count, len(self.program)):
            weight = 1.0 if self._weights is None else float(self._weights[v])
            if v in self._holds:
                weight *= self._holds[v].weight
            self._scale.append(weight / max(self.program.sizes[v], 1))
        self._uses.extend()

    def is_resident(self, v: int) -> bool:
        """Tell whether `v` is in memory."""
        return bool(self._uses.is_there[v])

    def resident(self) -> list[int]:
        """Return the values in memory."""
        return [v for v, there in enumerate(self._uses.is_there) if there]

    def next_use(self, v: int) -> float:
        """Return the position at which `v` is used next, directly or through evicted values; `NEVER` where there is none."""
        return self._uses.next[v]

    def adopt(self, resident: Iterable[int], position: int) -> None:
        """Continue from a state that somebody else reached: everything before `position` made, `resident` in memory."""
        self._uses.position = position
        self._uses.made[:position] = b"\1" * position
        for v in resident:
            self._uses.is_there[v] = 1
            self.live += self.program.sizes[v]
        self.peak = max(self.peak, self.live)
        self._recount()

    def reveal(self, outputs: Iterable[int]) -> list[Step]:
        """Learn the whole future: all values are in the program now, `outputs` must exist at the end."""
        self.extend()
        self._uses.knows_future = True
        self._uses.outputs = set(outputs)
        self._pool.rule = NEXT_USE
        self._steps = []
        self._recount()
        for v in self.resident():
            if self._uses.next[v] == NEVER:
                self._drop(v)
        return self._steps

    def _recount(self) -> None:
        self._uses.recount()
        for v in self.resident():
            if v in self.outputs:
                self._pool.take_out(v)
            self._admit(v)

    def want(self, v: int, wanted: bool) -> list[Step]:
        """Online: note whether the program may still use `v`; a value nobody wants is dropped."""
        self._uses.wanted[v] = wanted
        self._steps = []
        self._uses.renew(v)
        return self._steps

    def expect(self, v: int) -> None:
        """Online: note that the program is about to receive `v`, which is not made yet."""
        self._uses.wanted[v] = 1

    def is_wanted(self, v: int) -> bool:
        """Tell whether the program may still use `v`."""
        return bool(self._uses.wanted[v])

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
        if not self._uses.made[v]:
            self._uses.position = v
        there = self._uses.is_there
        program_inputs = self.program.inputs
        if not there[v] and all([there[p] for p in program_inputs[v]]):
            self._compute(v, program_inputs[v], (), is_target=True)
            return self._steps
        most = min(self.most, self.taken + self.most_at_once)
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
                if tries[u] > 4 * len(inputs) + 8 or self.taken > most:
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
        program, uses = self.program, self._uses
        next_uses = uses.next
        first = not uses.made[u]
        if first and is_target:
            uses.position = u + 1
        uses.read(u)
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
        uses.is_there[u] = 1
        if first:
            uses.made[u] = 1
            next_uses[u] = uses.find(u)
        else:
            self._note_return(u)
        if self._classes is not None:
            self._classes.leave(u)
        self._admit(u)
        for p in inputs:
            if uses.is_there[p]:
                self._note_use(p)
        if next_uses[u] == NEVER and uses.knows_future:
            self._drop(u)
        if first and self._holds:  # not before: what is read here has no later use
            for v in uses.expired():
                uses.renew(v)

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
        uses = self._uses
        uses.is_there[v] = 0
        self.live -= self.program.sizes[v]
        self._pool.take_out(v)
        if uses.next[v] != NEVER:
            uses.lend(v)
        if self._classes is not None:
            self._classes.enter(v, uses.is_there, uses.made, uses.consumers[v])

    def _note_use(self, v: int) -> None:
        """Note the next use of a value in memory, or drop it where there is none any more."""
        if self._uses.next[v] == NEVER:
            self._drop(v)
        else:
            self._pool.set_age(v, self._age(v))

    def _admit(self, v: int) -> None:
        """Put a resident value among those that may be evicted. Outputs stay from their making on."""
        if self.program.sizes[v] and v not in self.outputs:
            # Without what is evicted around it: when it is picked, the price is found too low and set right.
            self._pool.put(v, self.program.costs[v] * self._scale[v], self._age(v))

    def _age(self, v: int) -> float:
        return self._uses.next[v] if self._pool.rule.age == "next use" else self.taken

    def _price(self, v: int) -> float:
        return self._cost_of_return(v) * self._scale[v]

    def _cost_of_return(self, v: int) -> float:
        """Return the cost of computing `v` from what is in memory; of deep ancestries only the nearest part is counted."""
        there = self._uses.is_there
        if self._classes is not None:
            return self._classes.cost(v, there, self._uses.made, self._uses.consumers[v])
        program_inputs, costs = self.program.inputs, self.program.costs
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
        there, made, consumers = self._uses.is_there, self._uses.made, self._uses.consumers
        queue = [v]
        seen = {v}
        for u in queue:
            for c in consumers[u]:
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
        locked = {*inputs, *pending}
        prices = self._pool.lock(locked)
        try:
            while self.live + need > self.budget:
                victim = self._pick(locked)
                if victim < 0:
                    # What outer calls wait for may go too, as a last resort, the outermost first: they ask for it again.
                    victim = next((p for p in pending if p in self._pool and p not in inputs), -1)
                    if victim < 0:
                        raise DoesNotFit(u, int(self.live + need))
                self._drop(victim)
        finally:
            self._pool.unlock(prices)

    def _pick(self, locked: set[int]) -> int:
        """Return the value to evict, or -1 when nothing may go."""
        for v in self._stale:
            if v not in locked and v in self._pool:
                self._pool.set_price(v, self._price(v))
        self._stale &= locked
        return self._pool.cheapest(self._uses.position, self.taken, self._price)
