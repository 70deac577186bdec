"""Reads and writes by index as ops: views, gathers, and their scatter-add gradients; on NumPy's own arrays, as kernels.

An index comes as its template (see `index_templates`) and its arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply, apply_over
from ..op import HOOKS, define
from ..views import Window
from .index_templates import filled, gathered_phantom


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
        np.add.at(total, filled(index, indices), g)
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
        out[filled(index, indices)] = value
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
    lambda x, *indices, index: x[filled(index, indices)],
    inputs="x indices*",
    parameters=("index",),
    rules=(lambda total, g, index, indices: index_add(total, g, index, indices), None),
    adds=True,
    infer=gathered_phantom,
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


def index_add(total: Any, g: Any, index: tuple, indices: tuple) -> Any:
    """Return `total`, which is given up, with `g` added at an index."""
    if type(total) is np.ndarray and type(g) is not Array and not any([type(i) is Array for i in indices]):
        return _add_into(total, total, g, *indices, index=index)
    return apply_over(INDEX_ADD, (total, g, *indices), {"index": index})


def erase(g: Any, index: tuple, indices: tuple) -> Any:
    """Return `g`, which is given up, with zeros at an index."""
    return apply_over(ERASE, (g, *indices), {"index": index})


def gather(x: Any, index: tuple, indices: tuple) -> Any:
    """Return ``x[index]`` for a template and its arrays."""
    return apply(GATHER, (x, *indices), {"index": index}) if indices else apply(GET, (x,), {"index": index})


def set_part(x: Array, template: Any, arrays: tuple, value: Any) -> Any:
    """Record `x`, which is about to stand for the result, with the part at an index set to `value`, which fits it."""
    return apply_over(SET, (x, value, *arrays), {"index": template})


HOOKS["set"] = set_part
