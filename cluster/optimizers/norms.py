"""Makes Euclidean norms of arrays in float64: sums over blocks of elements, and an exact total of those in any order."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...runtime.trees import flatten
from ..comm.pieces import BLOCK

# Bounds the memory of float64 copies.
_BLOCKS_AT_ONCE = 64
# A block's sum of float32 squares above this has lost less than its last bit to squares that are too small for float32.
_LEAST_EXACT = 1e-27

# `norms(leaf, *arrays)` gives the norms of arrays that belong to a leaf, by its number; of pieces, those of the whole leaf.
Norms = Callable[..., Sequence[float]]


def norm(leaf: np.ndarray) -> float:
    """The Euclidean norm of one array of any shape.

    >>> norm(np.array([[3.0], [4.0]]))
    5.0
    """
    return root(block_sums(leaf))


def whole_norms(leaf: int, *arrays: np.ndarray) -> list[float]:
    """The norms of arrays that are whole leaves."""
    return [norm(array) for array in arrays]


def global_norm(grads: Any) -> float:
    """The Euclidean norm of all leaves of ``grads`` together.

    >>> global_norm({"a": np.array([3.0]), "b": np.array([[4.0]])})
    5.0
    """
    leaves = flatten(grads)[0]
    return root(np.concatenate([block_sums(leaf) for leaf in leaves])) if leaves else 0.0


def block_sums(leaf: np.ndarray) -> np.ndarray:
    """The sums of squares of each block of elements in C order, float64; a block's has the same bits wherever it lies.

    >>> block_sums(np.array([[3.0], [4.0]])).tolist()
    [25.0]
    """
    flat = leaf.reshape(-1)
    sums, whole = np.empty(-(-flat.size // BLOCK)), flat.size // BLOCK
    blocks = flat[: whole * BLOCK].reshape(whole, BLOCK)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        again = np.arange(whole)
        if flat.dtype in (np.float32, np.float64):
            sums[:whole] = np.vecdot(blocks, blocks)
            # float32 is ten times as fast, and exact enough but for squares that it cannot hold.
            again = again[(flat.dtype == np.float32) & ~((sums[:whole] > _LEAST_EXACT) & (sums[:whole] < np.inf))]
        for start in range(0, again.size, _BLOCKS_AT_ONCE):
            part = blocks[again[start : start + _BLOCKS_AT_ONCE]].astype(np.float64)
            sums[again[start : start + _BLOCKS_AT_ONCE]] = np.vecdot(part, part)
        if whole < sums.size:
            rest = flat[whole * BLOCK :].astype(np.float64)
            sums[-1] = np.vecdot(rest, rest)
    return sums


def root(sums: np.ndarray) -> float:
    """The square root of a total that is rounded once (Shewchuk 1997); NaN or infinite where one of ``sums`` or it is."""
    with np.errstate(over="ignore"):
        total = float(np.add.reduce(sums))
    return math.sqrt(math.fsum(sums)) if math.isfinite(total) else abs(total)
