"""Templates of indices: what stands between the brackets, with a `Slot` in place of each index array.

The arrays themselves are inputs of the call (residuals that the planner counts), so a template compares and hashes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, read, settled


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of the n-th index array in an index."""

    number: int


def filled(index: tuple, arrays: tuple) -> tuple:
    """Return the index with its arrays put back."""
    return tuple(arrays[item.number] if type(item) is Slot else item for item in index) if arrays else index


_BOUNDS = frozenset((int, type(None)))
_ONE_ARRAY = (Slot(0),)


def template_of(index: Any, shape: tuple[int, ...]) -> tuple[tuple, list]:
    """Return the template of `index` and its arrays; masks become integer arrays. Raises `IndexError` as NumPy does."""
    if type(index) is np.ndarray and index.ndim and index.dtype.kind in "iu":
        return _ONE_ARRAY, [index]
    given: tuple[Any, ...] = index if type(index) is tuple else (index,)
    for item in given:
        kind = type(item)
        if kind is slice:
            if type(item.start) in _BOUNDS and type(item.stop) in _BOUNDS and type(item.step) in _BOUNDS:
                continue
        elif kind is int or item is None or item is Ellipsis:
            continue
        break
    else:  # it is its own template
        return given, []
    items = [_plain_item(item) for item in (index if isinstance(index, tuple) else (index,))]
    consumed = sum(item.ndim if _is_mask(item) else 1 for item in items if item is not None and item is not Ellipsis)
    template: list = []
    arrays: list = []
    axis = 0
    for item in items:
        if item is Ellipsis:
            axis += len(shape) - consumed
        if item is None or item is Ellipsis or isinstance(item, (slice, int)):
            template.append(item)
            axis += isinstance(item, (slice, int))
            continue
        if _is_mask(item):
            if item.shape != shape[axis : axis + item.ndim]:
                raise IndexError(f"a mask of shape {item.shape} does not match the axes from {axis} of shape {shape}")
            parts = np.nonzero(item)
        else:
            parts = (item,)
        for part in parts:
            template.append(Slot(len(arrays)))
            arrays.append(part)
            axis += 1
    return tuple(template), arrays


def _is_mask(item: Any) -> bool:
    return isinstance(item, np.ndarray) and item.dtype.kind == "b"


def _plain_item(item: Any) -> Any:
    """Return one item of an index as None, Ellipsis, a slice, a Python integer or an array of integers or booleans."""
    if item is None or item is Ellipsis:
        return item
    if isinstance(item, slice):
        return slice(*(None if k is None else int(k) for k in (item.start, item.stop, item.step)))
    if isinstance(item, int) and not isinstance(item, bool):
        return item
    value = settled(item, "an index") if type(item) is Array else item
    if type(value) is Array:  # one for each example
        if value.dtype.kind not in "iu":
            read(value, "an index")
        return value
    value = np.asarray(value)
    if value.size == 0 and value.dtype.kind == "f":
        value = value.astype(np.intp)
    if value.dtype.kind not in "iub":
        raise IndexError(f"arrays used as indices must be of integer or boolean type, not {value.dtype}")
    if value.ndim == 0:
        if value.dtype.kind == "b":
            raise IndexError("a traced array cannot be indexed by a single boolean: use np.where")
        return int(value)
    return value


def is_truth(index: Any) -> bool:
    """Tell whether an index is a single truth: all or nothing, along a new axis."""
    if type(index) is bool:
        return True
    dtype = getattr(index, "dtype", None)
    return dtype is not None and dtype.kind == "b" and not index.shape


def truth(index: Any) -> bool:
    """Return the single truth that an index is."""
    return bool(read(index, "bool") if type(index) is Array else index)


def indexed_shape(shape: tuple[int, ...], arrays: tuple, index: tuple) -> tuple[int, ...]:
    """Return the shape of ``x[index]``."""
    if not arrays:
        return phantom.contiguous(shape, np.bool_)[index].shape
    kept, lead, joint = _indexed_axes(shape, arrays, index)
    return (*kept[:lead], *joint, *kept[lead:])


def gathered_phantom(x: Any, *arrays: Any, index: tuple) -> np.ndarray:
    """Return the phantom of ``x[index]``: in memory, the joint axes lie outside and the others as in `x`."""
    kept, lead, joint = _indexed_axes(x.shape, arrays, index)
    shape = (*kept[:lead], *joint, *kept[lead:])
    if len(kept) < 2 and not lead:
        return phantom.contiguous(shape, x.dtype)
    inside = phantom.memory_axes(x[tuple(0 if type(item) is Slot else item for item in index)].strides)
    order = (*range(lead, lead + len(joint)), *(k if k < lead else k + len(joint) for k in inside))
    return phantom.in_axes(shape, x.dtype, order)


def _indexed_axes(shape: tuple[int, ...], arrays: tuple, index: tuple) -> tuple[list[int], int, tuple[int, ...]]:
    """Return the extents that slices keep, how many of them stand before the index arrays' joint axes, and the joint ones."""
    items: list = []
    named = sum(1 for item in index if item is not None and item is not Ellipsis)
    for item in index:
        items.extend([slice(None)] * (len(shape) - named) if item is Ellipsis else [item])
    if Ellipsis not in index:
        items.extend([slice(None)] * (len(shape) - named))
    kept: list[int] = []
    advanced: list[int] = []
    before_first = 0
    axis = 0
    for place, item in enumerate(items):
        if type(item) is Slot or isinstance(item, int):
            if not advanced:
                before_first = len(kept)
            advanced.append(place)
        else:
            kept.append(1 if item is None else len(range(*item.indices(shape[axis]))))
        axis += item is not None
    is_adjacent = advanced[-1] - advanced[0] + 1 == len(advanced)
    lead = before_first if is_adjacent else 0
    return kept, lead, np.broadcast_shapes(*(np.shape(a) for a in arrays))


def check_bounds(template: tuple, arrays: list, shape: tuple[int, ...]) -> None:
    """Raise `IndexError` before anything is recorded, so that a program recorded by shapes fails alike."""
    if len(template) == 1 and type(template[0]) is Slot and type(arrays[0]) is not Array and arrays[0].size:
        low, high = int(arrays[0].min()), int(arrays[0].max())
        if low < -shape[0] or high >= shape[0]:
            raise IndexError(f"index {high if high >= shape[0] else low} is out of bounds for axis 0 with size {shape[0]}")
