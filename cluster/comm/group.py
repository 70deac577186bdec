"""Makes the sum of all workers' gradients from where they run: shared memory inside each node, the network between nodes.

Every rank puts the gradients of its run of shards into its own slots, which lie in its node's shared memory. A reduction
is then two levels of one fixed tree: the ranks of a node add up the subtrees that lie in the node, and the node's first rank
adds up the nodes' subtrees with the other nodes. What is added to what depends on the number of shards alone.
"""

import socket
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...runtime.landing import Landing
from .adding import add_scaled, add_up
from .arena_files import arena_path, remove_abandoned, remove_arenas
from .feed import Feed
from .formation import Formation
from .layout import Layout, Span
from .mesh import Waiting
from .net import Net
from .shm import Arena
from .slots import Slots
from .sums import puts


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
        self.puts = puts(formation.runs[rank], formation.shards, formation.split)
        self._several = len(formation.nodes) > 1
        self._places = Slots.of(formation, self.node, shared=shared)
        self.shared = self._places.shared
        if self.local == 0:
            # A formation whose first rank died before all had met has left its memory to the next one.
            remove_arenas(formation.token, before=formation.generation)
            remove_abandoned()
        self.arena = Arena(
            arena_path(formation.token, self.node, formation.generation),
            self.local,
            formation.nodes[self.node],
            layout,
            slots=self._places.each,
            extra=self._places.extra,
            figures=(formation.world, figures),
            generation=formation.generation,
            deadline_seconds=formation.deadline_seconds,
            is_called_off=is_called_off,
        )
        self.slots = [self.arena.leaves(self.arena.slot(self.local, number)) for number in range(self._places.each)]
        self.result = self.arena.leaves(self._places.result)
        self._whole = self.slots, self.result
        self.travelling = layout
        self._figures = figures
        self._table = 0
        self._net: Net | None = None
        if self._several and self.local == 0:
            assert listener is not None
            self._net = Net(
                self.node,
                formation.addresses,
                listener,
                token=formation.token,
                generation=formation.generation,
                partials=[len(trees) for trees in formation.node_trees],
                total=formation.total,
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
        for total, slot in self._places.partials:
            if isinstance(total, int) and (self._several or (self._places.sources[total] == slot and divisor == 1.0)):
                continue  # one subtree is there as it is
            for span in spans:
                share = span.share(self.local, arena.world)
                sources = [arena.view(source, share) for source in self._places.sources]
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
        parts = [[self.arena.view(slot, span) for _, slot in self._places.partials] for span in spans]
        results = [self.arena.view(self._places.result, span) for span in spans]
        self._net.all_reduce(spans, parts, results, divisor=divisor, combine=combine, feed=feed)

    @property
    def is_leader(self) -> bool:
        """Whether this rank reduces with other nodes for its own."""
        return self._net is not None

    @property
    def spare(self) -> list[int]:
        """Slots of this node that nothing is in between a ``finish`` and the next gradients: the result is the first."""
        return [self._places.result, *(self.arena.slot(0, number) for number in range(len(self.slots)))]

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
