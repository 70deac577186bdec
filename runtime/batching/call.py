"""A call of an op for a batch, and how its operands are brought together: what every batching rule starts from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import phantom
from ..array import apply
from ..layouts import held
from ..op import OPS, Op


class Call(NamedTuple):
    """A call of an op for a batch of `size` examples: along the first axis of batched operands, which share the others."""

    op: Op
    operands: list
    is_batched: list[bool]
    parameters: dict
    size: int

    def rank(self) -> int:
        """Return the most axes that an operand of one example has."""
        most = 0
        for a, is_batched in zip(self.operands, self.is_batched, strict=True):
            rank = a.ndim - 1 if is_batched else getattr(a, "ndim", 0)
            if rank > most:
                most = rank
        return most


def run(name: str, *operands: Any, **parameters: Any) -> Any:
    """Run an op of the table by its name."""
    return apply(OPS[name], operands, parameters or None)


def spread(a: Any, size: int) -> Any:
    """Return an array that all examples share as one of all examples."""
    return run("broadcast_to", a, shape=(size, *getattr(a, "shape", ())))


def all_batched(call: Call) -> list:
    """Return the operands, of all examples each."""
    pairs = zip(call.operands, call.is_batched, strict=True)
    return [a if is_batched else spread(a, call.size) for a, is_batched in pairs]


def aligned(call: Call) -> list:
    """Return the operands so that they broadcast against each other as those of one example do."""
    if len(call.operands) == 1:
        return call.operands
    rank = call.rank()
    found = []
    for a, is_batched in zip(call.operands, call.is_batched, strict=True):
        if is_batched and a.ndim <= rank:
            a = run("reshape", a, shape=(a.shape[0], *(1,) * (rank + 1 - a.ndim), *a.shape[1:]))
        found.append(a)
    return found


def lying_as(y: Any, wanted: np.ndarray) -> Any:
    """Return `y`, or a copy of it, with each example in one piece and its axes in memory as they are in `wanted`."""
    axes = _with_batch(phantom.memory_axes(wanted.strides))
    return y if np.transpose(held(y), axes).flags.c_contiguous else _copied(y, axes)


def owned(a: Any, size: int) -> Any:
    """Return an array that all examples share as one of all examples, in memory of its own."""
    return _copied(spread(a, size), _with_batch(phantom.memory_axes(held(a).strides)))


def _with_batch(axes: tuple[int, ...]) -> tuple[int, ...]:
    return (0, *[k + 1 for k in axes])


def _copied(y: Any, axes: tuple[int, ...]) -> Any:
    """Return a copy whose axes lie in memory in this order, the outermost first."""
    if axes == tuple(range(len(axes))):
        return run("copy", y)
    made = run("copy", run("transpose", y, axes=axes))
    return run("transpose", made, axes=tuple([axes.index(k) for k in range(len(axes))]))


def in_pieces(y: Any) -> Any:
    """Return `y`, or a copy of it in which each example lies as one would alone.

    Where examples share an operand, NumPy may lay out a result with them innermost.
    """
    memory = held(y)
    if memory.flags.c_contiguous or not memory.strides[0]:
        return y
    inside = [abs(stride) for n, stride in zip(memory.shape[1:], memory.strides[1:], strict=True) if n > 1]
    return y if memory.strides[0] >= max(inside, default=0) else lying_as(y, phantom.row(memory))
