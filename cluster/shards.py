"""Makes the logical shards of a batch, which do not depend on the workers, and means over them in a fixed order."""

from collections.abc import Sequence

import numpy as np

from .comm.sums import Run, even_runs


def cut(indices: np.ndarray, shards: int) -> tuple[np.ndarray, ...]:
    """``indices`` in ``shards`` contiguous pieces; they differ by one example at most.

    >>> [piece.tolist() for piece in cut(np.arange(5), 2)]
    [[0, 1], [2, 3, 4]]
    """
    return tuple(indices[start:end] for start, end in even_runs(len(indices), shards))


def by_shard(runs: Sequence[Run], table: np.ndarray, width: int) -> list[np.ndarray]:
    """Each shard's ``width`` figures, in the order of the shards; row r of ``table`` holds those of run r one after another.

    >>> by_shard([(0, 2), (2, 3)], np.array([[1.0, 2.0], [3.0, 0.0]]), 1)
    [array([1.]), array([2.]), array([3.])]
    """
    return [
        table[rank, width * (shard - start) : width * (shard - start + 1)]
        for rank, (start, end) in enumerate(runs)
        for shard in range(start, end)
    ]
