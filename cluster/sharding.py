"""Makes updates of parameters where each worker has the optimizer state of its own pieces only (ZeRO-1).

The parameters lie in one slot of the node's shared memory, for all its workers. After the sum of the gradients every worker
updates its own pieces there, by its own part of the state, and the nodes exchange theirs. Every element goes through the
operations that it would go through unsharded, and norms of whole leaves are totals of the same block sums, so that the bits
are those of an unsharded run with any number of workers. Source: Rajbhandari et al., "ZeRO: Memory optimizations toward
training trillion parameter models", SC 2020, stage 1.

A worker that dies takes its part of the state along. The others do not go on from theirs: all go back to the newest
snapshot and do the steps since then again, with the same bits. When workers join or leave, a snapshot is saved first.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..runtime.trees import flatten, unflatten
from .comm.group import Group
from .comm.layout import Span
from .comm.pieces import BLOCK, Piece, block_count, pieces, spans
from .errors import RunError
from .optimizers import Optimizer, block_sums, clipped, root

# The slots that a node has for this, beside those for the gradients.
SHARED_SLOTS = 1
# Block sums of so many arrays for each leaf fit into a slot: a leaf takes 64 bytes there at least, and 4 for each element.
_MOST_NORMS = 2


class Shards:
    """One rank's part of the optimizer state in one formation, and the parameters of its node."""

    def __init__(self, optimizer: Optimizer, group: Group, params: Any, state: Any) -> None:
        """Moves ``params`` into shared memory and keeps this rank's pieces of ``state``, copies of them.

        All ranks must come here together. Raises ``RunError`` for an optimizer that cannot have its state sharded.
        """
        if optimizer.update_pieces is None:
            raise RunError(f"the state of {optimizer.name} cannot be sharded over workers: it has no update of pieces")
        self._update, self._group = optimizer.update_pieces, group
        leaves, self._treedef = flatten(params)
        world = group.formation.world
        by_rank = [pieces(group.layout, rank, world) for rank in range(world)]
        self._pieces = by_rank[group.rank]
        self._spans = [spans(found, group.layout) for found in by_rank]
        self._slot = group.shared[0]
        places = group.arena.leaves(self._slot)
        if group.local == 0:
            for place, leaf in zip(places, leaves, strict=True):
                np.copyto(place, leaf)
        group.finish()
        self.params = unflatten(self._treedef, places)
        self._leaf_of = leaves_of(optimizer, self._treedef, len(leaves))
        state_leaves, self._state_treedef = flatten(state)
        cut = [
            np.array(leaf) if number is None else np.array(self._pieces[number].of(leaf))
            for leaf, number in zip(state_leaves, self._leaf_of, strict=True)
        ]
        self.state = unflatten(self._state_treedef, cut)

    @property
    def state_bytes(self) -> int:
        """What this rank's part of the state takes."""
        return sum(leaf.nbytes for leaf in flatten(self.state)[0])

    def update(self, grads: Any, rate: float, norm: float, limit: float | None) -> None:
        """Takes a step with the mean gradient, of global ``norm``, which is clipped to ``limit``."""
        mine, gradients = self._of(self.params), self._of(grads)
        if limit is not None:
            gradients = clipped(gradients, norm, limit)
        _, self.state = self._update(mine, gradients, self.state, rate, self._norms)
        self._group.spread(self._slot, self._spans)

    def whole_state(self) -> Any:
        """The whole state, put together in shared memory for a moment: until the group's next gradients.

        All ranks must come here together, and meet once more when they have what they need of it.
        """
        leaves, spare = flatten(self.state)[0], self._group.spare
        used: dict[int, int] = {}
        whole: list[Any] = []
        for leaf, number in zip(leaves, self._leaf_of, strict=True):
            if number is None:
                whole.append(leaf)
                continue
            turn = used[number] = used.get(number, -1) + 1
            if turn >= len(spare):
                raise RunError(
                    f"an optimizer state with {turn + 1} arrays for each parameter is more than the {len(spare)} that can be "
                    "put together for a snapshot: use more logical shards"
                )
            place = self._group.arena.leaves(spare[turn])[number]
            self._pieces[number].of(place)[...] = leaf
            whole.append(place)
        for slot in spare[: 1 + max(used.values(), default=-1)]:
            self._group.spread(slot, self._spans)
        return unflatten(self._state_treedef, whole)

    def _of(self, tree: Any) -> Any:
        """This rank's pieces of a tree of whole leaves, as views."""
        leaves = flatten(tree)[0]
        return unflatten(self._treedef, [piece.of(leaf) for piece, leaf in zip(self._pieces, leaves, strict=True)])

    def _norms(self, leaf: int, *arrays: np.ndarray) -> list[float]:
        """The norms of whole leaves from everybody's block sums, which meet in a slot that is free by now."""
        if len(arrays) > _MOST_NORMS:
            raise RunError(f"{len(arrays)} norms of one leaf are asked for at once; there is room for {_MOST_NORMS}")
        group, slot = self._group, self._group.spare[-1]
        blocks = [block_count(int(np.prod(shape))) for _, shape, _ in group.layout.places]
        first, count = 8 * _MOST_NORMS * sum(blocks[:leaf]), blocks[leaf]
        table = Span(first, len(arrays) * count, np.dtype(np.float64))
        there = group.arena.view(slot, table).reshape(len(arrays), count)
        mine = _blocks(self._pieces[leaf])
        for row, array in zip(there, arrays, strict=True):
            row[mine] = block_sums(array)
        group.spread(slot, self._block_spans(leaf, first, count, len(arrays)))
        return [root(row) for row in there]

    def _block_spans(self, leaf: int, first: int, count: int, rows: int) -> list[list[Span]]:
        """Where each rank's block sums of a leaf lie."""
        world, layout = self._group.formation.world, self._group.layout
        found = []
        for rank in range(world):
            here = _blocks(pieces(layout, rank, world)[leaf])
            length = here.stop - here.start
            starts = [first + 8 * (row * count + here.start) for row in range(rows)] if length else []
            found.append([Span(start, length, np.dtype(np.float64)) for start in starts])
        return found


def _blocks(piece: Piece) -> slice:
    """The blocks of a piece."""
    return slice(piece.start // BLOCK, piece.start // BLOCK + block_count(piece.stop - piece.start))


def leaves_of(optimizer: Optimizer, treedef: Any, count: int) -> Sequence[int | None]:
    """For each leaf of the state the parameter leaf that it belongs to, or None for one that all workers have.

    Found out by a trial on leaves of different lengths.
    """
    trial = optimizer.init(unflatten(treedef, [np.zeros(2 + leaf) for leaf in range(count)]))
    return [leaf.size - 2 if np.ndim(leaf) else None for leaf in flatten(trial)[0]]
