"""Makes batches from a data source and a place in its data order."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..runtime.trees import flatten, flatten_with_paths, map_leaves, unflatten
from .errors import DataError


@runtime_checkable
class Source(Protocol):
    """Anything with a length and a way to make a batch: a pytree of plain arrays, examples along the leading
    axis."""

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def batch(self, indices: np.ndarray) -> Any:
        """The examples at ``indices`` (int64, shape (n,)), stacked along the leading axis."""
        ...


@dataclass(frozen=True)
class Arrays:
    """A source made of a pytree of arrays that share their leading axis."""

    tree: Any

    def __post_init__(self) -> None:
        """Raises ``DataError`` unless all leaves have the same leading axis."""
        paths, leaves, _ = flatten_with_paths(self.tree)
        lengths = {path: (len(leaf) if np.ndim(leaf) else None) for path, leaf in zip(paths, leaves, strict=True)}
        if len(set(lengths.values())) != 1 or None in lengths.values():
            raise DataError(f"the arrays of a data set must share their leading axis; here they have {lengths}")

    def __len__(self) -> int:
        """The number of examples."""
        return len(flatten(self.tree)[0][0])

    def batch(self, indices: np.ndarray) -> Any:
        """The examples at ``indices``, as a tree like the whole."""
        return map_leaves(lambda leaf: leaf[indices], self.tree)


@dataclass(frozen=True)
class Examples:
    """A source made of a sequence of examples, each a pytree of the same shape; a batch stacks them."""

    items: Sequence[Any]

    def __len__(self) -> int:
        """The number of examples."""
        return len(self.items)

    def batch(self, indices: np.ndarray) -> Any:
        """The examples at ``indices``, leaf by leaf in a new leading axis."""
        chosen = [flatten(self.items[int(index)]) for index in indices]
        return unflatten(chosen[0][1], [np.stack(leaves) for leaves in zip(*(c[0] for c in chosen), strict=True)])


def as_source(data: Any) -> Source:
    """``data`` as a source: a source itself, a pytree of arrays (dict or tuple), one array, or a list of
    examples.

    Raises ``DataError`` when it is none of these, or empty.
    """
    if isinstance(data, Source):
        source: Source = data
    elif isinstance(data, np.ndarray | Mapping | tuple):
        source = Arrays(data)
    elif isinstance(data, Sequence):
        source = Examples(data)
    else:
        raise DataError(
            f"data is a {type(data).__name__}; give an object with __len__ and batch(indices), a dict or "
            "tuple of "
            "arrays that share their leading axis, or a list of examples"
        )
    if len(source) == 0:
        raise DataError("the data holds no examples")
    return source


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


def take(order: Order, count: int, total: int) -> tuple[np.ndarray, Order]:
    """The next ``count`` of ``total`` example indices, and the place after them.

    An epoch's last examples that do not fill a whole batch are left out, and the next epoch begins. Raises
    ``DataError`` when ``count`` is larger than ``total``.

    >>> indices, after = take(Order(seed=1), 2, 5)
    >>> len(indices), after
    (2, Order(seed=1, epoch=0, position=2))
    >>> take(Order(seed=1, position=4), 2, 5)[1]
    Order(seed=1, epoch=1, position=2)
    """
    if count > total:
        raise DataError(f"one step takes {count} examples and the data holds {total}; lower the global batch")
    if order.position + count > total:
        order = Order(order.seed, order.epoch + 1, 0)
    indices = permutation(order.seed, order.epoch, total)[order.position : order.position + count]
    return indices, Order(order.seed, order.epoch, order.position + count)


def check_length(source: Source, expected: int) -> None:
    """Raises ``DataError`` when ``source`` no longer holds ``expected`` examples: its data order would be another."""
    if len(source) != expected:
        raise DataError(
            f"the data held {expected} examples when the run began and holds {len(source)} now: data must not change "
            "during a run, for its order follows from its length"
        )


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
