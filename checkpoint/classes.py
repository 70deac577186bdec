"""The classes of evicted values: connected groups of them, each with the cost of all its members.

Equivalence classes as in Kirisame et al. 2021 ("Dynamic Tensor Rematerialization", h_DTR_eq): a union-find structure in
which a value that returns takes its cost along, but never splits its class. Cheap, and an over-estimate on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .program import Program


class EvictedClasses:
    """Which class each evicted value is in, and what the class costs."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._node_of: dict[int, int] = {}
        self._parents: list[int] = []
        self._costs: list[float] = []

    def enter(self, v: int, there: Sequence[int], made: Sequence[int], consumers: Iterable[int]) -> None:
        """Take in an evicted value: it joins the classes of its evicted inputs and consumers."""
        node = len(self._parents)
        self._parents.append(node)
        self._costs.append(self.program.costs[v])
        self._node_of[v] = node
        for root in self._around(v, there, made, consumers):
            node = self._find(node)
            if root != node:
                self._parents[root] = node
                self._costs[node] += self._costs[root]

    def leave(self, v: int) -> None:
        """Let go of a value that was made again."""
        node = self._node_of.pop(v, -1)
        if node >= 0:
            self._costs[self._find(node)] -= self.program.costs[v]

    def cost(self, v: int, there: Sequence[int], made: Sequence[int], consumers: Iterable[int]) -> float:
        """Return the cost of `v` and of the classes next to it."""
        return self.program.costs[v] + sum(self._costs[root] for root in self._around(v, there, made, consumers))

    def _around(self, v: int, there: Sequence[int], made: Sequence[int], consumers: Iterable[int]) -> dict[int, None]:
        roots = {self._find(self._node_of[p]): None for p in self.program.inputs[v] if not there[p] and p in self._node_of}
        for c in consumers:
            if not made[c]:
                break
            if not there[c] and c in self._node_of:
                roots[self._find(self._node_of[c])] = None
        return roots

    def _find(self, node: int) -> int:
        parents = self._parents
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node
