"""Reading and writing by index: basic slices, integer arrays, masks; gathers and their scatter-add gradients.

An index is recorded as a template: its slices, integers and new axes, with a `Slot` in place of each index array. The
arrays themselves are inputs of the call (residuals that the planner counts), so the template compares and hashes.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import phantom, trees
from ..array import Array, apply, apply_over, read, record, tied
from ..callers import assigns
from ..dispatch import refuse_plain
from ..errors import NotDifferentiableError
from ..op import FUNCTIONS, HOOKS, OPS, define, implements
from ..views import Window, as_view, cut, family_of, give_up, held, in_c_order, lies_as, part_of, repoint, write, written_root
from .conversion import asarray, holds_traced


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of the n-th index array in an index."""

    number: int


def _filled(index: tuple, arrays: tuple) -> tuple:
    """Return the index with its arrays put back."""
    return tuple(arrays[item.number] if type(item) is Slot else item for item in index) if arrays else index


_BOUNDS = frozenset((int, type(None)))


def _template(index: Any, shape: tuple[int, ...]) -> tuple[tuple, list]:
    """Return the template of `index` and its arrays; masks become integer arrays. Raises `IndexError` as NumPy does."""
    given = index if type(index) is tuple else (index,)
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
    value = np.asarray(read(item, "an index") if type(item) is Array else item)
    if value.size == 0 and value.dtype.kind == "f":
        value = value.astype(np.intp)
    if value.dtype.kind not in "iub":
        raise IndexError(f"arrays used as indices must be of integer or boolean type, not {value.dtype}")
    if value.ndim == 0:
        if value.dtype.kind == "b":
            raise IndexError("a traced array cannot be indexed by a single boolean: use np.where")
        return int(value)
    return value


def _is_truth(index: Any) -> bool:
    """Tell whether an index is a single truth: all or nothing, along a new axis."""
    if type(index) is bool:
        return True
    dtype = getattr(index, "dtype", None)
    return dtype is not None and dtype.kind == "b" and not index.shape


def _truth(index: Any) -> bool:
    return bool(read(index, "bool") if type(index) is Array else index)


def _indexed_shape(shape: tuple[int, ...], arrays: tuple, index: tuple) -> tuple[int, ...]:
    """Return the shape of ``x[index]``."""
    if not arrays:
        return phantom.contiguous(shape, np.bool_)[index].shape
    kept, lead, joint = _indexed_axes(shape, arrays, index)
    return (*kept[:lead], *joint, *kept[lead:])


def _gathered_phantom(x: Any, *arrays: Any, index: tuple) -> np.ndarray:
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


def _part(x: np.ndarray, index: Any) -> np.ndarray:
    """Return the part of an array that an index without index arrays names: a view, or a copy out of another order."""
    if type(index) is not Window:
        return x[index]
    part = _window(x, index)
    return part if index.shape else part[()]


def _window(x: np.ndarray, index: Window) -> np.ndarray:
    size = x.itemsize
    whole = np.ascontiguousarray(x if index.axes is None else np.transpose(x, index.axes))
    return np.ndarray(index.shape, x.dtype, whole, index.offset * size, tuple([n * size for n in index.strides]))


def _part_phantom(x: Any, index: Any) -> tuple[np.ndarray, bool]:
    if type(index) is not Window:
        return x[index], True
    is_view = (x if index.axes is None else np.transpose(x, index.axes)).flags.c_contiguous
    strides = tuple([n * x.itemsize for n in index.strides])
    return np.lib.stride_tricks.as_strided(phantom.contiguous((), x.dtype), index.shape, strides, writeable=False), is_view


def _own_copy(x: Any, index: Any) -> np.ndarray:
    """Return a copy to write to, with the axes in memory as they were, or as a window needs them."""
    if type(index) is not Window:
        return np.array(x, order="K")
    if index.axes is None:
        return np.array(x, order="C")
    return np.transpose(np.array(np.transpose(x, index.axes), order="C"), np.argsort(index.axes))


def _written_phantom(x: Any, *_: Any, index: Any) -> np.ndarray:
    if type(index) is not Window:
        return phantom.copied(x)
    return phantom.in_axes(x.shape, x.dtype, tuple(range(x.ndim)) if index.axes is None else index.axes)


