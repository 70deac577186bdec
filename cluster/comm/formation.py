"""Makes the description of who works together: the workers of each node, their shards, and where the nodes meet."""

from dataclasses import dataclass
from functools import cached_property

from .mesh import Address
from .sums import Expression, Run, Split, balanced, even_runs, expression, subtrees


@dataclass(frozen=True)
class Formation:
    """Who works together: ``nodes`` holds the number of workers of each node, whose ranks follow one another.

    ``token`` is the job's secret, ``generation`` counts the formations of a job. ``addresses`` is where each node's first
    rank listens, and empty for one node. ``split`` is the tree that the ``shards`` are added up along.
    """

    token: str
    generation: int
    shards: int
    nodes: tuple[int, ...] = (1,)
    addresses: tuple[Address, ...] = ()
    deadline_seconds: float = 300.0
    wire: str = "float32"
    split: Split = balanced

    @property
    def world(self) -> int:
        """The number of workers."""
        return sum(self.nodes)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Each worker's run of shards."""
        return even_runs(self.shards, self.world)

    @cached_property
    def node_trees(self) -> tuple[tuple[Run, ...], ...]:
        """The subtrees that each node can add up by itself."""
        return tuple(subtrees(self.node_run(node), self.shards, self.split) for node in range(len(self.nodes)))

    @property
    def total(self) -> Expression:
        """How the sum over all shards is added up from those of the nodes' subtrees, numbered node by node."""
        numbered = {tree: number for number, tree in enumerate(tree for trees in self.node_trees for tree in trees)}
        return expression((0, self.shards), numbered, self.split)

    def place(self, rank: int) -> tuple[int, int]:
        """The node of a rank, and its number there."""
        for node, count in enumerate(self.nodes):
            if rank < count:
                return node, rank
            rank -= count
        raise ValueError(f"rank {rank + self.world} is not among the {self.world} of this formation")

    def first_rank(self, node: int) -> int:
        """The rank of a node's first worker."""
        return sum(self.nodes[:node])

    def node_run(self, node: int) -> Run:
        """The shards of all workers of a node."""
        first = self.first_rank(node)
        return self.runs[first][0], self.runs[first + self.nodes[node] - 1][1]
