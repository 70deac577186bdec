"""Products of matrices and solutions of linear systems of all examples at once: few large ones where an operand is shared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..array import apply
from .call import Call, aligned, run


def matmul(call: Call) -> Any:
    """Multiply matrices: by a shared one, the rows of all examples in one product."""
    a, b = call.operands
    if not call.is_batched[1] and b.ndim == 2:
        y = run("matmul", run("reshape", a, shape=(math.prod(a.shape[:-1]), a.shape[-1])), b)
        return run("reshape", y, shape=(*a.shape[:-1], b.shape[-1]))
    if not call.is_batched[0] and a.ndim == 2 and b.shape[-1] == 1:
        rows = run("reshape", b, shape=(math.prod(b.shape[:-2]), b.shape[-2]))
        y = run("matmul", rows, run("transpose", a, axes=(1, 0)))
        return run("reshape", y, shape=(*b.shape[:-2], a.shape[0], 1))
    a, b = aligned(call)
    # BLAS has no stacks: a product of columns and rows, which sums nothing, is faster without it.
    return np.multiply(a, b) if a.shape[-1] == 1 else apply(call.op, (a, b))


def solve(call: Call) -> Any:
    """Solve linear systems: with a shared matrix, for the columns of all examples, by one factorisation."""
    a, b = call.operands
    if call.is_batched[0] or a.ndim > 2:
        return apply(call.op, aligned(call))
    rank = b.ndim
    order = (rank - 2, *range(rank - 2), rank - 1)
    columns = run("transpose", b, axes=order)
    y = run("solve", a, run("reshape", columns, shape=(b.shape[-2], b.size // max(b.shape[-2], 1))))
    y = run("reshape", y, shape=columns.shape)
    return run("copy", run("transpose", y, axes=(*range(1, rank - 1), 0, rank - 1)))
