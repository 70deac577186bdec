"""Makes small tables of the rows that a global batch uses from a model's large ones, so that their gradients travel by rows.

A loss that looks rows up in a table, of embeddings for example, has a gradient that is zero in all other rows. Every worker
knows the global batch, and with it these rows: they are gathered into a small table, in ascending order, which the loss is
given in the large one's place, and which is differentiated, added up over the workers and updated like any parameter; then
its rows go back to where they came from. What is added to what is as it would be with the large table, and no row's number
needs to travel.

The update is lazy: rows that a step does not use stay as they are, with all that the optimizer holds of them. Steps of plain
gradient descent are the same as with the large table, bit for bit; weight decay, and a velocity or mean that would decay,
wait until their row is used again (as in TensorFlow's LazyAdam and PyTorch's SparseAdam).
"""

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..runtime.trees import flatten, flatten_with_paths, map_leaves, unflatten
from .comm.layout import Layout
from .comm.pieces import Piece
from .data import Source, fetch
from .errors import ConfigError, RunError
from .job import TrainConfig
from .optimizers import Optimizer
from .row_table import RowTable
from .sharding import leaves_of

# ``used_rows(batch)`` names tables among the parameters, and the numbers of all rows of each that the batch uses.
UsedRows = Callable[[Any], Mapping[str, Any]]


