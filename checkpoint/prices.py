"""Prices: what it costs to get back each value that could be evicted, from what is in memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping

import numpy as np

from .classes import EvictedClasses
from .program import Program
from .rules import Hold, Rule
from .uses import Uses

_DEEP = 256  # evicted ancestors that are counted
_NEAR = 32  # of them, where costs are only compared with each other
_WIDE = 12  # evicted descendants through which a return is told


class Prices:
    """The cost of getting values back, by itself and times weight over bytes, which is the price of keeping them.

    Of deep ancestries only the nearest part is counted. `seen` counts what was looked at, in values.
    """

    def __init__(
        self, program: Program, uses: Uses, rule: Rule, weights: np.ndarray | None, holds: Mapping[int, Hold]
    ) -> None:
        self.program = program
        self.seen = 0
        self._uses = uses
        self._classes = EvictedClasses(program) if rule.cost == "classes" else None
        self._weights = weights
        self._holds = holds
        self._scale = array("d")  # by value: weight / bytes
        self._deep: dict[int, float] = {}  # costs of values in memory of which only the nearest part is counted: they last
        self._fallen: dict[int, float] = {}  # values in memory whose cost may have fallen, and by how many seconds at most

    def extend(self) -> None:
        """Take in the values that were added to the program since the last call."""
        sizes = self.program.sizes
        for v in range(len(self._scale), len(sizes)):
            weight = 1.0 if self._weights is None else float(self._weights[v])
            if v in self._holds:
                weight *= self._holds[v].weight
            self._scale.append(weight / max(sizes[v], 1))

    def least(self, v: int) -> float:
        """Return the price of `v` as if all that it is made from were in memory."""
        return self.program.costs[v] * self._scale[v]

    def now(self, v: int) -> float:
        """Return the price of `v`."""
        cost = self._deep.get(v)
        if cost is None:
            looked = self.seen
            cost = self.cost(v)
            if self.seen - looked > _DEEP:
                self._deep[v] = cost
        return cost * self._scale[v]

    def cost(self, v: int, deep: int = _DEEP) -> float:
        """Return the seconds of computing `v` from what is in memory; of its evicted ancestors `deep` are counted."""
        there = self._uses.is_there
        if self._classes is not None:
            return self._classes.cost(v, there, self._uses.made, self._uses.consumers(v))
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
                if len(stack) > deep:
                    break
            self.seen += len(stack)
        return cost

    def near_cost(self, v: int) -> float:
        """Return the cost of `v` with its nearest evicted ancestors alone: enough to tell which of two values is dearer."""
        return self.cost(v, _NEAR)

    def note_eviction(self, v: int) -> None:
        """Take note that `v` is no longer in memory."""
        self._deep.pop(v, None)
        if self._classes is not None:
            self._classes.enter(v, self._uses.is_there, self._uses.made, self._uses.consumers(v))

    def note_return(self, v: int) -> None:
        """Take note that `v` is in memory again: the descendants in memory that counted its cost have become cheaper by it.

        What `v` is made from is there by then, and has been told of before.
        """
        there, made, consumers = self._uses.is_there, self._uses.made, self._uses.consumers
        if self._classes is not None:
            self._classes.leave(v)
        fallen, deep, cost = self._fallen, self._deep, self.program.costs[v]
        queue = [v]
        seen = {v}
        looked = 0
        for u in queue:
            for c in consumers(u):
                looked += 1
                if not made[c] or looked > _DEEP:
                    break
                if there[c]:
                    fallen[c] = fallen.get(c, 0.0) + cost
                    deep.pop(c, None)
                elif c not in seen:
                    seen.add(c)
                    queue.append(c)
            if len(queue) > _WIDE:
                break
        self.seen += looked

    def fallen(self) -> Iterator[tuple[int, float]]:
        """Yield the values whose price may have fallen since the last time, and by how much at most; and forget them."""
        fallen, self._fallen = self._fallen, {}
        scale = self._scale
        for v, seconds in fallen.items():
            yield v, seconds * scale[v]
