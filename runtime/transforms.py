"""vjp, jvp, linearize: what turns a function into its derivatives, without a budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import trees
from .arguments import (
    Arguments,
    check_disconnected,
    check_leaves,
    check_outputs,
    check_scalar,
    finished,
    fit_to_output,
    is_differentiable_leaf,
    split_aux,
    trace_leaf,
    untraced,
)
from .array import Array
from .checksum import while_unchanged
from .forward import Forward
from .landing import Landing, pull_into
from .trail import Trail


def vjp(f: Callable, *args: Any, has_aux: bool = False) -> tuple:
    """Return ``(output, pullback)`` or ``(output, pullback, aux)``; `pullback(cotangent)` gives one cotangent per argument.

    Every argument is differentiated; outputs may be nested containers of arrays of any shape. The pullback may be
    called again, also inside another transform. For complex arrays it multiplies by the transpose of the Jacobian,
    without conjugation. Raises `InputError` for arguments that have no derivative, and, of the pullback, for outputs that are
    no numbers, for a cotangent that does not fit the output, and `ChangedError` where an array that it reads (an argument, an
    output or one that `f` took from outside) was written to since.

    >>> import numpy as np, retape as rt
    >>> y, pullback = rt.vjp(lambda a, b: a * b, 3.0, 4.0)
    >>> [float(g) for g in pullback(1.0)]
    [4.0, 3.0]
    """
    value, pullback, aux, trail, captured = pulled_back(f, *args, has_aux=has_aux)
    pullback = while_unchanged(
        pullback, trail, captured, {"an argument": args, "an output": value, "an auxiliary output": aux}
    )
    return (value, pullback, aux) if has_aux else (value, pullback)


def pulled_back(f: Callable, *args: Any, has_aux: bool = False) -> tuple[Any, Callable, Any, Trail, list]:
    """Return output, pullback, auxiliary output, and what the pullback reads: the trail, and arrays taken from outside."""
    with Trail() as trail:
        arguments = Arguments(args, tuple(range(len(args))), trail.input)
        slots = [array._slot for array in arguments.arrays]  # now: `f` may write into its arguments
        output, aux = split_aux(f(*arguments.traced), has_aux)
        aux = untraced(aux, trail)
        outputs, treedef = trees.flatten(output)
        ends = [leaf._slot if type(leaf) is Array and leaf._level is trail else None for leaf in outputs]
        value = untraced(output, trail)
        captured = list(trail.frozen)
    kinds = [leaf if not isinstance(leaf, Array) else _Kind(leaf.shape, leaf.dtype) for leaf in outputs]
    primals = arguments.primals()

    def pullback(cotangent: Any) -> tuple:
        sums: dict[int, Any] = {}
        check_outputs(value)
        cotangents = fit_to_output(cotangent, kinds, treedef, "cotangent", "output")
        seen = {id(g) for g in cotangents}  # the caller's own arrays: never handed back as a gradient
        for end, g in zip(ends, cotangents, strict=True):
            if end is not None:
                sums[end] = sums[end] + g if end in sums else g
        del cotangents
        trail.pull(sums)
        return arguments.assemble([finished(sums.get(slot), value, seen) for slot, value in zip(slots, primals, strict=True)])

    return value, pullback, aux, trail, captured


class _Kind:
    """The shape and dtype of an output."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape = shape
        self.dtype = dtype


