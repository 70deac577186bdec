"""Functions made of an index: take, take_along_axis, add.at; and those whose results are indices or truths."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import trees
from ..array import Array, apply, apply_over, read, settled
from ..dispatch import refuse_plain
from ..layouts import in_c_order
from ..op import FUNCTIONS, OPS, implements
from ..writes import give_up, repoint
from .index_templates import Slot, check_bounds, indexed_shape, template_of
from .indexing import INDEX_ADD, gather


@implements(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    """Compose `np.take` of an index."""
    if axis is None or not a.ndim:
        a, axis = np.ravel(a), 0
    axis = axis % a.ndim
    indices = settled(indices, "an index") if type(indices) is Array else np.asarray(indices)
    if mode == "wrap":
        indices = indices % a.shape[axis]
    elif mode == "clip":
        indices = np.clip(indices, 0, a.shape[axis] - 1)
    made = a[(slice(None),) * axis + (indices,)]
    return in_c_order(made) if made.ndim > 1 else made


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: Any = -1) -> Any:
    """Compose `np.take_along_axis` of an index with one array per axis."""
    if axis is None:
        arr, axis = np.ravel(arr), 0
    axis = axis % arr.ndim
    indices = settled(indices, "an index") if type(indices) is Array else np.asarray(indices)
    grid = [
        indices if k == axis else np.arange(n).reshape([-1 if j == k else 1 for j in range(arr.ndim)])
        for k, n in enumerate(arr.shape)
    ]
    return arr[tuple(grid)] if type(arr) is Array else gather(arr, tuple(map(Slot, range(arr.ndim))), tuple(grid))


@implements((np.add, "at"))  # pyright: ignore[reportArgumentType]
def add_at(a: Any, indices: Any, b: Any) -> None:
    """Carry out ``np.add.at(a, indices, b)``: repeated indices add up."""
    if type(a) is not Array:
        refuse_plain("numpy.add.at")
    template, arrays = template_of(indices, a.shape)
    check_bounds(template, arrays, a.shape)
    b = b if type(b) is Array else np.asarray(b)
    b = np.broadcast_to(b.astype(a.dtype, casting="same_kind"), indexed_shape(a.shape, tuple(arrays), template))
    give_up(a)
    repoint(a, apply_over(INDEX_ADD, (a, b, *arrays), {"index": template}))


def piecewise_constant(*functions: Any) -> None:
    """Register functions whose results are indices or truths: they are computed on plain values."""

    def plainly(tree: Any) -> Any:
        return trees.map_leaves(
            lambda leaf: read(apply(OPS["stop_gradient"], (leaf,)), "an index") if type(leaf) is Array else leaf, tree
        )

    for function in functions:
        FUNCTIONS[function] = lambda *args, _function=function, **keywords: _function(*plainly(args), **plainly(keywords))


piecewise_constant(
    np.argsort, np.argpartition, np.nonzero, np.flatnonzero, np.argwhere, np.searchsorted, np.digitize, np.isclose,
    np.allclose, np.array_equal, np.array_equiv,
)  # fmt: skip
