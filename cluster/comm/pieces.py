"""Makes the pieces of the parameters that each worker updates, from the layout of their leaves: pure arithmetic.

All leaves end to end are cut where each worker gets as many bytes, and there at the beginning of a block of elements of a
leaf, so that sums over blocks have the same bits however the blocks are spread over the workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .layout import Layout, Span

BLOCK = 1024


@dataclass(frozen=True)
class Piece:
    """The elements from ``start`` to before ``stop`` of a leaf, counted in C order."""

    leaf: int
    start: int
    stop: int

    def of(self, array: np.ndarray) -> np.ndarray:
        """These elements of a leaf's array, as a view; it has two axes where the leaf has two or more, else one.

        >>> Piece(0, 2, 5).of(np.arange(6).reshape(2, 3)).tolist(), Piece(0, 1, 2).of(np.arange(3)).tolist()
        ([[2, 3, 4]], [1])
        """
        flat = array.reshape(-1)[self.start : self.stop]
        return flat.reshape(1, -1) if array.ndim >= 2 else flat

    def span(self, layout: Layout) -> Span:
        """Where these elements lie inside a slot."""
        offset, _, dtype = layout.places[self.leaf]
        return Span(offset + self.start * dtype.itemsize, self.stop - self.start, dtype)


def pieces(layout: Layout, rank: int, world: int) -> tuple[Piece, ...]:
    """One piece for each leaf, perhaps empty: those of ``rank`` of ``world`` workers.

    The workers' bytes differ by a block or two; together they cover every element exactly once.
    """
    sizes = [int(np.prod(shape)) for _, shape, _ in layout.places]
    items = [dtype.itemsize for _, _, dtype in layout.places]
    total = sum(size * item for size, item in zip(sizes, items, strict=True))
    first, last = total * rank // world, total * (rank + 1) // world
    found, before = [], 0
    for leaf, (size, item) in enumerate(zip(sizes, items, strict=True)):
        found.append(Piece(leaf, *(_edge(edge - before, size, item) for edge in (first, last))))
        before += size * item
    return tuple(found)


def block_count(elements: int) -> int:
    """The blocks of a leaf, the last of which may be shorter."""
    return -(-elements // BLOCK)


def spans(found: Sequence[Piece], layout: Layout) -> tuple[Span, ...]:
    """Where the pieces that are not empty lie inside a slot."""
    return tuple(piece.span(layout) for piece in found if piece.start < piece.stop)


def _edge(inside_bytes: int, size: int, item: int) -> int:
    """The element at which a cut so many bytes into a leaf is made: it begins a block, or is the leaf's first or last."""
    if inside_bytes <= 0:
        return 0
    if inside_bytes >= size * item:
        return size
    return inside_bytes // item // BLOCK * BLOCK