class Tables:
    """The tables of one worker's parameters that travel by rows, and the rows that its step uses."""

    def __init__(
        self, loss: Callable[[Any, Any], Any], used_rows: UsedRows, params: Any, example: Any, examples: int
    ) -> None:
        """``example`` is a batch of one, which tells the tables, and how many of its rows one of ``examples`` uses at most.

        Raises ``ConfigError`` for a name that is no table of ``params``.
        """
        self._loss, self._used_rows = loss, used_rows
        paths, leaves, self._treedef = flatten_with_paths(params)
        self._shapes = [leaf.shape for leaf in leaves]
        self._names: dict[int, str] = {}
        self._most: dict[int, int] = {}
        for name, ids in used_rows(example).items():
            path = next((path for path in (f"[{name!r}]", name) if path in paths), None)
            if path is None or not self._shapes[paths.index(path)]:
                raise ConfigError(f"used_rows names {name!r}, which is no table; the parameters are {', '.join(paths)}")
            leaf = paths.index(path)
            self._names[leaf], self._most[leaf] = name, min(len(leaves[leaf]), np.size(ids) * examples)
        self._numbers: dict[int, np.ndarray] = {}

    @staticmethod
    def of(loss: Callable[[Any, Any], Any], used_rows: UsedRows, params: Any, data: Source, config: TrainConfig) -> "Tables":
        """Those of a run on ``data``, whose first example tells what there is to know."""
        return Tables(loss, used_rows, params, fetch(data, np.zeros(1, np.int64)), config.global_batch)

    def layout(self, params: Any) -> Layout:
        """Where the gradients lie: there is room for as many rows of each table as a step can use."""
        most = self._most
        return Layout.of([leaf[: most[n]] if n in most else leaf for n, leaf in enumerate(flatten(params)[0])])

    @property
    def rows(self) -> dict[int, tuple[int, int]]:
        """For each table, by the number of its leaf, how many rows the step uses, and how many the small table has."""
        return {n: (len(numbers), self._padded(n, len(numbers))) for n, numbers in self._numbers.items()}

    @property
    def checksum(self) -> int:
        """A number below 2**32 that tells the rows of one step from those of another."""
        return zlib.crc32(b"".join(numbers.tobytes() for numbers in self._numbers.values()))

    def small(self, params: Any, batch: Any) -> Any:
        """The parameters of a step on this global batch, with small tables; the rows that they have more are zeros.

        Raises ``RunError`` for row numbers that no table has, or more of them than there is room for.
        """
        named = self._used_rows(batch)
        if set(named) != set(self._names.values()):
            raise RunError(f"used_rows names {sorted(named)} for one batch and {sorted(self._names.values())} for another")
        leaves = list(flatten(params)[0])
        for n, name in self._names.items():
            numbers, extent = np.unique(np.asarray(named[name])), len(leaves[n])
            if numbers.size and (numbers.dtype.kind not in "iu" or numbers[0] < 0 or numbers[-1] >= extent):
                raise RunError(
                    f"used_rows names rows {numbers[0]} to {numbers[-1]} of {name!r} ({numbers.dtype}); they must be whole "
                    f"numbers from 0 to {extent - 1}"
                )
            if numbers.size > self._most[n]:
                raise RunError(
                    f"a batch uses {numbers.size} rows of {name!r}, and there is room for {self._most[n]}: used_rows must "
                    "name no more for each example of a batch than for the data's first one"
                )
            self._numbers[n] = numbers = numbers.astype(np.int64)
            rows = np.zeros((self._padded(n, numbers.size), *leaves[n].shape[1:]), leaves[n].dtype)
            np.take(leaves[n], numbers, axis=0, out=rows[: numbers.size])
            leaves[n] = rows
        return unflatten(self._treedef, leaves)

    def loss(self, params: Any, batch: Any) -> Any:
        """The loss of parameters with small tables."""
        leaves = list(flatten(params)[0])
        for n, numbers in self._numbers.items():
            leaves[n] = RowTable(leaves[n], numbers, self._names[n], self._shapes[n])
        return self._loss(unflatten(self._treedef, leaves), batch)

    def update(self, optimizer: Optimizer, params: Any, grads: Any, state: Any, rate: float) -> Any:
        """Takes a lazy step: writes into the arrays of ``params`` and ``state``; returns the state.

        ``grads`` is a tree of the used rows' gradients, and of whole leaves.
        """
        assert optimizer.update_pieces is not None
        state_leaves, state_treedef = flatten(state)
        owners = leaves_of(optimizer, self._treedef, len(self._shapes))
        leaves = flatten(params)[0]
        work = [self._used(n, leaf) for n, leaf in enumerate(leaves)]
        state_work = [leaf if n is None else self._used(n, leaf) for n, leaf in zip(owners, state_leaves, strict=True)]
        _, updated = optimizer.update_pieces(
            unflatten(self._treedef, [_piece(leaf) for leaf in work]),
            map_leaves(_piece, grads),
            unflatten(
                state_treedef,
                [leaf if n is None else _piece(leaf) for n, leaf in zip(owners, state_work, strict=True)],
            ),
            rate,
            _no_norms,
        )
        for n, numbers in self._numbers.items():
            leaves[n][numbers] = work[n]
        for place, (n, leaf) in enumerate(zip(owners, state_work, strict=True)):
            if n is None:
                state_leaves[place] = flatten(updated)[0][place]
            elif n in self._numbers:
                state_leaves[place][self._numbers[n]] = leaf
        return unflatten(state_treedef, state_leaves)

    def _used(self, n: int, leaf: np.ndarray) -> np.ndarray:
        """A copy of the used rows of a leaf that belongs to a table; any other leaf as it is."""
        return leaf[self._numbers[n]] if n in self._numbers else leaf

    def _padded(self, n: int, rows: int) -> int:
        """A few more rows, at most an eighth: with shapes that come again, a plan that was found fits later steps too."""
        unit = max(1, 1 << max(0, rows.bit_length() - 4))
        return min(-(-rows // unit) * unit, self._most[n])


def check_by_rows(optimizer: Optimizer, config: TrainConfig) -> None:
    """Raises ``ConfigError`` for an optimizer that cannot update some rows of a table alone, or settings that need all."""
    if config.shard_optimizer:
        raise ConfigError(
            "shard_optimizer cuts every parameter into pieces of whole workers, and used_rows updates those rows that a step "
            "uses: leave one of them out"
        )
    if config.wire != "float32":
        raise ConfigError(
            f"wire={config.wire!r} keeps what rounding left over for the same place of the next step's gradient, which with "
            "used_rows is another row: use float32"
        )
    if optimizer.update_pieces is None:
        raise ConfigError(f"used_rows needs an optimizer with update_pieces, which {optimizer.name!r} does not have")
    trial = {"trial": np.ones((2, 2))}
    try:
        optimizer.update_pieces(trial, trial, optimizer.init(trial), 0.0, _no_norms)
    except RunError:
        raise ConfigError(
            f"{optimizer.name} takes norms of whole parameters, and used_rows updates some rows of them alone: use adamw, "
            "momentum or sgd"
        ) from None


def _piece(leaf: np.ndarray) -> np.ndarray:
    """All of an array, in the shape that an update of pieces takes it."""
    return Piece(0, 0, leaf.size).of(leaf)


def _no_norms(leaf: int, *arrays: np.ndarray) -> list[float]:
    raise RunError(f"leaf {leaf} is a table of which only some rows are there: its norm is not known")
