"""The timeline: one plan as a sequence of computations that can be changed move by move, its memory profile kept along.

A plan is determined by the order of its computations alone: what a computation reads was made by the latest computation
of that value before it, and each such instance is dropped after its last reader. So two moves reach every plan:

- `remove` a repeated computation: the instance before it stays in memory up to the readers of the removed one;
- `insert` a computation: the instance before it is dropped earlier, and what it is made from stays up to it.

Both can be undone. Computations that nobody reads are left out. There are free slots between computations, so that a move
touches the profile of the slots between its ends alone.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

import numpy as np

from .program import Program

EMPTY = -1
_SPACING = 2


class Timeline:
    """The computations of a plan in slots. `cost` is the work in seconds, `memory` the bytes live during each slot."""

    def __init__(self, program: Program, computations: Sequence[int]) -> None:
        self.program = program
        order = _read(program, computations)
        self.end = len(order) * _SPACING + 1  # outputs are read here
        self.value = [EMPTY] * self.end
        self.cost = 0.0
        self.instances: list[list[int]] = [[] for _ in range(len(program))]
        self.readers: list[list[int]] = [[] for _ in range(self.end)]
        self._log: list[tuple] = []
        for number, v in enumerate(order):
            slot = number * _SPACING + _SPACING - 1
            self.value[slot] = v
            self.cost += program.costs[v]
            for p in dict.fromkeys(program.inputs[v]):
                self.readers[self.instances[p][-1]].append(slot)
            self.instances[v].append(slot)
        for v in program.outputs:
            self.readers[self.instances[v][-1]].append(self.end)
        change = np.zeros(self.end + 2, np.int64)
        for slot, v in enumerate(self.value):
            if v != EMPTY:
                change[slot] += program.sizes[v] + program.workspaces[v]
                change[slot + 1] -= program.workspaces[v]
                change[self.last(slot) + 1] -= program.sizes[v]
        self.memory = np.cumsum(change[: self.end + 1]) + program.held_bytes

    def last(self, slot: int) -> int:
        """Return the last slot in which the instance made in `slot` takes up memory."""
        readers = self.readers[slot]
        if not readers:
            return slot
        last = readers[-1]
        if last < self.end and self.program.overwrites[self.value[last]] == self.value[slot]:
            return last - 1  # its buffer is taken over
        return last

    def source(self, v: int, slot: int) -> int:
        """Return the slot of the instance of `v` that a computation in `slot` reads."""
        instances = self.instances[v]
        return instances[bisect_left(instances, slot) - 1]

    def repeated(self) -> list[int]:
        """Return the slots of all computations that are not a value's first."""
        return [slot for instances in self.instances for slot in instances[1:]]

    def remove(self, slot: int) -> None:
        """Take out a repeated computation, and those that only served it."""
        v = self.value[slot]
        instances = self.instances[v]
        before = instances[bisect_left(instances, slot) - 1]
        end = self.last(before)
        self._add(end + 1, slot, self.program.sizes[v])
        self._clear(slot)
        moved = self.readers[slot]
        self._log.append((self._unmerge, before, slot, self.readers[before], moved))
        self.readers[before] = self.readers[before] + moved
        self.readers[slot] = []
        self._release(slot, v)

    def _release(self, slot: int, v: int) -> None:
        """Let the inputs of a cleared computation go, and clear computations that nobody reads any more."""
        sizes = self.program.sizes
        stack = [(slot, v)]
        while stack:
            slot, v = stack.pop()
            for p in dict.fromkeys(self.program.inputs[v]):
                source = self.source(p, slot)
                until = self.last(source)
                self._unread(source, slot)
                if not self.readers[source]:
                    self._add(source, until + 1, -sizes[p])
                    self._clear(source)
                    stack.append((source, p))
                else:
                    self._add(self.last(source) + 1, until + 1, -sizes[p])

    def insert(self, v: int, reader: int) -> int:
        """Compute `v` again shortly before `reader`, which reads it, and return the slot, or -1 where none is free."""
        before = self.source(v, reader)
        readers = self.readers[before]
        at = bisect_left(readers, reader)
        first_free = max(readers[at - 1] if at else before, before)
        slot = reader - 1
        while slot > first_free and self.value[slot] != EMPTY:
            slot -= 1
        if slot <= first_free:
            return -1
        sizes = self.program.sizes
        until = self.last(before)
        kept, moved = readers[:at], readers[at:]
        self._log.append((self._restore_readers, before, readers))
        self._log.append((self._restore_readers, slot, self.readers[slot]))
        self.readers[before], self.readers[slot] = kept, moved
        self.value[slot] = v
        insort(self.instances[v], slot)
        self.cost += self.program.costs[v]
        self.memory[slot] += self.program.workspaces[v]
        self._log.append((self._unset, slot))
        self._add(self.last(before) + 1, min(slot, until + 1), -sizes[v])
        for p in dict.fromkeys(self.program.inputs[v]):
            source = self.source(p, slot)
            ended = self.last(source)
            self._log.append((self._restore_readers, source, self.readers[source]))
            self.readers[source] = sorted([*self.readers[source], slot])
            self._add(ended + 1, self.last(source) + 1, sizes[p])
        if not kept:  # nobody reads the instance before any more
            self._add(before, self.last(before) + 1, -sizes[v])
            self._clear(before)
            self._release(before, v)
        return slot

    def peak(self, first: int = 0, end: int | None = None) -> int:
        """Return the most bytes that are live from slot `first` to before `end`."""
        return int(self.memory[first:end].max(initial=0))

    def mark(self) -> int:
        """Return a mark of the present state, for `undo`."""
        return len(self._log)

    def undo(self, mark: int) -> None:
        """Go back to a marked state."""
        while len(self._log) > mark:
            undo, *arguments = self._log.pop()
            undo(*arguments)

    def settle(self) -> None:
        """Forget how to go back."""
        self._log.clear()

    def _add(self, first: int, end: int, count: int) -> None:
        if end > first and count:
            self.memory[first:end] += count
            self._log.append((self._subtract, first, end, count))

    def _subtract(self, first: int, end: int, count: int) -> None:
        self.memory[first:end] -= count

    def _clear(self, slot: int) -> None:
        v = self.value[slot]
        self._unset(slot)
        self._log.append((self._set, slot, v))

    def _set(self, slot: int, v: int) -> None:
        self.value[slot] = v
        insort(self.instances[v], slot)
        self.cost += self.program.costs[v]
        self.memory[slot] += self.program.workspaces[v]

    def _unset(self, slot: int) -> None:
        v = self.value[slot]
        self.value[slot] = EMPTY
        self.instances[v].remove(slot)
        self.cost -= self.program.costs[v]
        self.memory[slot] -= self.program.workspaces[v]

    def _unread(self, source: int, slot: int) -> None:
        readers = self.readers[source]
        self._log.append((self._restore_readers, source, readers))
        self.readers[source] = [r for r in readers if r != slot]

    def _restore_readers(self, slot: int, readers: list[int]) -> None:
        self.readers[slot] = readers

    def _unmerge(self, before: int, slot: int, kept: list[int], moved: list[int]) -> None:
        self.readers[before], self.readers[slot] = kept, moved

    def computations(self) -> list[int]:
        """Return the values in the order in which they are computed."""
        return [v for v in self.value if v != EMPTY]


def _read(program: Program, computations: Sequence[int]) -> list[int]:
    """Return a sequence of computations without those that nobody reads."""
    read_later = set(program.outputs)
    kept = []
    for v in reversed(computations):
        if v in read_later:
            read_later.discard(v)
            read_later.update(program.inputs[v])
            kept.append(v)
    return kept[::-1]
