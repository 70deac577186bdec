"""vmap: a function of one example becomes a function of many, run once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .. import trees
from ..array import Array
from ..errors import InputError
from ..layouts import layout
from .call import spread
from .level import Batch


def vmap(f: Callable, in_axes: Any = 0, out_axes: Any = 0) -> Callable:
    """Return a function that maps `f` over axes of its arguments, all examples at once: one call of NumPy for each of `f`.

    `in_axes` says along which axis the examples lie in each argument: an integer or None (the same for all of them), one for
    each positional argument, or containers like the arguments' own, whose ends hold for all that is below; None is for what
    all examples share. Arrays in keyword arguments are mapped along their first axis. `out_axes` says where the examples lie
    in the outputs, None for an output that does not depend on them. `f` sees arrays of one example, in C order.

    It nests in itself and in every transform, both ways: ``vmap(grad(loss), in_axes=(None, 0))`` gives per-example gradients.
    Elementwise functions give the same bits as a loop over the examples, sums and products of matrices differ by rounding. A
    function without a batching rule, such as a `primitive` or one whose work depends on the numbers (np.median), runs once
    for each example.

    `f` runs once: a random number drawn in it is the same for all examples. For draws of their own, pass a batch of noise in.
    Raises `InputError` for arguments without such an axis and for axes of different lengths, `BatchedValueError` where `f`
    branches on a value that differs among examples.

    >>> import numpy as np, retape as rt
    >>> rt.vmap(np.dot)(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 1.0], [2.0, 0.0]])).tolist()
    [3.0, 6.0]
    >>> rt.vmap(rt.grad(lambda w, x: np.sum(w * x) ** 2), in_axes=(None, 0))(np.ones(2), np.eye(2)).tolist()
    [[2.0, 0.0], [0.0, 2.0]]
    """
    if not callable(f):
        raise InputError(f"vmap maps a function, not {type(f).__name__}")

    @functools.wraps(f)
    def mapped(*args: Any, **keywords: Any) -> Any:
        axes = in_axes if isinstance(in_axes, (tuple, list)) else (in_axes,) * len(args)
        if len(axes) != len(args):
            raise InputError(f"in_axes={in_axes} has {len(axes)} entries for {len(args)} positional arguments")
        paths, leaves, treedef = trees.flatten_with_paths((args, keywords))
        places = [
            *_leaf_axes(tuple(axes), args, f"in_axes={in_axes}", "the arguments"),
            *([0] * (len(leaves) - len(trees.flatten(args)[0]))),
        ]
        batches = {}
        for k, (leaf, axis) in enumerate(zip(leaves, places, strict=True)):
            if axis is not None:
                batches[k] = _examples_first(leaf, axis, _name_of(paths[k]))
        size = _common_size({_name_of(paths[k]): values.shape[0] for k, values in batches.items()}, in_axes)
        with Batch(size) as level:
            given = [level.input(batches[k]) if k in batches else leaf for k, leaf in enumerate(leaves)]
            mapped_args, mapped_keywords = trees.unflatten(treedef, given)
            output = f(*mapped_args, **mapped_keywords)
            paths, outputs, out_tree = trees.flatten_with_paths(output)
            targets = _leaf_axes(out_axes, output, f"out_axes={out_axes}", "the output")
            taken = [a for a in leaves if type(a) is np.ndarray]
            results = [
                _brought_out(level, leaf, axis, path, taken) for leaf, axis, path in zip(outputs, targets, paths, strict=True)
            ]
        return trees.unflatten(out_tree, results)

    return mapped


def _leaf_axes(axes: Any, tree: Any, given: str, what: str) -> list:
    """Return the axis of each leaf, from containers that may end where an axis holds for all below."""
    if axes is None or type(axes) is int:
        return [axes] * len(trees.flatten(tree)[0])
    inside = trees.children(axes), trees.children(tree)
    if inside[0] is None or inside[1] is None or inside[0][1] != inside[1][1]:
        raise InputError(f"{given} does not fit {what}: it has integers, None, or containers as they are there")
    pairs = zip(inside[0][0], inside[1][0], strict=True)
    return [axis for axes, part in pairs for axis in _leaf_axes(axes, part, given, what)]


def _name_of(path: str) -> str:
    """Return the path of a leaf of ``(args, keywords)`` in words."""
    kind, _, rest = path[1:].partition("]")
    number, _, inner = rest[1:].partition("]")
    return f"argument {number}{inner}" if kind == "0" else f"argument {number.strip(chr(39))}{inner}"


def _examples_first(leaf: Any, axis: int, name: str) -> Any:
    """Return the values of all examples along the first axis, each example in C order."""
    values: Any = leaf if type(leaf) is Array else np.asarray(leaf)
    if values.dtype.kind not in "biufc":
        raise InputError(
            f"{name} is of dtype {values.dtype}, which cannot be mapped: map over numbers, or say None in in_axes"
        )
    if not -values.ndim <= axis < values.ndim:
        raise InputError(
            f"{name} has shape {values.shape} and no axis {axis} to map over: give what all examples share by position, with "
            "None in in_axes"
        )
    values = np.moveaxis(values, axis, 0) if axis % values.ndim else values
    return values if layout(values).flags.c_contiguous else np.copy(values, "C")  # pyright: ignore


def _common_size(sizes: dict[str, int], in_axes: Any) -> int:
    if not sizes:
        raise InputError(f"vmap has nothing to map over: in_axes={in_axes} names no axis of any argument")
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{size} in {name}" for name, size in sizes.items())
        raise InputError(f"the axes to map over have different lengths: {found}")
    return next(iter(sizes.values()))


def _brought_out(level: Batch, leaf: Any, axis: int | None, path: str, taken: list) -> Any:
    """Return an output of all examples along `axis`; it shares no memory with the arrays that were passed in."""
    if type(leaf) is Array and leaf._level is level:
        if axis is None:
            raise InputError(f"the output{path} differs from example to example, but out_axes says None for it")
        values = leaf._slot
    else:
        if type(leaf) is Array:
            leaf._level.require_open()
        elif not isinstance(leaf, (np.ndarray, np.generic, int, float, complex)):
            raise InputError(f"the output{path} is {type(leaf).__name__}, which vmap cannot return for many examples")
        if axis is None:
            return leaf
        values = spread(leaf if type(leaf) is Array else np.asarray(leaf), level.size)
    axis = normalize_axis_index(0 if axis is None else axis, values.ndim)
    values = np.moveaxis(values, 0, axis) if axis else values
    if type(values) is np.ndarray and (not values.flags.writeable or any(np.may_share_memory(values, a) for a in taken)):
        return np.array(values, order="C")
    return values
