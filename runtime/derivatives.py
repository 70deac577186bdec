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
    """Return a function that computes the Jacobian of `f` by the arguments that `argnums` names.

    For an output of shape ``s`` and an argument of shape ``t`` it has shape ``s + t``; containers nest, the output's outside,
    the argument's inside. `mode` is "forward" (one column per input element), "reverse" (one row per output element) or
    "auto" (whichever is fewer); the function runs once. Entries have the argument's dtype, complex where the output is. Of a
    real output by a complex argument they are df/dx - i df/dy, as the gradient is.

    Rows (columns) are computed in batches: one sweep, every op on `batch_size` of them at once. Without a `batch_size`, up to
    3 are computed one by one; else the ops of the first 16 tell how many go together, so that none makes an array of over
    64 MiB. Any batch size gives the same Jacobian up to rounding in products of matrices. A rule of your own that computes
    outside of NumPy is called for one row at a time, unless a `batch_size` is named. Raises `InputError` for arguments
    without a derivative, `ValueError` for an unknown mode or a batch size below 1.

    >>> import numpy as np, retape as rt
    >>> rt.jacobian(lambda x: x**2)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
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
    """Return a function that computes the Hessian of a scalar function `f`: forward sweeps over its gradient.

    Columns are computed in batches, as those of a `jacobian` are; see there for `batch_size`.

    >>> import numpy as np, retape as rt
    >>> rt.hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """

    def gradient(*args: Any, **keywords: Any) -> Any:
        return plain_value_and_grad(f, args, argnums, keywords)[2]

    return jacobian(gradient, argnums, mode="forward", batch_size=batch_size)


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
