"""Makes the parts that each worker writes of a big snapshot, from the sizes of its leaves: pure arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

# Smaller states are one file, written by the first worker: several would cost more than they save.
ONE_FILE_BYTES = 16 * 2**20
PART_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Extent:
    """The bytes from ``start`` to before ``stop`` of a leaf, by its number among all leaves."""

    leaf: int
    start: int
    stop: int


@dataclass(frozen=True)
class Share:
    """Which worker's parts are meant. ``mark`` is the formation's own word: parts of two formations are never mixed.

    The first worker's share has the manifest with it.
    """

    rank: int = 0
    world: int = 1
    mark: str = "0"

    def part_name(self, step: int, rank: int, number: int) -> str:
        """The file name of a part."""
        return f"step-{step:09d}-{self.mark}-{rank:04d}-{number:04d}.part"


def parts_of(sizes: Sequence[int], rank: int, world: int) -> tuple[tuple[Extent, ...], ...]:
    """The parts that worker ``rank`` of ``world`` writes, none where all leaves fit into one file.

    All leaves' bytes, end to end, are cut evenly over the workers, and each worker's share into parts of at most
    ``PART_BYTES``.

    >>> first, second = parts_of([3 * PART_BYTES], 1, 2)
    >>> [extent.stop - extent.start for extent in first + second] == [PART_BYTES, PART_BYTES // 2]
    True
    >>> parts_of([1000, 50], 0, 2)
    ()
    """
    total = sum(sizes)
    if total <= ONE_FILE_BYTES:
        return ()
    first, last = total * rank // world, total * (rank + 1) // world
    return tuple(_extents(sizes, start, min(start + PART_BYTES, last)) for start in range(first, last, PART_BYTES))


def gaps(sizes: Sequence[int], extents: Sequence[Extent]) -> list[int]:
    """The leaves whose bytes are not covered by ``extents`` exactly once.

    >>> gaps([8, 4], [Extent(0, 0, 5), Extent(1, 0, 4), Extent(0, 5, 8)]), gaps([8, 4], [Extent(0, 0, 8), Extent(1, 0, 3)])
    ([], [1])
    """
    reached, wrong = [0] * len(sizes), set()
    for extent in sorted(extents, key=lambda extent: (extent.leaf, extent.start)):
        if not 0 <= extent.leaf < len(sizes) or extent.start != reached[extent.leaf] or extent.stop < extent.start:
            wrong.add(extent.leaf)
        else:
            reached[extent.leaf] = extent.stop
    return sorted(wrong | {leaf for leaf, size in enumerate(sizes) if reached[leaf] != size})


def _extents(sizes: Sequence[int], first: int, last: int) -> tuple[Extent, ...]:
    """The extents of the bytes from ``first`` to before ``last`` of all leaves end to end."""
    found, at = [], 0
    for leaf, size in enumerate(sizes):
        start, stop = max(first - at, 0), min(last - at, size)
        if start < stop:
            found.append(Extent(leaf, start, stop))
        at += size
    return tuple(found)
