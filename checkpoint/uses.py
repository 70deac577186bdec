"""Next uses: when each value of a program is used next, directly or through evicted values that are made from it.

A value that only serves to recompute others is used when they are. Next uses are kept exactly, by propagation through
evicted values as these are evicted and made again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .program import Program
from .rules import NEVER, Hold


class Uses:
    """What is made, what is in memory, and the next use by value (`next`; `NEVER` where there is none).

    `position` is where the program stands: the first value that is not asked for yet. `changed(v)` is called when the next
    use of a value in memory has changed. Online, a value that the program may still use is `wanted`.
    """

    def __init__(
        self, program: Program, *, knows_future: bool, holds: Mapping[int, Hold], changed: Callable[[int], None]
    ) -> None:
        self.knows_future = knows_future
        self.position = 0
        self.count = 0
        self.made = bytearray()
        self.is_there = bytearray()
        self.wanted = bytearray()
        self.outputs: set[int] = set(program.outputs)
        self.next: list[float] = []
        self.consumers: list[list[int]] = []
        self._inputs = program.inputs
        self._holds = holds
        self._changed = changed
        self._pointers: list[int] = []  # by value: the first of its consumers that is not made for the first time yet
        self._evicted_consumers: list[set[int]] = []
        self._expiring: dict[float, list[int]] = {}
        for v, hold in holds.items():
            self._expiring.setdefault(hold.until + 1, []).append(v)

    def extend(self) -> None:
        """Take in the values that were added to the program since the last call."""
        first, count = self.count, len(self._inputs)
        new = count - first
        for marks in (self.made, self.is_there, self.wanted):
            marks.extend(bytes(new))
        self._pointers.extend([0] * new)
        self.next.extend([NEVER] * new)
        consumers, next_uses = self.consumers, self.next
        for v in range(first, count):
            consumers.append([])
            self._evicted_consumers.append(set())
            for u in dict.fromkeys(self._inputs[v]):
                consumers[u].append(v)
                if v < next_uses[u]:
                    next_uses[u] = v
                    if self.is_there[u]:
                        self._changed(u)
                    elif self.made[u]:
                        self.lend(u)
        self.count = count

    def recount(self) -> None:
        """Count all next uses from nothing."""
        for v in range(self.count - 1, -1, -1):
            self._evicted_consumers[v] = {
                c for c in self.consumers[v] if self.made[c] and not self.is_there[c] and self.next[c] != NEVER
            }
            self.next[v] = self.find(v)

    def find(self, v: int) -> float:
        """Return the first position from now on that uses `v`, directly or through an evicted descendant."""
        consumers, position = self.consumers[v], self.position
        at, count = self._pointers[v], len(consumers)
        while at < count and consumers[at] < position:
            at += 1
        self._pointers[v] = at
        best = consumers[at] if at < count else NEVER
        for c in self._evicted_consumers[v]:
            if self.next[c] < best:
                best = self.next[c]
        if best == NEVER and (v in self.outputs or (self.wanted[v] and not self.knows_future)):
            best = float(self.count)
        if self._holds and v in self._holds and position <= self._holds[v].until < best:
            best = self._holds[v].until
        return best

    def read(self, u: int) -> None:
        """Count again the uses of what `u` is made from, now that it is made. All of it is in memory."""
        for p in self._inputs[u]:
            self._evicted_consumers[p].discard(u)
            self.next[p] = self.find(p)

    def lend(self, v: int) -> None:
        """Count the uses of the evicted `v` as uses of what it is made from."""
        next_uses, there, inputs = self.next, self.is_there, self._inputs
        stack = [v]
        while stack:
            u = stack.pop()
            use = next_uses[u]
            for p in inputs[u]:
                self._evicted_consumers[p].add(u)
                if use < next_uses[p]:
                    next_uses[p] = use
                    if there[p]:
                        self._changed(p)
                    else:
                        stack.append(p)

    def renew(self, v: int) -> None:
        """Count the next use of `v` again, and if it is evicted those of what it is made from."""
        stack = [v]
        while stack:
            u = stack.pop()
            use = self.find(u)
            if use == self.next[u]:
                continue
            self.next[u] = use
            if self.is_there[u]:
                self._changed(u)
            elif self.made[u]:
                for p in self._inputs[u]:
                    if use == NEVER:
                        self._evicted_consumers[p].discard(u)
                    else:
                        self._evicted_consumers[p].add(u)
                    stack.append(p)

    def expired(self) -> Iterable[int]:
        """Return the values that were held back until just now."""
        return self._expiring.get(self.position, ())
