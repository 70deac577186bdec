"""Next uses: when each value of a program is used next, directly or through evicted values that are made from it.

A value that only serves to recompute others is used when they are. Next uses are kept exactly, by propagation through
evicted values as these are evicted and made again.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush, heapreplace

from .program import Program
from .rules import NEVER, Hold

_DEEP = 64  # values that one eviction tells of a nearer use: those further up are used through these anyway
_MANY = 32


class Uses:
    """What is made, what is in memory, and the next use by value (`next`; `NEVER` where there is none).

    `position` is where the program stands: the first value that is not asked for yet. `changed` lists the values in memory
    whose next use has changed, for the owner to take note of and empty: called back instead, it and this would hold each
    other, and the memory of both would wait for the garbage collector. Online, a value that the program may still use is
    `wanted`.
    """

    def __init__(self, program: Program, *, knows_future: bool, holds: Mapping[int, Hold]) -> None:
        self.knows_future = knows_future
        self.position = 0
        self.count = 0
        self.seen = 0  # values looked at for all that was lent and renewed
        self.made = bytearray()
        self.is_there = bytearray()
        self.wanted = bytearray()
        self.outputs: set[int] = set(program.outputs)
        self.next = array("d")
        self._inputs = program.inputs
        self._holds = holds
        self.changed: list[int] = []
        # Chains of consumers, a link for each value and input of it: lists of them would take several times the memory.
        self._links = array("i")  # by link: who reads
        self._after = array("i")  # by link: the same value's next one, or -1
        self._first, self._last = array("i"), array("i")  # by value, or -1
        self._pointers = array("i")  # by value: the link of its first consumer that is not made for the first time yet, or -1
        # By value, where some of its consumers are evicted: their next uses and numbers, the nearest first. Those that are
        # in memory again, and uses that have changed, are only noticed when they come up.
        self._through: dict[int, list[tuple[float, int]]] = {}
        self._expiring: dict[float, list[int]] = {}
        for v, hold in holds.items():
            self._expiring.setdefault(hold.until + 1, []).append(v)

    def extend(self) -> None:
        """Take in the values that were added to the program since the last call."""
        first, count = self.count, len(self._inputs)
        new = count - first
        for marks in (self.made, self.is_there, self.wanted):
            marks.extend(bytes(new))
        self.next.extend([NEVER] * new)
        for column in (self._first, self._last, self._pointers):
            column.extend([-1] * new)
        next_uses, inputs, links, after = self.next, self._inputs, self._links, self._after
        for v in range(first, count):
            for u in inputs[v] if len(inputs[v]) < 2 else dict.fromkeys(inputs[v]):
                link = len(links)
                links.append(v)
                after.append(-1)
                last = self._last[u]
                self._last[u] = link
                if last < 0:
                    self._first[u] = link
                else:
                    after[last] = link
                if self._pointers[u] < 0:
                    self._pointers[u] = link
                if v < next_uses[u]:
                    next_uses[u] = v
                    if self.is_there[u]:
                        self.changed.append(u)
                    elif self.made[u]:
                        self.lend(u)
        self.count = count

    def consumers(self, v: int) -> Iterator[int]:
        """Yield the values that are made from `v`, in order."""
        link = self._first[v]
        while link >= 0:
            yield self._links[link]
            link = self._after[link]

    def recount(self) -> None:
        """Count all next uses from nothing."""
        made, there, next_uses = self.made, self.is_there, self.next
        self._through = {}
        for v in range(self.count - 1, -1, -1):
            through = [(next_uses[c], c) for c in self.consumers(v) if made[c] and not there[c] and next_uses[c] != NEVER]
            if through:
                heapify(through)
                self._through[v] = through
            next_uses[v] = self.find(v)

    def find(self, v: int, besides: int = -1) -> float:
        """Return the first position from now on that uses `v`, directly or through an evicted descendant.

        The consumer `besides` is about to be in memory again.
        """
        links, position, link = self._links, self.position, self._pointers[v]
        while link >= 0 and links[link] < position:
            link = self._pointers[v] = self._after[link]
        best = links[link] if link >= 0 else NEVER
        through = self._through.get(v)
        if through is not None:
            there, next_uses = self.is_there, self.next
            while through:
                use, c = through[0]
                now = next_uses[c]
                self.seen += 1
                if there[c] or c == besides or now == NEVER:
                    heappop(through)
                elif now != use:
                    heapreplace(through, (now, c))
                else:
                    if use < best:
                        best = use
                    break
            else:
                del self._through[v]
        if best == NEVER and (v in self.outputs or (self.wanted[v] and not self.knows_future)):
            best = float(self.count)
        if self._holds and v in self._holds and position <= self._holds[v].until < best:
            best = self._holds[v].until
        return best

    def read(self, u: int) -> None:
        """Count again the uses of what `u` is made from, now that it is made. All of it is in memory."""
        next_uses, find = self.next, self.find
        for p in self._inputs[u]:
            next_uses[p] = find(p, u)

    def lend(self, v: int) -> None:
        """Count the uses of the evicted `v` as uses of what it is made from, the nearest ancestors first."""
        next_uses, there, inputs = self.next, self.is_there, self._inputs
        stack = [v]
        for u in stack:  # grows while it is walked
            use = next_uses[u]
            for p in inputs[u]:
                self._note_through(p, use, u)
                if use < next_uses[p]:
                    next_uses[p] = use
                    if there[p]:
                        self.changed.append(p)
                    elif len(stack) < _DEEP:
                        stack.append(p)
        self.seen += len(stack)

    def _note_through(self, p: int, use: float, consumer: int) -> None:
        through = self._through.get(p)
        if through is None:
            self._through[p] = [(use, consumer)]
            return
        heappush(through, (use, consumer))
        length = len(through)
        if length > _MANY and not length & (length - 1):  # at powers of two: a value that many read is told often
            there, next_uses = self.is_there, self.next
            through[:] = {(next_uses[c], c) for _, c in through if not there[c] and next_uses[c] != NEVER}
            heapify(through)

    def renew(self, v: int) -> None:
        """Count the next use of `v` again, and if it is evicted those of what it is made from."""
        stack = [v]
        while stack:
            u = stack.pop()
            self.seen += 1
            use = self.find(u)
            if use == self.next[u]:
                continue
            self.next[u] = use
            if self.is_there[u]:
                self.changed.append(u)
            elif self.made[u]:
                for p in self._inputs[u]:
                    if use != NEVER:
                        self._note_through(p, use, u)
                    stack.append(p)

    def expired(self) -> Iterable[int]:
        """Return the values that were held back until just now."""
        return self._expiring.get(self.position, ())
