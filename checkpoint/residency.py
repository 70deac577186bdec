"""The residency: which values are in memory, decided step by step under a budget; pure data in, steps out.

One engine serves all planners and the online policy. Asked to make a value, it answers with steps: values to compute
(rematerialised ancestors first) and values to drop. What it evicts, a `Rule` says, from prices (see `prices`) and next
uses. A use counts if it is direct or through an evicted descendant (see `uses`), so a value that only serves to recompute
others stays as long as it is worth its bytes.
Values without any such use are dropped at once. Nothing is ever lost: whatever is dropped can be computed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from .errors import DoesNotFit
from .pool import Pool
from .prices import Prices
from .program import Program
from .rules import NEVER, NEXT_USE, ONLINE, Hold, Rule
from .steps import Compute, Drop, Step
from .uses import Uses

_TRIES = 4  # of making a value, times its inputs: each may drop what another one waits for


class Residency:
    """The state of memory while a program runs or is planned. `budget` is in bytes; infinity is allowed.

    `live` is what is held now, `peak` the most that was held at any step, workspaces included. `most` bounds the steps.
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
        self.live = program.held_bytes
        self.peak = self.live
        self.most = most
        self.taken = 0
        self._steps: list[Step] = []
        self._holds = dict(holds or {})
        self._uses = Uses(program, knows_future=knows_future, holds=self._holds)
        self._pool = Pool(rule, has_holds=bool(holds))
        self._prices = Prices(program, self._uses, rule, weights, self._holds)
        self.extend()

    @property
    def outputs(self) -> set[int]:
        """The values that must exist at the end."""
        return self._uses.outputs

    def extend(self) -> None:
        """Take in the values that were added to the program since the last call."""
        self._prices.extend()
        self._uses.extend()
        self._note_changes()

    @property
    def seen(self) -> int:
        """How many values have been looked at to decide all this: what the policy costs, counted."""
        return self._prices.seen + self._uses.seen + self._pool.passes // 64  # an array's element is so much cheaper

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

    def reveal(self, program: Program) -> list[Step]:
        """Learn the whole future: `program` has all values, and those made so far are the ones that are known."""
        self.program = self._prices.program = program
        self.extend()
        self._uses.knows_future = True
        self._uses.outputs = set(program.outputs)
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
        self._renew(v)
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
            self._make_room(-1, count, ())
        self.live += count
        self.peak = max(self.peak, self.live)
        return self._steps

    def make(self, v: int) -> list[Step]:
        """Return the steps after which `v` is in memory. Raises `DoesNotFit` when the budget cannot hold what it needs."""
        self._steps = []
        if not self._uses.made[v]:
            self._uses.position = v
        there, program_inputs = self._uses.is_there, self.program.inputs
        if there[v]:
            return self._steps
        if all([there[p] for p in program_inputs[v]]):
            self._compute(v, program_inputs[v], is_target=True)
            return self._steps
        stack = [v]
        waits: dict[int, int] = {}  # by value: how many of the computations at hand wait for it or with it
        tries: dict[int, int] = {}
        while stack:
            u = stack[-1]
            if there[u]:
                stack.pop()
                continue
            inputs = program_inputs[u]
            if u not in tries:
                tries[u] = 0
                for p in inputs:
                    waits[p] = waits.get(p, 0) + 1
                    self._pool.pin(p)
            missing = [p for p in inputs if not there[p]]
            if missing:
                tries[u] += 1
                if tries[u] > _TRIES * len(inputs) + 8 or self.taken > self.most:
                    raise DoesNotFit(u, self._need(u, inputs))
                # The dearest ancestor first: what it needs is gone again before the others come.
                if len(missing) > 1:
                    missing.sort(key=self._prices.near_cost)
                stack.extend(missing)
                continue
            self._compute(u, inputs, is_target=u == v)
            stack.pop()
            del tries[u]
            for p in inputs:
                if waits[p] == 1:
                    del waits[p]
                    self._pool.unpin(p)
                else:
                    waits[p] -= 1
        return self._steps

    def _need(self, u: int, inputs: tuple[int, ...]) -> int:
        program = self.program
        return sum(program.sizes[p] for p in set(inputs)) + program.sizes[u] + program.workspaces[u] + program.held_bytes

    def _compute(self, u: int, inputs: tuple[int, ...], *, is_target: bool) -> None:
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
            self._make_room(u, during - self.live, inputs)
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
            self._prices.note_return(u)
        self._admit(u)
        for p in inputs:
            if uses.is_there[p]:
                self._note_use(p)
        if next_uses[u] == NEVER and uses.knows_future:
            self._drop(u)
        if first and self._holds:  # not before: what is read here has no later use
            for v in uses.expired():
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
        uses = self._uses
        uses.is_there[v] = 0
        self.live -= self.program.sizes[v]
        self._pool.take_out(v)
        if uses.next[v] != NEVER:
            uses.lend(v)
            self._note_changes()
        self._prices.note_eviction(v)

    def _renew(self, v: int) -> None:
        self._uses.renew(v)
        self._note_changes()

    def _note_changes(self) -> None:
        changed = self._uses.changed
        for v in changed:
            if self._uses.is_there[v]:
                self._note_use(v)
        changed.clear()

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
            self._pool.put(v, self._prices.least(v), self._age(v))

    def _age(self, v: int) -> float:
        return self._uses.next[v] if self._pool.rule.age == "next use" else self.taken

    def _make_room(self, u: int, need: int, inputs: Iterable[int]) -> None:
        pool = self._pool
        pinned = [p for p in inputs if pool.pin(p)]
        try:
            while self.live + need > self.budget:
                for v, by in self._prices.fallen():
                    pool.lower_price(v, by, self._prices.least(v))
                victim = pool.cheapest(self._uses.position, self.taken, self._prices.now)
                if victim < 0:
                    # What outer computations wait for may go too, as a last resort, the outermost's first: they ask again.
                    victim = next((p for p in pool.pinned() if p not in inputs), -1)
                    if victim < 0:
                        raise DoesNotFit(u, int(self.live + need))
                self._drop(victim)
        finally:
            for p in pinned:
                pool.unpin(p)
