"""Jacobians, Hessians and their products with vectors, made of vjp, jvp and linearize."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import trees
from .arguments import as_scalar_array, check_leaves, check_outputs, positions
from .batching.sweeps import Sweeps
from .errors import InputError
from .transforms import plain_value_and_grad, pulled_back, transposed


def jacobian(
    f: Callable,
    argnums: int | Sequence[int] = 0,
    *,
    mode: str = "auto",
    has_aux: bool = False,
    batch_size: int | None = None,
) -> Callable:
    """Return a function that computes the Jacobian without a budget; `retape.jacobian` says what it is and raises."""
    if mode not in ("auto", "forward", "reverse"):
        raise ValueError(f"mode={mode!r} is none of: 'auto', 'forward', 'reverse'")
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size={batch_size} is below 1: it is how many rows or columns are computed at once")

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
            rows = Sweeps(
                lambda seeds: trees.flatten(pullback(trees.unflatten(out_tree, seeds)))[0], outputs, leaves, batch_size
            )
            made = _by_rows(rows, outputs, leaves)
        else:
            push = transposed(pullback, output)
            columns = Sweeps(
                lambda seeds: trees.flatten(push(*trees.unflatten(treedef, seeds)))[0], leaves, outputs, batch_size
            )
            made = _by_columns(columns, outputs, leaves)
        nested = [
            trees.unflatten(treedef, row) if not isinstance(argnums, int) else trees.unflatten(treedef, row)[0]
            for row in made
        ]
        result = trees.unflatten(out_tree, nested)
        return (result, aux) if has_aux else result

    return computed


def _by_rows(rows: Sweeps, outputs: list, leaves: list) -> list[list]:
    made = []
    for number, y in enumerate(outputs):
        found = rows.of(number, 1)
        if y.dtype.kind == "c":  # by a real argument, the real part comes of 1 and the imaginary part of -i
            turned = rows.of(number, -1j)
            found = [a if x.dtype.kind == "c" else a + 1j * b for a, b, x in zip(found, turned, leaves, strict=True)]
        made.append([_entries(a, np.shape(y) + np.shape(x), x, y) for a, x in zip(found, leaves, strict=True)])
    return made


def _by_columns(columns: Sweeps, outputs: list, leaves: list) -> list[list]:
    made: list[list] = [[] for _ in outputs]
    for number, x in enumerate(leaves):
        found = columns.of(number, 1)
        if x.dtype.kind == "c" and any(y.dtype.kind != "c" for y in outputs):
            turned = columns.of(number, 1j)
            found = [a if y.dtype.kind == "c" else a - 1j * b for a, b, y in zip(found, turned, outputs, strict=True)]
        for j, (a, y) in enumerate(zip(found, outputs, strict=True)):
            order = (*range(np.ndim(x), np.ndim(x) + np.ndim(y)), *range(np.ndim(x)))
            made[j].append(np.transpose(_entries(a, np.shape(x) + np.shape(y), x, y), order))
    return made


def _entries(found: Any, shape: tuple[int, ...], x: Any, y: Any) -> Any:
    """Return the entries in the dtype of `x`, complex where `y` is."""
    dtype = np.result_type(x.dtype, np.complex64) if y.dtype.kind == "c" else x.dtype
    return np.reshape(found, shape).astype(dtype, copy=False)


def hessian(f: Callable, argnums: int | Sequence[int] = 0, *, batch_size: int | None = None) -> Callable:
    """Return a function that computes the Hessian without a budget; `retape.hessian` says what it is."""

    def gradient(*args: Any, **keywords: Any) -> Any:
        return plain_value_and_grad(f, args, argnums, keywords)[2]

    return jacobian(gradient, argnums, mode="reverse", batch_size=batch_size)


def hvp(f: Callable, primals: Sequence, tangents: Sequence) -> Any:
    """Return the product of a Hessian and `tangents` without a budget, reverse over reverse; see `retape.hvp`."""
    primals = tuple(primals)
    if not primals:
        raise InputError("hvp needs at least one argument")

    def gradient(*args: Any) -> Any:
        return plain_value_and_grad(f, args, tuple(range(len(args))), {})[2]

    return pulled_back(gradient, *primals)[1](tuple(tangents))
