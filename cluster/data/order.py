"""Makes the order in which examples are used, and the place in it, from a seed."""

from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from ..errors import DataError


@dataclass(frozen=True)
class Order:
    """A place in the data order. The order of an epoch follows from ``(seed, epoch)`` alone, whatever the
    workers.

    ``position`` counts the examples of the epoch that have been used.
    """

    seed: int
    epoch: int = 0
    position: int = 0

    def as_dict(self) -> dict[str, int]:
        """The three numbers by name, as a snapshot keeps them."""
        return asdict(self)


def take(order: Order, count: int, total: int, *, last: str = "drop") -> tuple[np.ndarray, Order]:
    """The next ``count`` of ``total`` example indices, and the place after them.

    An epoch's last examples that do not fill a whole batch are left out, and the next epoch begins; with
    ``last="keep"`` they are a smaller batch. Raises ``DataError`` when ``count`` is larger than ``total``.

    >>> indices, after = take(Order(seed=1), 2, 5)
    >>> len(indices), after
    (2, Order(seed=1, epoch=0, position=2))
    >>> take(Order(seed=1, position=4), 2, 5)[1]
    Order(seed=1, epoch=1, position=2)
    >>> len(take(Order(seed=1, position=4), 2, 5, last="keep")[0])
    1
    """
    if count > total:
        raise DataError(f"one step takes {count} examples and the data holds {total}; lower the global batch")
    if order.position + (count if last == "drop" else 1) > total:
        order = Order(order.seed, order.epoch + 1, 0)
    indices = permutation(order.seed, order.epoch, total)[order.position : order.position + count]
    return indices, Order(order.seed, order.epoch, order.position + len(indices))


@lru_cache(maxsize=2)
def permutation(seed: int, epoch: int, total: int) -> np.ndarray:
    """All example indices in the order of one epoch: a read-only int64 array of shape (total,)."""
    key = np.array([seed & (2**64 - 1), epoch], dtype=np.uint64)
    order = np.random.Generator(np.random.Philox(key=key)).permutation(total)
    order.setflags(write=False)
    return order


def shard(indices: np.ndarray, rank: int, world: int) -> np.ndarray:
    """The contiguous run of ``indices`` that belongs to ``rank``; the runs differ by one example at most."""
    return indices[len(indices) * rank // world : len(indices) * (rank + 1) // world]
