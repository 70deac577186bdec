"""Adds up arrays by an expression, block by block, so that partial sums stay in the cache."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .sums import Expression

BLOCK_BYTES = 2**17


def add_up(
    expression: Expression,
    sources: Sequence[np.ndarray],
    out: np.ndarray,
    divisor: float = 1.0,
    combine: np.ufunc = np.add,
) -> None:
    """Writes the sum that ``expression`` makes of ``sources`` into ``out``, divided by ``divisor``; all are flat, of one
    dtype. ``combine`` makes another thing than a sum of two.

    ``out`` may be none of the sources, but for one that is the whole expression. It costs one pass over the memory, whatever
    the tree's depth.

    >>> a, b, c = (np.full(3, x, np.float32) for x in (1, 2, 3))
    >>> add_up((0, (1, 2)), [a, b, c], out := np.empty(3, np.float32), 2.0); out.tolist()
    [3.0, 3.0, 3.0]
    """
    block = max(1, BLOCK_BYTES // out.itemsize)
    spares = [np.empty(min(block, out.size), out.dtype) for _ in range(_depth(expression))]
    for start in range(0, out.size, block):
        target = out[start : start + block]
        made = _evaluate(expression, [source[start : start + block] for source in sources], target, spares, combine)
        if divisor != 1.0:
            np.divide(made, divisor, out=target)
        elif made is not target:
            np.copyto(target, made)


def add_scaled(total: np.ndarray, values: np.ndarray, scale: float = 1.0) -> None:
    """Adds ``values * scale`` to ``total``, block by block, so that it takes no memory worth counting; both of one shape.

    >>> add_scaled(total := np.ones(3), np.arange(3.0), 2.0); total.tolist()
    [1.0, 3.0, 5.0]
    """
    if scale == 1.0:
        np.add(total, values, out=total)
        return
    block = max(1, BLOCK_BYTES // total.itemsize)
    flat, added = total.reshape(-1), values.reshape(-1)
    for start in range(0, flat.size, block):
        flat[start : start + block] += added[start : start + block] * scale


def _evaluate(
    expression: Any, sources: list[np.ndarray], out: np.ndarray, spares: Sequence[np.ndarray], combine: np.ufunc
) -> np.ndarray:
    if isinstance(expression, int):
        return sources[expression]
    left = _evaluate(expression[0], sources, out, spares, combine)
    # While the left sum waits in `out`, the right one is made in a spare block.
    right = expression[1]
    made = sources[right] if isinstance(right, int) else _evaluate(right, sources, spares[0][: out.size], spares[1:], combine)
    return combine(left, made, out=out)


def _depth(expression: Any) -> int:
    """How many spare blocks the expression needs."""
    if isinstance(expression, int):
        return 0
    right = expression[1]
    return max(_depth(expression[0]), 0 if isinstance(right, int) else 1 + _depth(right))
