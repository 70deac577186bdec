"""Makes the sum of all workers' gradients from where they run: shared memory inside each node, the network between nodes.

Every rank puts the gradients of its run of shards into its own slots, which lie in its node's shared memory. A reduction
is then two levels of one fixed tree: the ranks of a node add up the subtrees that lie in the node, and the node's first rank
adds up the nodes' subtrees with the other nodes. What is added to what depends on the number of shards alone.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...runtime.landing import Landing
from .adding import add_scaled, add_up
from .feed import Feed
from .layout import Layout, Span
from .mesh import Address, Waiting
from .net import Net
from .shm import Arena, arena_path, remove_arenas
from .sums import Run, Split, balanced, even_runs, expression, puts, slot_count, subtrees


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


class Group:
    """One rank's end of a formation: its slots, the sum, and everybody's figures.

    Methods that wait raise ``DeadlineError``, ``AbortedError`` after :meth:`abort` of any rank, and ``MessageError`` for
    what other nodes should not have sent. Every rank must call :meth:`reduce`, :meth:`finish` and :meth:`barrier` in the
    same order.
    """

    def __init__(
        self,
        formation: Formation,
        rank: int,
        layout: Layout,
        *,
        figures: int = 0,
        shared: int = 0,
        listener: socket.socket | None = None,
        is_called_off: Callable[[], bool] = lambda: False,
    ) -> None:
        """Meets the others; ``shared`` is how many further slots a node has.

        Raises ``RunError`` where there is not enough shared memory, or an older formation is met."""
        self.formation, self.rank, self.layout = formation, rank, layout
        self.node, self.local = formation.place(rank)
        shards, split = formation.shards, formation.split
        self.puts = puts(formation.runs[rank], shards, split)
        node_trees = [subtrees(formation.node_run(node), shards, split) for node in range(len(formation.nodes))]
        self._several = len(formation.nodes) > 1
        first = formation.first_rank(self.node)
        local_world = formation.nodes[self.node]
        local_runs = formation.runs[first : first + local_world]
        slots = slot_count(local_runs, shards, split)
        trees = node_trees[self.node]
        if self.local == 0:
            # A formation whose first rank died before all had met has left its memory to the next one.
            remove_arenas(formation.token, before=formation.generation)
        # Behind the ranks' slots: the result, which a worker alone has in its only slot, then this node's partial sums where
        # other nodes want them.
        is_alone = formation.world == 1
        self.arena = Arena(
            arena_path(formation.token, self.node, formation.generation),
            self.local,
            local_world,
            layout,
            slots=slots,
            extra=(0 if is_alone else 1) + (len(trees) if self._several else 0) + shared,
            figures=(formation.world, figures),
            generation=formation.generation,
            deadline_seconds=formation.deadline_seconds,
            is_called_off=is_called_off,
        )
        self._result = self.arena.slot(0) if is_alone else self.arena.extra(0)
        first_shared = 1 + (len(trees) if self._several else 0)
        self.shared = [self.arena.extra(first_shared + number) for number in range(shared)]
        self._sources: list[int] = []
        at: dict[Run, int] = {}
        for local, run in enumerate(local_runs):
            for number, tree in enumerate(subtrees(run, shards, split)):
                at[tree] = len(self._sources)
                self._sources.append(self.arena.slot(local, number))
        self._expressions = [expression(tree, at, split) for tree in trees]
        # Each subtree's sum over this node: made of the slots behind the ranks' ones, or there as it is.
        self._partials = [
            (made, self._sources[made] if isinstance(made, int) else self.arena.extra(1 + number))
            for number, made in enumerate(self._expressions)
        ]
        self.slots = [self.arena.leaves(self.arena.slot(self.local, number)) for number in range(slots)]
        self.result = self.arena.leaves(self._result)
        self._whole = self.slots, self.result
        self.travelling = layout
        self._figures = figures
        self._table = 0
        self._net: Net | None = None
        if self._several and self.local == 0:
            assert listener is not None
            numbered = {tree: number for number, tree in enumerate(tree for trees in node_trees for tree in trees)}
            self._net = Net(
                self.node,
                formation.addresses,
                listener,
                token=formation.token,
                generation=formation.generation,
                partials=[len(trees) for trees in node_trees],
                total=expression((0, shards), numbered, split),
                waiting=Waiting(formation.deadline_seconds, self.arena.check_abort),
                wire=formation.wire,
            )

    def narrow(self, rows: Mapping[int, tuple[int, int]]) -> None:
        """Has some leaves with fewer rows than there is room for, until the next call.

        By the leaf's number, ``rows`` is how many are added up, and how many the gradients in the slots have. Every rank
        must call this with the same rows, after a :meth:`finish`.
        """
        slots, result = self._whole

        def cut(leaves: list[np.ndarray], which: int) -> list[np.ndarray]:
            return [leaf[: rows[number][which]] if number in rows else leaf for number, leaf in enumerate(leaves)]

        self.slots, self.result = [cut(slot, 1) for slot in slots], cut(result, 0)
        self.travelling = self.layout.narrowed({number: used for number, (used, _) in rows.items()})

    def landing(self, number: int, scale: float = 1.0, tell: Callable[[int], None] | None = None) -> Landing:
        """Where the gradients of the rank's ``number``-th shard go, each multiplied by ``scale``.

        They are born in shared memory, or added there to those of the shards before. After the last shard, ``tell`` is
        told of every leaf that is ready to be reduced.
        """
        slot = self.slots[self.puts[number].slot]

        def take(leaf: int, gradient: np.ndarray) -> None:
            self.put(number, leaf, gradient, scale)
            self.arena.beat()
            if tell is not None and number == len(self.puts) - 1:
                tell(leaf)

        return Landing(slot if self.puts[number].is_first else [None] * len(slot), take)

    def put(self, number: int, leaf: int, gradient: np.ndarray, scale: float = 1.0) -> None:
        """Takes one leaf's gradient of the rank's ``number``-th shard, times ``scale``, and adds up what can be."""
        put = self.puts[number]
        place = self.slots[put.slot][leaf]
        if not put.is_first:
            add_scaled(place, gradient, scale)
        elif scale != 1.0:
            np.multiply(gradient, scale, out=place)
        elif gradient is not place:
            np.copyto(place, gradient)
        for into, other in put.merges:
            np.add(self.slots[into][leaf], self.slots[other][leaf], out=self.slots[into][leaf])

    def reduce(self, spans: Sequence[Span] | None = None, *, divisor: float = 1.0, combine: np.ufunc = np.add) -> None:
        """Adds up the spans (all, unless said) of all ranks, divided by ``divisor``; the sum is there after
        :meth:`finish`."""
        spans = self.travelling.whole if spans is None else spans
        self.reduce_here(spans, divisor=divisor, combine=combine)
        self.exchange(spans, divisor=divisor, combine=combine)

    def reduce_here(self, spans: Sequence[Span], *, divisor: float = 1.0, combine: np.ufunc = np.add) -> None:
        """Does this rank's part of adding the spans up inside its node."""
        arena = self.arena
        arena.barrier("bring its gradients")
        made = self._partials if self._several else [(self._expressions[0], self._result)]
        for total, slot in made:
            if isinstance(total, int) and (self._several or (self._sources[total] == slot and divisor == 1.0)):
                continue  # one subtree is there as it is
            for span in spans:
                share = span.share(self.local, arena.world)
                sources = [arena.view(source, share) for source in self._sources]
                add_up(total, sources, arena.view(slot, share), 1.0 if self._several else divisor, combine)
        if self._several:
            arena.barrier("add up its share")

    def exchange(
        self, spans: Sequence[Span], *, divisor: float = 1.0, combine: np.ufunc = np.add, feed: Feed | None = None
    ) -> None:
        """Adds up what the nodes have made of the spans, where this rank is the one that does so for its node.

        With a ``feed``, a span's part of this node is made once the feed says so.
        """
        if self._net is None:
            return
        parts = [[self.arena.view(slot, span) for _, slot in self._partials] for span in spans]
        results = [self.arena.view(self._result, span) for span in spans]
        self._net.all_reduce(spans, parts, results, divisor=divisor, combine=combine, feed=feed)

    @property
    def is_leader(self) -> bool:
        """Whether this rank reduces with other nodes for its own."""
        return self._net is not None

    @property
    def spare(self) -> list[int]:
        """Slots of this node that nothing is in between a ``finish`` and the next gradients: the result is the first."""
        return [self._result, *(self.arena.slot(0, number) for number in range(len(self.slots)))]

    def spread(self, slot: int, spans: Sequence[Sequence[Span]]) -> None:
        """Lets every node have in its ``slot`` what each rank has written into its ``spans`` of it, rank by rank."""
        self.arena.barrier("write its pieces")
        if not self._several:
            return
        if self._net is not None:
            self._net.spread(self._by_node(spans), lambda span: self.arena.view(slot, span))
        self.arena.barrier("bring the pieces of the other nodes")

    def _by_node(self, by_rank: Sequence[Sequence[Span]]) -> list[list[Span]]:
        ends = [self.formation.first_rank(node) for node in range(len(self.formation.nodes))] + [self.formation.world]
        return [[span for rank in range(*ends[node : node + 2]) for span in by_rank[rank]] for node in range(len(ends) - 1)]

    def finish(self, figures: Sequence[float] = ()) -> np.ndarray:
        """Waits until everybody's part of the sum is in ``result``; returns every rank's figures, (world, columns)
        float64."""
        arena, table = self.arena, self.arena.figures(self._table)
        self._table += 1
        table[self.rank, : len(figures)] = figures
        arena.beat()
        arena.barrier("add up its share")
        if self._several:
            if self._net is not None:
                mine = slice(self.rank, self.rank + arena.world)
                for node, rows in self._net.gather(table[mine]).items():
                    first = self.formation.first_rank(node)
                    there = table[first : first + self.formation.nodes[node]]
                    there[...] = rows.reshape(there.shape)
            arena.barrier("bring the figures of the other nodes")
        return table.copy()

    def check(self) -> None:
        """Raises ``AbortedError`` when this formation is over."""
        self.arena.check_abort()

    def beat(self) -> None:
        """Says that this rank is alive."""
        self.arena.beat()

    def abort(self) -> None:
        """Ends everybody's waits, on this node at once and on others when they miss this node. Safe from any thread."""
        self.arena.abort()

    def close(self) -> None:
        """Gives up what this rank holds; its slots go with the last array that views them."""
        self.arena.close()
        if self._net is not None:
            self._net.close()
