"""Jacobians, Hessians and their products with vectors, made of vjp, jvp and linearize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import trees
from .arguments import as_scalar_array, check_leaves, check_outputs, positions
from .errors import InputError
from .transforms import plain_value_and_grad, pulled_back, transposed


def jacobian(f: Callable, argnums: int | Sequence[int] = 0, *, mode: str = "auto", has_aux: bool = False) -> Callable:
    """Return a function that computes the Jacobian of `f` by the arguments that `argnums` names.

    For an output of shape ``s`` and an argument of shape ``t`` it has shape ``s + t``; containers nest, the output's outside,
    the argument's inside. `mode` is "forward" (one sweep per input element), "reverse" (one per output element) or
    "auto" (whichever is fewer); the function runs once. Entries have the argument's dtype, complex where the output is. Of a
    real output by a complex argument they are df/dx - i df/dy, as the gradient is. Raises `InputError` for arguments without
    a derivative, `ValueError` for an unknown mode.

    >>> import numpy as np, retape as rt
    >>> rt.jacobian(lambda x: x**2)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    if mode not in ("auto", "forward", "reverse"):
        raise ValueError(f"mode={mode!r} is none of: 'auto', 'forward', 'reverse'")

    def computed(*args: Any, **keywords: Any) -> Any:
        wanted = positions(argnums, len(args))

        def inner(*chosen: Any) -> Any:
            filled = list(args)
            for position, value in zip(wanted, chosen, strict=True):
                filled[position] = value
            return f(*filled, **keywords)

        chosen = tuple(args[k] for k in wanted)
        leaves, treedef = check_leaves(chosen, "arguments")
        leaves = [as_scalar_array(leaf) for leaf in leaves]
        output, pullback, aux, *_ = pulled_back(inner, *chosen, has_aux=has_aux)
        outputs, out_tree = check_outputs(output)
        outputs = [y if hasattr(y, "dtype") else np.asarray(y) for y in outputs]
        entries = sum(int(np.size(leaf)) for leaf in leaves)
        results = sum(int(np.size(leaf)) for leaf in outputs)
        if mode == "reverse" or mode == "auto" and results <= entries:
            made = _by_rows(pullback, outputs, out_tree, leaves)
        else:
            push = transposed(pullback, output)
            made = _by_columns(lambda t: push(*t), outputs, leaves, treedef)
        nested = [
            trees.unflatten(treedef, row) if not isinstance(argnums, int) else trees.unflatten(treedef, row)[0]
            for row in made
        ]
        result = trees.unflatten(out_tree, nested)
        return (result, aux) if has_aux else result

    return computed


def _by_rows(pullback: Callable, outputs: list, out_tree: Any, leaves: list) -> list[list]:
    made = []
    for number, y in enumerate(outputs):
        rows = []

        def pulled(k: int, one: complex, number: int = number) -> list:
            seeds = _unit(outputs, number, k, one)
            return trees.flatten(pullback(trees.unflatten(out_tree, seeds)))[0]

        for k in range(int(np.size(y))):
            row = pulled(k, 1)
            if y.dtype.kind == "c":  # by a real argument, the real part comes of 1 and the imaginary part of -i
                turned = pulled(k, -1j)
                row = [
                    a if x.dtype.kind == "c" else a + 1j * b for a, b, x in zip(row, turned, leaves, strict=True)
                ]  # fmt: skip
            rows.append(row)
        made.append([_stacked([row[j] for row in rows], np.shape(y) + np.shape(x), x, y) for j, x in enumerate(leaves)])
    return made


def _unit(like: list, number: int, place: int, one: complex) -> list:
    """Return zeros like the leaves, but for `one` at a place of the leaf with this number."""
    seeds = [np.zeros(np.shape(leaf), leaf.dtype) for leaf in like]
    seeds[number].reshape(-1)[place] = one
    return seeds


def _by_columns(push: Callable, outputs: list, leaves: list, treedef: Any) -> list[list]:
    made: list[list] = [[] for _ in outputs]
    for number, x in enumerate(leaves):
        columns = []
        for k in range(int(np.size(x))):
            column = trees.flatten(push(trees.unflatten(treedef, _unit(leaves, number, k, 1))))[0]
            if x.dtype.kind == "c" and any(y.dtype.kind != "c" for y in outputs):
                turned = trees.flatten(push(trees.unflatten(treedef, _unit(leaves, number, k, 1j))))[0]
                column = [
                    a if y.dtype.kind == "c" else a - 1j * b for a, b, y in zip(column, turned, outputs, strict=True)
                ]  # fmt: skip
            columns.append(column)
        for j, y in enumerate(outputs):
            stacked = _stacked([column[j] for column in columns], np.shape(x) + np.shape(y), x, y)
            order = (*range(np.ndim(x), np.ndim(x) + np.ndim(y)), *range(np.ndim(x)))
            made[j].append(np.transpose(stacked, order))
    return made


def _stacked(parts: list, shape: tuple[int, ...], x: Any, y: Any) -> Any:
    """Return the entries in the dtype of `x`, complex where `y` is."""
    dtype = np.result_type(x.dtype, np.complex64) if y.dtype.kind == "c" else x.dtype
    return np.reshape(np.stack(parts), shape).astype(dtype, copy=False) if parts else np.zeros(shape, dtype)


def hessian(f: Callable, argnums: int | Sequence[int] = 0) -> Callable:
    """Return a function that computes the Hessian of a scalar function `f`: forward sweeps over its gradient.

    >>> import numpy as np, retape as rt
    >>> rt.hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """

    def gradient(*args: Any, **keywords: Any) -> Any:
        return plain_value_and_grad(f, args, argnums, keywords)[2]

    return jacobian(gradient, argnums, mode="forward")


def hvp(f: Callable, primals: Sequence, tangents: Sequence) -> Any:
    """Return the product of the Hessian of a scalar function `f` at `primals` with `tangents`, one entry per argument.

    Reverse over reverse (a Hessian is its own transpose): two gradients' worth of calls, with half the cost of a call that
    forward over reverse has here. Where memory matters more, ``jvp(grad(f), primals, tangents)`` holds only the gradient's
    residuals, each with its tangent.

    >>> import numpy as np, retape as rt
    >>> rt.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 1.0]),))[0].tolist()
    [6.0, 12.0]
    """
    primals = tuple(primals)
    if not primals:
        raise InputError("hvp needs at least one argument")

    def gradient(*args: Any) -> Any:
        return plain_value_and_grad(f, args, tuple(range(len(args))), {})[2]

    return pulled_back(gradient, *primals)[1](tuple(tangents))