def _add_at(total: np.ndarray, g: Any, *indices: np.ndarray, index: Any) -> np.ndarray:
    """Add `g` into `total` in place; repeated indices add up in the order of their appearance."""
    if indices:
        np.add.at(total, _filled(index, indices), g)
    elif type(index) is Window:
        part = _window(total, index)
        part += g
    else:
        part = total[index]
        if type(part) is np.ndarray:
            part += g  # a view; of an element, there is none
        else:
            total[index] = part + g
    return total


def _add_into(out: np.ndarray, total: Any, g: Any, *indices: np.ndarray, index: Any) -> np.ndarray:
    return _add_at(_in_order(out, index), g, *indices, index=index)


def _in_order(out: np.ndarray, index: Any) -> np.ndarray:
    """Return an array that is given up as it must lie in memory for a window to be a part of it."""
    if type(index) is not Window:
        return out
    whole = out if index.axes is None else np.transpose(out, index.axes)
    return out if whole.flags.c_contiguous else _own_copy(out, index)


def _write(x: Any, value: Any, *indices: np.ndarray, index: Any) -> np.ndarray:
    return _write_into(_own_copy(x, index), x, value, *indices, index=index)


def _write_into(out: np.ndarray, x: Any, value: Any, *indices: np.ndarray, index: Any) -> np.ndarray:
    if type(index) is Window:
        out = _in_order(out, index)
        _window(out, index)[...] = value
    else:
        out[_filled(index, indices)] = value
    return out


GET = define(
    "getitem",
    _part,
    inputs="x",
    parameters=("index",),
    rules=lambda total, g, index: index_add(total, g, index, ()),
    adds=True,
    infer=_part_phantom,
    is_view=True,
    jvp="linear",
)
GATHER = define(
    "gather",
    lambda x, *indices, index: x[_filled(index, indices)],
    inputs="x indices*",
    parameters=("index",),
    rules=(lambda total, g, index, indices: index_add(total, g, index, indices), None),
    adds=True,
    infer=_gathered_phantom,
    jvp="linear",
)
INDEX_ADD = define(
    "index_add",
    lambda total, g, *indices, index: _add_at(_own_copy(total, index), g, *indices, index=index),
    inputs="total g indices*",
    parameters=("index",),
    rules=(lambda g: g, lambda g, index, indices: gather(g, index, indices), None),
    infer=_written_phantom,
    overwrites=0,
    reads_target=True,
    run_into=_add_into,
    jvp="linear",
)
SET = define(
    "setitem",
    _write,
    inputs="x value indices*",
    parameters=("index",),
    rules=(
        lambda g, index, indices: erase(g, index, indices),
        # A copy, for the other rule overwrites g.
        lambda g, index, indices: gather(g, index, indices) if indices else np.copy(gather(g, index, indices)),
        None,
    ),
    infer=_written_phantom,
    overwrites=0,
    reads_target=True,
    run_into=_write_into,
    takes=True,
    jvp="linear",
)
ERASE = define(
    "erase",
    lambda x, *indices, index: _write(x, 0, *indices, index=index),
    inputs="x indices*",
    parameters=("index",),
    rules=(lambda g, index, indices: erase(g, index, indices), None),
    infer=_written_phantom,
    overwrites=0,
    reads_target=True,
    run_into=lambda out, x, *indices, index: _write_into(out, x, 0, *indices, index=index),
    takes=True,
    jvp="linear",
)
ZEROS = define(
    "zeros",
    lambda shape, dtype: np.zeros(shape, dtype),
    inputs="",
    parameters=("shape", "dtype"),
    infer=lambda shape, dtype: phantom.contiguous(shape, dtype),
    zero_gradient=True,
)
ONES = define(
    "ones",
    lambda shape, dtype: np.ones(shape, dtype),
    inputs="",
    parameters=("shape", "dtype"),
    infer=lambda shape, dtype: phantom.contiguous(shape, dtype),
    zero_gradient=True,
)