def jvp(f: Callable, primals: Sequence, tangents: Sequence, *, has_aux: bool = False) -> tuple:
    """Return ``(output, tangent)`` or ``(output, tangent, aux)``: `f` at `primals`, and its derivative along `tangents`.

    Forward mode: nothing is kept but one tangent beside every value. `primals` and `tangents` are sequences with one entry
    per argument, containers and shapes alike. Raises `InputError` where they are not, and for outputs that are no numbers.

    >>> import numpy as np, retape as rt
    >>> y, tangent = rt.jvp(np.sin, (0.0,), (2.0,))
    >>> float(y), float(tangent)
    (0.0, 2.0)
    """
    primals = tuple(primals)
    leaves, treedef = check_leaves(primals, "primals")
    directions = fit_to_output(tuple(tangents), leaves, treedef, "tangent", "primal")
    with Forward() as level:
        traced = [trace_leaf(level.input, leaf, t) for leaf, t in zip(leaves, directions, strict=True)]
        output, aux = split_aux(f(*trees.unflatten(treedef, traced)), has_aux)
        aux = untraced(aux, level)
        outputs, out_tree = check_outputs(output)
        pushed = [
            leaf._slot if type(leaf) is Array and leaf._level is level and leaf._slot is not None
            # of an output that does not depend on the inputs, or not differentiably
            else np.zeros(getattr(leaf, "shape", ()), getattr(leaf, "dtype", None) or np.result_type(leaf))
            for leaf in outputs
        ]  # fmt: skip
        value = untraced(output, level)
    tangent = trees.unflatten(out_tree, pushed)
    return (value, tangent, aux) if has_aux else (value, tangent)


def linearize(f: Callable, *args: Any) -> tuple[Any, Callable]:
    """Return ``(output, pushforward)``; `pushforward(*tangents)` gives the output's tangent.

    `f` runs once: the pushforward is the transpose of its pullback, so that many directions cost one reverse sweep each.

    >>> import numpy as np, retape as rt
    >>> y, pushforward = rt.linearize(lambda a, b: a * b, 3.0, 4.0)
    >>> float(pushforward(1.0, 0.0))
    4.0
    """
    output, pullback, _, trail, captured = pulled_back(f, *args)
    return output, while_unchanged(transposed(pullback, output), trail, captured, {"an argument": args, "an output": output})


def transposed(pullback: Callable, output: Any) -> Callable:
    """Return the pushforward of the function whose output and pullback these are; integers have tangents of zeros."""
    outputs, treedef = check_outputs(output)
    zeros = [
        np.zeros(getattr(leaf, "shape", ()), getattr(leaf, "dtype", None) or np.result_type(leaf)) for leaf in outputs
    ]  # fmt: skip
    moving = [k for k, leaf in enumerate(outputs) if is_differentiable_leaf(leaf)]

    def filled(found: Sequence) -> Any:
        leaves = [zero.copy() for zero in zeros]
        for k, leaf in zip(moving, found, strict=True):
            leaves[k] = leaf
        return trees.unflatten(treedef, leaves)

    _, push, *_ = pulled_back(lambda *cotangents: pullback(filled(cotangents)), *(np.ones_like(zeros[k]) for k in moving))
    return lambda *tangents: filled(push(tangents))


def plain_value_and_grad(
    f: Callable,
    args: tuple,
    argnums: int | Sequence[int],
    keywords: dict,
    *,
    has_aux: bool = False,
    allow_int: bool = False,
    disconnected: str = "zeros",
    landing: Landing | None = None,
) -> tuple:
    """Return ``(value, aux, gradients)`` of a scalar function, all residuals held; gradients as `argnums` asks.

    With `landing` the gradients go there as they are finished, and None is returned for them.
    """
    check_disconnected(disconnected)
    with Trail() as trail:
        arguments = Arguments(args, argnums, trail.input, allow_int=allow_int)
        if landing is not None:
            landing.check(arguments.primals())
        slots = [array._slot for array in arguments.arrays]
        traced = arguments.traced
        arguments.traced, arguments.arrays = [], []
        output, aux = split_aux(f(*traced, **keywords), has_aux)
        del traced
        check_scalar(output)
        sums: dict[int, Any] = {}
        if type(output) is Array and output._level is trail:
            if output._slot is not None:
                sums[output._slot] = np.ones((), output.dtype)
            output = output._value
        if has_aux:
            aux = untraced(aux, trail)
    if landing is not None:
        unreached = pull_into(trail, sums, slots, arguments.primals(), landing)
        if unreached and disconnected == "error":
            arguments.require_connected(unreached[0])
        return output, aux, None
    trail.pull(sums)
    seen: set[int] = set()
    gradients = []
    for number, (slot, value) in enumerate(zip(slots, arguments.primals(), strict=True)):
        if slot not in sums and disconnected == "error":
            arguments.require_connected(number)
        gradients.append(finished(sums.pop(slot, None), value, seen))
    return output, aux, arguments.assemble(gradients)
