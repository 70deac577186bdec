"""Makes buckets of gradients that are reduced together, from the order in which the reverse sweep ends them: plain data."""

from collections.abc import Sequence

BUCKET_BYTES = 4 * 2**20


def buckets(order: Sequence[int], sizes: Sequence[int], most_bytes: int = BUCKET_BYTES) -> tuple[tuple[int, ...], ...]:
    """The leaves in the order in which they are finished, cut where a bucket has ``most_bytes`` or a larger leaf.

    ``sizes`` are the leaves' bytes. Small buckets begin to travel early, and cost a meeting of the workers each; DDP's
    published default of 25 MiB hides little of a model of 30 (Li et al., "PyTorch distributed", VLDB 2020, section 5.3).

    >>> buckets([2, 1, 0], [3, 5, 4], most_bytes=8)
    ((2,), (1,), (0,))
    >>> buckets([2, 1, 0], [3, 5, 3], most_bytes=8)
    ((2, 1), (0,))
    """
    made: list[list[int]] = []
    filled = most_bytes + 1
    for leaf in order:
        if filled + sizes[leaf] > most_bytes:
            made.append([])
            filled = 0
        made[-1].append(leaf)
        filled += sizes[leaf]
    return tuple(map(tuple, made))
