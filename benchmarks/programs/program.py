"""Makes what the programs share: their description, their numbers, and how the peers run a loop in pieces.

`pieces` is 0 for a plain run, or the number of pieces of equal length at whose edges alone values are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Program:
    """A scalar loss of ``(params, batch)`` three times; all are differentiated with respect to ``params``.

    ``depth`` counts layers, blocks or steps; ``torch_pieces`` and ``jax_pieces`` are the settings of the peers
    worth trying. ``torch_loss(params, batch, pieces)`` and ``jax_loss(params, batch, pieces)`` take their own
    arrays. ``eager`` is False where PyTorch without pieces would not fit this machine, ``compiled`` where
    `torch.compile` needs longer than anybody waits (it unrolls loops).
    """

    title: str
    depth: int
    loss: Callable[[Any, Any], Any]
    params: Any
    batch: Any
    torch_loss: Callable[[Any, Any, int], Any]
    jax_loss: Callable[[Any, Any, int], Any]
    torch_pieces: tuple[int, ...]
    jax_pieces: tuple[int, ...]
    eager: bool = True
    compiled: bool = True


def generator() -> np.random.Generator:
    """The same stream of numbers for every program."""
    return np.random.Generator(np.random.Philox(7))


def normal(draw: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """Normal numbers in float32."""
    return draw.standard_normal(shape, np.float32) * np.float32(scale)


def torch_run(run: Callable[[Any, range], Any], state: Any, count: int, pieces: int) -> Any:
    """Run steps 0..count in order; with `pieces`, through `torch.utils.checkpoint`."""
    if not pieces:
        return run(state, range(count))
    from torch.utils.checkpoint import checkpoint

    edges = [round(count * i / pieces) for i in range(pieces + 1)]
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        state = checkpoint(run, state, range(first, last), use_reentrant=False)
    return state


def jax_scan(step: Callable[[Any, Any], Any], state: Any, inputs: Any, count: int, pieces: int) -> Any:
    """Return the last state of ``step(state, input)``; with `pieces` (a divisor of `count`), of a scan of scans."""
    import jax

    def inner(state: Any, inputs: Any, length: int) -> Any:
        return jax.lax.scan(lambda state, x: (step(state, x), None), state, inputs, length=length)[0]

    if not pieces:
        return inner(state, inputs, count)
    length = count // pieces
    cut = jax.tree.map(lambda x: x.reshape(pieces, length, *x.shape[1:]), inputs)
    body = jax.checkpoint(lambda state, piece: inner(state, piece, length))
    return jax.lax.scan(lambda state, piece: (body(state, piece), None), state, cut, length=pieces)[0]


def jax_stack(trees: Sequence[Any]) -> Any:
    """One tree of arrays with a leading axis from trees of the same structure, for a scan over layers."""
    import jax

    return jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *trees)