def zeros_on(tape: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Record a call on `tape` that makes zeros."""
    return record(tape, OPS["zeros"], (), {"shape": tuple(shape), "dtype": np.dtype(dtype)})


def index_add(total: Any, g: Any, index: tuple, indices: tuple) -> Any:
    """Return `total`, which is given up, with `g` added at an index."""
    if type(total) is np.ndarray and type(g) is not Array:
        return _add_into(total, total, g, *indices, index=index)
    return apply_over(INDEX_ADD, (total, g, *indices), {"index": index})


def erase(g: Any, index: tuple, indices: tuple) -> Any:
    """Return `g`, which is given up, with zeros at an index."""
    return apply_over(ERASE, (g, *indices), {"index": index})


def gather(x: Any, index: tuple, indices: tuple) -> Any:
    """Return ``x[index]`` for a template and its arrays."""
    return apply(GATHER, (x, *indices), {"index": index}) if indices else apply(GET, (x,), {"index": index})


def getitem(x: Array, index: Any) -> Any:
    """Record ``x[index]``: a number for one element, a view for slices and integers, a gather for arrays and masks."""
    shape = x.shape
    if type(index) is int:
        template: Any = (index,)
    else:
        if _is_truth(index):
            return np.take(np.expand_dims(x, 0), np.flatnonzero([_truth(index)]), axis=0)
        template, arrays = _template(index, shape)
        if arrays:
            _check_bounds(template, arrays, shape)
            return gather(x, template, tuple(arrays))
    memory = None
    if x._ties is None:
        result = apply(GET, (x,), {"index": template})
    else:
        root = written_root(x)
        if root is None:
            result = apply(GET, (x,), {"index": template})
        else:
            result = apply(GET, (root,), {"index": part_of(x, root, template)})
        if (root is not None or x._ties.written) and 2 * result.size <= x.size:
            memory = held(result) if result.shape else None
            result = _own(result)
    if len(template) == len(shape) and all([type(item) is int for item in template]):
        return result
    result = as_view(
        x,
        result,
        lambda base: apply(GET, (base,), {"index": template}),
        lambda base, value: set_part(base, template, (), value),
        index=index,
        row=template[0] % shape[0] if template and type(template[0]) is int else None,
        part=lambda whole: cut(whole, template),
    )
    if memory is None or memory.flags.c_contiguous or tied(result).memory is not None:
        return result
    return lies_as(result, memory)


def _own(part: Any) -> Any:
    """Return a part of an array that is being filled piece by piece with memory of its own.

    What a rule reads of it then neither keeps the whole array as it is now, nor must the next write copy that.
    """
    if isinstance(part, np.ndarray):
        return part.copy("K")
    if type(part) is Array:
        if part._level.keeper is not None:
            return apply(OPS["copy"], (part,)) if held(part).flags.c_contiguous else np.copy(part)  # pyright: ignore
        part._value = _own(part._value)
        if not isinstance(part._slot, int):  # its tangent, on a level of forward mode
            part._slot = _own(part._slot)
    return part


def _check_bounds(template: tuple, arrays: list, shape: tuple[int, ...]) -> None:
    """Raise `IndexError` before anything is recorded, so that a program recorded by shapes fails alike."""
    if len(template) == 1 and type(template[0]) is Slot and arrays[0].size:
        low, high = int(arrays[0].min()), int(arrays[0].max())
        if low < -shape[0] or high >= shape[0]:
            raise IndexError(f"index {high if high >= shape[0] else low} is out of bounds for axis 0 with size {shape[0]}")


def set_part(x: Array, template: Any, arrays: tuple, value: Any) -> Any:
    """Record `x`, which is about to stand for the result, with the part at an index set to `value`, which fits it."""
    return apply_over(SET, (x, value, *arrays), {"index": template})


HOOKS["set"] = set_part


def updated(x: Array, index: Any, value: Any) -> Any:
    """Return `x`, which is about to stand for the result, with ``[index]`` set to `value`."""
    template, arrays, value = _fitted(x, index, value)
    return set_part(x, template, arrays, value)


def _fitted(x: Array, index: Any, value: Any) -> tuple[tuple, tuple, Any]:
    """Return the template and the arrays of an index, and the value in the dtype and shape of what is there."""
    template, arrays = _template(index, x.shape)
    _check_bounds(template, arrays, x.shape)
    if isinstance(value, (list, tuple)) and holds_traced(value):
        value = asarray(value)
    if type(value) is float:
        value = np.array(value, x.dtype)
    elif type(value) is not Array:
        given, value = value, np.empty(np.shape(value), x.dtype)
        value[...] = given  # NumPy casts, warns and refuses
    elif value.dtype != x.dtype:
        value = value.astype(x.dtype)
    shape = _indexed_shape(x.shape, tuple(arrays), template)
    if value.ndim > len(shape):
        value = np.reshape(value, value.shape[value.ndim - len(shape) :])
    if value.shape != shape:
        value = np.broadcast_to(value, shape)
    if type(value) is Array and _may_repeat(index):
        stays = _last_writes(x.shape, template, arrays)
        if stays is not None:
            value = np.where(stays, value, apply(OPS["stop_gradient"], (value,)))
    return template, tuple(arrays), value


def _may_repeat(index: Any) -> bool:
    """Tell whether `index` holds integer arrays, which may name a place twice (masks cannot)."""
    items = index if isinstance(index, tuple) else (index,)
    return any(isinstance(i, list) or getattr(getattr(i, "dtype", None), "kind", None) in ("i", "u") for i in items)


def _last_writes(shape: tuple[int, ...], template: tuple, arrays: list) -> np.ndarray | None:
    """Return where a written value stays: of several writes to one place the last one does. None where all stay."""
    named = sum(1 for item in template if item is not None and item is not Ellipsis)
    place: Any = 0
    axis = 0
    for item in template:
        if type(item) is Slot:
            place = place * shape[axis] + arrays[item.number] % max(shape[axis], 1)
        axis += len(shape) - named if item is Ellipsis else item is not None
    if np.unique(place).size == np.size(place):
        return None
    index = _filled(template, tuple(arrays))
    written = _indexed_shape(shape, tuple(arrays), template)
    number = np.arange(math.prod(written)).reshape(written)
    last = np.zeros(shape, np.intp)
    last[index] = number
    return last[index] == number


def setitem(x: Array, index: Any, value: Any) -> None:
    """Carry out ``x[index] = value``."""
    link = tied(value).link if type(value) is Array else None
    if link is not None:
        if link.index is index and link.parent() is x:
            return  # `x[i] += v`: the view has been written through already
        if type(index) is int and family_of(value) is family_of(x) and not assigns(sys._getframe(2)):
            raise NotDifferentiableError(
                "compiled code (the shuffle of a random generator) exchanges rows of a traced array: they are views, and one "
                "would be lost. Say x = x[generator.permutation(len(x))]"
            )
    elif type(index) is int and type(value) is Array:
        shape = x.shape
        if (
            shape and shape[1:] == value.shape and -shape[0] <= index < shape[0] and value.dtype == x.dtype
        ):  # so it needs no fitting
            write(x, (index,), (), value)
            return
    if _is_truth(index):
        if not _truth(index):
            return
        index = ...
    write(x, *_fitted(x, index, value))


HOOKS["getitem"] = getitem
HOOKS["setitem"] = setitem
HOOKS["repoint"] = repoint


@implements(np.take)
def take(a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    """Compose `np.take` of an index."""
    if axis is None:
        a, axis = np.ravel(a), 0
    axis = axis % a.ndim
    indices = read(indices, "an index") if type(indices) is Array else np.asarray(indices)
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
    indices = read(indices, "an index") if type(indices) is Array else np.asarray(indices)
    grid = [
        indices if k == axis else np.arange(n).reshape([-1 if j == k else 1 for j in range(arr.ndim)])
        for k, n in enumerate(arr.shape)
    ]
    return arr[tuple(grid)]


@implements((np.add, "at"))  # pyright: ignore[reportArgumentType]
def add_at(a: Any, indices: Any, b: Any) -> None:
    """Carry out ``np.add.at(a, indices, b)``: repeated indices add up."""
    if type(a) is not Array:
        refuse_plain("numpy.add.at")
    template, arrays = _template(indices, a.shape)
    _check_bounds(template, arrays, a.shape)
    b = b if type(b) is Array else np.asarray(b)
    b = np.broadcast_to(b.astype(a.dtype, casting="same_kind"), _indexed_shape(a.shape, tuple(arrays), template))
    give_up(a)
    repoint(a, apply_over(INDEX_ADD, (a, b, *arrays), {"index": template}))


def _piecewise_constant(*functions: Any) -> None:
    """Register functions whose results are indices or truths: they are computed on plain values."""

    def plainly(tree: Any) -> Any:
        return trees.map_leaves(
            lambda leaf: read(apply(OPS["stop_gradient"], (leaf,)), "an index") if type(leaf) is Array else leaf, tree
        )

    for function in functions:
        FUNCTIONS[function] = lambda *args, _function=function, **keywords: _function(*plainly(args), **plainly(keywords))


_piecewise_constant(
    np.argsort, np.argpartition, np.nonzero, np.flatnonzero, np.argwhere, np.searchsorted, np.digitize, np.isclose,
    np.allclose, np.array_equal, np.array_equiv,
)  # fmt: skip


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    """Compose sorting of argsort and a gather."""
    if axis is None:
        a, axis = np.ravel(a), 0
    return take_along_axis(a, np.argsort(a, axis=axis, kind="stable"), axis)
