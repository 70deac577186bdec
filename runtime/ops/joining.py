"""Joining of arrays: concatenations, stacks and blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .. import phantom
from ..array import Array, apply
from ..op import define, implements
from .conversion import asarray
from .views import transposed_fresh


def _concatenate_rule(g: Any, position: int, shapes: tuple, axis: int) -> Any:
    start = sum(shape[axis] for shape in shapes[:position])
    return g[(slice(None),) * axis + (slice(start, start + shapes[position][axis]),)]


def _infer_concatenate(*arrays: np.ndarray, axis: int) -> np.ndarray:
    shape = list(arrays[0].shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    dtype = np.result_type(*(a.dtype for a in arrays))
    axes = _joint_memory_axes(arrays)
    if axes == list(range(len(shape))):
        return phantom.contiguous(tuple(shape), dtype)
    return transposed_fresh(phantom.contiguous(tuple(shape[k] for k in axes), dtype), tuple(axes))


def _joint_memory_axes(arrays: tuple) -> list[int]:
    """Return the axes in the order in which a joined array has them in memory, outermost first.

    An axis goes outside of another if its strides are larger in all the arrays that tell them apart; where arrays
    disagree or tell nothing, the axes keep their order.
    """
    ndim = arrays[0].ndim
    if all(a.flags.c_contiguous for a in arrays):
        return list(range(ndim))
    axes: list[int] = []
    for axis in range(ndim):
        place = len(axes)
        for earlier in range(len(axes) - 1, -1, -1):
            told = [
                abs(a.strides[axis]) > abs(a.strides[axes[earlier]])
                for a in arrays
                if a.shape[axis] != 1 and a.shape[axes[earlier]] != 1
            ]
            if told:
                if not all(told):
                    break
                place = earlier
        axes.insert(place, axis)
    return axes


CONCATENATE = define(
    "concatenate",
    lambda *arrays, axis: np.concatenate(arrays, axis=axis),
    inputs="arrays*",
    parameters=("axis",),
    rules=_concatenate_rule,
    infer=_infer_concatenate,
    run_into=lambda out, *arrays, axis: np.concatenate(arrays, axis=axis, out=out),
    jvp="linear",
)
STACK = define(
    "stack",
    lambda *arrays, axis: np.stack(arrays, axis=axis),
    inputs="arrays*",
    parameters=("axis",),
    rules=lambda g, position, axis: g[(slice(None),) * axis + (position,)],
    infer=lambda *arrays, axis: _infer_concatenate(*[np.expand_dims(a, axis) for a in arrays], axis=axis),
    run_into=lambda out, *arrays, axis: np.stack(arrays, axis=axis, out=out),
    jvp="linear",
)


def _cast(arrays: list, dtype: Any, casting: str) -> list:
    """Return the arrays in `dtype`, or as they are for None; raises `TypeError` as NumPy does where `casting` forbids it."""
    if dtype is None:
        return arrays
    return [a if a.dtype == dtype else a.astype(dtype, casting=casting) for a in arrays]


@implements(np.concatenate, np.concat)
def concatenate(arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Record a concatenation; `axis=None` joins the flattened arrays."""
    given = list(arrays)
    arrays = [asarray(a) for a in given]
    if not arrays:
        raise ValueError("need at least one array to concatenate")
    if axis is None:
        if dtype is None and any(type(a) in (int, float, complex) for a in given):
            dtype, casting = np.result_type(*(a.dtype if type(a) is Array else a for a in given)), "unsafe"
        arrays, axis = [np.ravel(a) for a in arrays], 0
    ndim = arrays[0].ndim
    if ndim == 0:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    axis = normalize_axis_index(axis, ndim)
    for number, a in enumerate(arrays):
        if a.ndim != ndim:
            raise ValueError(
                "all the input array dimensions except for the concatenation axis must match exactly, but the array at "
                f"index 0 has {ndim} dimension(s) and the array at index {number} has {a.ndim} dimension(s)"
            )
        if a.shape[:axis] != arrays[0].shape[:axis] or a.shape[axis + 1 :] != arrays[0].shape[axis + 1 :]:
            raise ValueError(
                "all the input array dimensions except for the concatenation axis must match exactly, but the array at "
                f"index 0 has shape {arrays[0].shape} and the array at index {number} has shape {a.shape} (axis {axis})"
            )
    return apply(CONCATENATE, tuple(_cast(arrays, dtype, casting)), {"axis": axis})


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Record a stack along a new axis."""
    arrays = [asarray(a) for a in arrays]
    if not arrays:
        raise ValueError("need at least one array to stack")
    if any(a.shape != arrays[0].shape for a in arrays):
        raise ValueError("all input arrays must have the same shape")
    axis = normalize_axis_index(axis, arrays[0].ndim + 1)
    return apply(STACK, tuple(_cast(arrays, dtype, casting)), {"axis": axis})


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Compose a stack of rows."""
    return concatenate([np.atleast_2d(asarray(a)) for a in tup], 0, dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Compose a stack of columns."""
    arrays = [np.atleast_1d(asarray(a)) for a in tup]
    return concatenate(arrays, 1 if arrays and arrays[0].ndim != 1 else 0, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    """Compose a stack along the third axis."""
    return concatenate([np.atleast_3d(asarray(a)) for a in tup], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Compose a stack of vectors as columns."""
    arrays = [asarray(a) for a in tup]
    return concatenate([np.reshape(a, (a.size, 1)) if a.ndim < 2 else a for a in arrays], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: Any = None) -> Any:
    """Compose an extension by a concatenation."""
    return concatenate((asarray(arr), asarray(values)), axis)


def _depth(blocks: Any) -> int:
    """Return how deep the lists of a block matrix are nested. Raises as NumPy does where that is not the same everywhere."""
    if isinstance(blocks, tuple):
        raise TypeError("arrays is a tuple. Only lists can be used to arrange blocks, and np.block does not allow implicit "
                        "conversion from tuple to ndarray.")  # fmt: skip
    if not isinstance(blocks, list):
        return 0
    if not blocks:
        raise ValueError("List at arrays cannot be empty")
    depths = [_depth(block) for block in blocks]
    if len(set(depths)) > 1:
        raise ValueError(f"List depths are mismatched. Depths of {min(depths)} and {max(depths)} stand side by side.")
    return depths[0] + 1


def _leaves(blocks: Any) -> list:
    return [leaf for block in blocks for leaf in _leaves(block)] if isinstance(blocks, list) else [blocks]


@implements(np.block)
def block(arrays: Any) -> Any:
    """Compose a block matrix: the innermost lists are joined along the last axis, those around them along the one before."""
    depth = _depth(arrays)
    ndim = max(depth, *(np.ndim(leaf) for leaf in _leaves(arrays)))

    def joined(blocks: Any, axis: int) -> Any:
        if not isinstance(blocks, list):
            leaf = asarray(blocks)
            return np.reshape(leaf, (1,) * (ndim - leaf.ndim) + leaf.shape)
        return concatenate([joined(inner, axis + 1) for inner in blocks], axis)

    made = joined(arrays, -depth)
    return made if depth and math.prod(made.shape) else np.copy(made)
