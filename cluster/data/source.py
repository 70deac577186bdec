"""Makes batches of examples from arrays and sequences in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ...runtime.trees import flatten, flatten_with_paths, map_leaves, unflatten
from ..errors import DataError

_NAMED = 5


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
            some = ", ".join(f"data{path}: {length}" for path, length in [*lengths.items()][:_NAMED])
            more = f" and {len(lengths) - _NAMED} more" if len(lengths) > _NAMED else ""
            cure = " (a list counts as many numbers: np.asarray makes it one array)" if None in lengths.values() else ""
            raise DataError(
                f"the arrays of a data set must share their leading axis; here they have {some or 'no arrays'}{more}{cure}"
            )

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


def check_length(source: Source, expected: int) -> None:
    """Raises ``DataError`` when ``source`` no longer holds ``expected`` examples: its data order would be another."""
    if len(source) != expected:
        raise DataError(
            f"the data held {expected} examples when the run began and holds {len(source)} now: data must not change "
            "during a run, for its order follows from its length"
        )
