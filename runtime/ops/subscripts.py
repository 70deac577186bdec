"""``x[index]`` and ``x[index] = value`` on traced arrays: which views, gathers and writes they are."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from ..array import Array, apply, tied
from ..callers import assigns
from ..errors import NotDifferentiableError
from ..layouts import held, lies_as
from ..op import HOOKS, OPS
from ..views import as_view, cut, family_of, part_of, written_root
from ..writes import repoint, write
from .conversion import asarray, holds_traced
from .index_templates import Slot, check_bounds, indexed_shape, is_truth, template_of, truth
from .indexing import GET, gather, set_part


def getitem(x: Array, index: Any) -> Any:
    """Record ``x[index]``: a number for one element, a view for slices and integers, a gather for arrays and masks."""
    shape = x.shape
    if type(index) is int:
        template: Any = (index,)
    else:
        if is_truth(index):
            return np.take(np.expand_dims(x, 0), np.flatnonzero([truth(index)]), axis=0)
        template, arrays = template_of(index, shape)
        if arrays:
            if type(x._value) is not np.ndarray:  # else NumPy itself sees an index beyond the end, before a call is recorded
                check_bounds(template, arrays, shape)
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


def updated(x: Array, index: Any, value: Any) -> Any:
    """Return `x`, which is about to stand for the result, with ``[index]`` set to `value`."""
    template, arrays, value = _fitted(x, index, value)
    return set_part(x, template, arrays, value)


def _fitted(x: Array, index: Any, value: Any) -> tuple[tuple, tuple, Any]:
    """Return the template and the arrays of an index, and the value in the dtype and shape of what is there."""
    template, arrays = template_of(index, x.shape)
    check_bounds(template, arrays, x.shape)
    if isinstance(value, (list, tuple)) and holds_traced(value):
        value = asarray(value)
    if type(value) is float:
        value = np.array(value, x.dtype)
    elif type(value) is not Array:
        given, value = value, np.empty(np.shape(value), x.dtype)
        value[...] = given  # NumPy casts, warns and refuses
    elif value.dtype != x.dtype:
        value = value.astype(x.dtype)
    shape = indexed_shape(x.shape, tuple(arrays), template)
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
    if type(place) is not Array and np.unique(place).size == np.size(place):
        return None
    written = indexed_shape(shape, tuple(arrays), template)
    number = np.arange(math.prod(written)).reshape(written)
    last = apply(OPS["setitem"], (np.zeros(shape, np.intp), number, *arrays), {"index": template})
    return np.equal(gather(last, template, tuple(arrays)), number)


def _is_batched_mask(index: Any) -> bool:
    return type(index) is Array and index._level.is_batch and index.dtype.kind == "b"


def _masked(x: Array, mask: Any, value: Any) -> Any:
    """Return `x` with a number where a mask holds that differs from example to example."""
    if mask.shape != x.shape[: mask.ndim]:
        raise IndexError(f"a mask of shape {mask.shape} does not match the axes from 0 of shape {x.shape}")
    value = value if type(value) is Array else np.asarray(value, x.dtype)
    return np.where(np.reshape(mask, mask.shape + (1,) * (x.ndim - mask.ndim)), value, x)


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
    if _is_batched_mask(index) and not np.ndim(value):
        value, index = _masked(x, index, value), ...
    if is_truth(index):
        if not truth(index):
            return
        index = ...
    write(x, *_fitted(x, index, value))


HOOKS["getitem"] = getitem
HOOKS["setitem"] = setitem
HOOKS["repoint"] = repoint
