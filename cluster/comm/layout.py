"""Makes the places of gradient leaves inside a slot of memory: each dtype is one flat run of elements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import RunError

PAGE = 4096
_DTYPES = (np.dtype(np.float64), np.dtype(np.float32))
# Shares begin at whole cache lines, so that no two ranks write to one; so do leaves, for the sake of vector instructions.
_LINE_BYTES = 64
_LINE_ELEMENTS = 16


@dataclass(frozen=True)
class Span:
    """``count`` elements of ``dtype`` that lie ``offset`` bytes after the start of a slot."""

    offset: int
    count: int
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """The span's size in bytes."""
        return self.count * self.dtype.itemsize

    def share(self, rank: int, world: int) -> "Span":
        """The part of the span that is ``rank``'s of ``world`` to add up; the parts are even to a cache line."""
        start, end = (_edge(self.count, number, world) for number in (rank, rank + 1))
        return Span(self.offset + start * self.dtype.itemsize, end - start, self.dtype)


@dataclass(frozen=True)
class Layout:
    """Where each leaf lies inside a slot: ``(offset in bytes, shape, dtype)`` a leaf, and the slot's size in bytes."""

    places: tuple[tuple[int, tuple[int, ...], np.dtype], ...]
    slot_bytes: int

    @staticmethod
    def of(leaves: Sequence[np.ndarray]) -> "Layout":
        """Lays the leaves out one dtype after the other. Raises ``RunError`` for leaves that are not float32 or float64."""
        places: list[Any] = [None] * len(leaves)
        offset = 0
        for dtype in _DTYPES:
            for index, leaf in enumerate(leaves):
                if leaf.dtype == dtype:
                    places[index] = (offset, leaf.shape, dtype)
                    offset = _aligned(offset + leaf.nbytes)
        if None in places:
            index = places.index(None)
            raise RunError(
                f"parameter leaf {index} is {leaves[index].dtype}; workers reduce float32 and float64 gradients: "
                "convert it with .astype(np.float32)"
            )
        return Layout(tuple(places), max(1, -(-offset // PAGE)) * PAGE)

    @cached_property
    def whole(self) -> tuple[Span, ...]:
        """All leaves, one span for each dtype."""
        return self.spans(range(len(self.places)))

    def narrowed(self, rows: Mapping[int, int]) -> "Layout":
        """The same places with only the first ``rows`` of some leaves, by the leaf's number."""
        places = tuple(
            (offset, (rows[leaf], *shape[1:]) if leaf in rows else shape, dtype)
            for leaf, (offset, shape, dtype) in enumerate(self.places)
        )
        return Layout(places, self.slot_bytes)

    def spans(self, leaves: Sequence[int]) -> tuple[Span, ...]:
        """The fewest spans that cover the leaves of these numbers, with the gaps of less than a cache line between them."""
        found: list[Span] = []
        for offset, shape, dtype in sorted((self.places[index] for index in leaves), key=lambda place: place[0]):
            count = int(np.prod(shape))
            last = found[-1] if found else None
            if last is not None and last.dtype == dtype and _aligned(last.offset + last.nbytes) == offset:
                found[-1] = Span(last.offset, (offset - last.offset) // dtype.itemsize + count, dtype)
            elif count:
                found.append(Span(offset, count, dtype))
        return tuple(found)


def _aligned(offset: int) -> int:
    return -(-offset // _LINE_BYTES) * _LINE_BYTES


def _edge(count: int, number: int, world: int) -> int:
    return count if number == world else count * number // world // _LINE_ELEMENTS * _LINE_ELEMENTS
