"""vjp, record, checkpoint: what turns a function into a tape and a tape into derivatives, without a budget."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import trees
from .array import Array, plain
from .errors import InputError
from .sweep import finished, pull
from .tape import ShapesOnly, Tape

_HINT = "differentiate with respect to arrays of float16, float32, float64, complex64, complex128 or Python floats"


def check_leaves(tree: Any, what: str) -> tuple[list, Any]:
    """Return the leaves of an argument to differentiate and its definition.

    Raises `InputError` naming the path of a leaf that is not a floating-point (or complex) array or number.
    """
    paths, leaves, treedef = trees.flatten_with_paths(tree)
    for path, leaf in zip(paths, leaves, strict=True):
        kind = leaf.dtype if isinstance(leaf, (Array, np.ndarray, np.generic)) else None
        if isinstance(leaf, (float, complex)) or kind is not None and kind.kind in "fc":
            continue
        name = f"{type(leaf).__name__} of dtype {kind}" if kind is not None else type(leaf).__name__
        cure = _HINT
        if isinstance(leaf, int) or kind is not None and kind.kind in "iub":
            cure = f"convert it to float, or leave it out with argnums=; {_HINT}"
        raise InputError(f"{what}{path} is {name}, which has no derivative: {cure}")
    if not leaves:
        raise InputError(f"{what} holds no arrays to differentiate")
    return leaves, treedef


def check_scalar(output: Any, what: str = "the function") -> None:
    """Raise `InputError` unless a loss is a real floating-point scalar."""
    if isinstance(output, (Array, np.ndarray, np.generic)):
        if output.shape != ():
            raise InputError(
                f"{what} returned an array of shape {output.shape}, but a gradient needs a scalar: reduce it (np.sum, "
                "np.mean), use vjp for arrays, or has_aux=True if it returns (loss, auxiliary)"
            )
        if output.dtype.kind != "f":
            cure = ": take its real part, or use vjp" if output.dtype.kind == "c" else ""
            raise InputError(f"{what} returned dtype {output.dtype}, but a gradient needs a floating-point scalar{cure}")
    elif not isinstance(output, (int, float)) or isinstance(output, bool):
        hint = ": use has_aux=True if it returns (loss, auxiliary)" if isinstance(output, tuple) else ""
        raise InputError(f"{what} returned {type(output).__name__}, but a gradient needs a scalar{hint}")


def positions(argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    """Return the argument positions to differentiate. Raises `InputError` for one that is not there."""
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for position in wanted:
        if not isinstance(position, int) or not -count <= position < count:
            raise InputError(f"argnums={argnums} names argument {position}, but the call has {count} positional arguments")
    return tuple(position % count for position in wanted)


def as_float_array(leaf: Any) -> Any:
    """Return a Python float or complex as a NumPy scalar, anything else as it is."""
    return np.float64(leaf) if type(leaf) is float else np.complex128(leaf) if type(leaf) is complex else leaf


def trace_arguments(tape: Tape, args: tuple, argnums: tuple[int, ...]) -> tuple[list, list[Array], list[list], list]:
    """Return the arguments with traced leaves in place, the traced leaves, the leaves by argument and the definitions."""
    traced = list(args)
    arrays: list[Array] = []
    leaves_of: list[list] = []
    definitions: list = []
    for position in argnums:
        leaves, treedef = check_leaves(args[position], f"argument {position}")
        leaves = [as_float_array(leaf) for leaf in leaves]
        boxes = [Array(tape, tape.input(leaf), None if tape.keeper is not None else leaf) for leaf in leaves]
        traced[position] = trees.unflatten(treedef, list(boxes))
        arrays.extend(boxes)
        leaves_of.append(leaves)
        definitions.append(treedef)
    return traced, arrays, leaves_of, definitions


def untraced(tree: Any, tape: Tape) -> Any:
    """Return `tree` with the traced arrays of `tape` replaced by their values."""
    leaves, treedef = trees.flatten(tree)
    leaves = [
        (plain(leaf) if tape.keeper is not None else leaf._value) if type(leaf) is Array and leaf._tape is tape else leaf
        for leaf in leaves
    ]
    return trees.unflatten(treedef, leaves)


def run_reverse(tape: Tape, seeds: dict[int, Any], arrays_in: list[int], primals: list) -> list:
    """Return finished gradients for the input slots `arrays_in` of a tape without a keeper."""
    sums = pull(tape, seeds, tape.values, np.zeros)
    seen = {id(g) for g in seeds.values()}  # a cotangent may be the caller's array: never handed back as a gradient
    return [finished(sums[slot], value, seen) for slot, value in zip(arrays_in, primals, strict=True)]


def vjp(f: Callable, *args: Any, has_aux: bool = False) -> tuple:
    """Return ``(output, pullback)`` or ``(output, pullback, aux)``; `pullback(cotangent)` gives one cotangent per argument.

    Every argument is differentiated; outputs may be nested containers of arrays of any shape. The pullback may be
    called again, also inside another transform. Raises `InputError` for arguments that have no derivative and for a
    cotangent that does not fit the output.

    >>> import numpy as np, retape as rt
    >>> y, pullback = rt.vjp(lambda a, b: a * b, 3.0, 4.0)
    >>> [float(g) for g in pullback(1.0)]
    [4.0, 3.0]
    """
    tape = Tape()
    argnums = tuple(range(len(args)))
    traced, arrays, leaves_of, definitions = trace_arguments(tape, args, argnums)
    slots = [array._slot for array in arrays]
    try:
        output = f(*traced)
        aux = None
        if has_aux:
            output, aux = split_aux(output, has_aux)
            aux = untraced(aux, tape)
        outputs, treedef = trees.flatten(output)
        ends = [leaf._slot if type(leaf) is Array and leaf._tape is tape else None for leaf in outputs]
        value = untraced(output, tape)
    finally:
        tape.close()
    shapes = [(np.shape(leaf), leaf.dtype if hasattr(leaf, "dtype") else np.dtype(float)) for leaf in outputs]
    primals = [leaf for leaves in leaves_of for leaf in leaves]

    def pullback(cotangent: Any) -> tuple:
        cotangents, given = trees.flatten(cotangent)
        if len(cotangents) != len(outputs):
            raise InputError(f"the cotangent has {len(cotangents)} leaves, the output {len(outputs)}: {given} for {treedef}")
        if given != treedef:
            raise InputError(f"the cotangent is built as {given}, the output as {treedef}: give it the output's containers")
        seeds: dict[int, Any] = {}
        for end, g, (shape, dtype) in zip(ends, cotangents, shapes, strict=True):
            if np.shape(g) != shape:
                raise InputError(f"a cotangent has shape {np.shape(g)}, its output {shape}")
            if end is None:
                continue
            g = g.astype(dtype) if type(g) is Array else np.asarray(g, dtype)
            seeds[end] = seeds[end] + g if end in seeds else g
        gradients = iter(run_reverse(tape, seeds, slots, primals))
        return tuple(
            trees.unflatten(definition, [next(gradients) for _ in leaves])
            for definition, leaves in zip(definitions, leaves_of, strict=True)
        )

    return (value, pullback, aux) if has_aux else (value, pullback)


def plain_value_and_grad(f: Callable, args: tuple, argnums: int | Sequence[int], has_aux: bool, keywords: dict) -> tuple:
    """Return ``(value, aux, gradients)`` of a scalar function, all residuals held; gradients as `argnums` asks."""
    wanted = positions(argnums, len(args))
    tape = Tape()
    traced, arrays, leaves_of, definitions = trace_arguments(tape, args, wanted)
    slots = [array._slot for array in arrays]
    del arrays
    try:
        output = f(*traced, **keywords)
        del traced
        output, aux = split_aux(output, has_aux)
        check_scalar(output)
        if type(output) is Array and output._tape is tape:
            value = output._value
            seeds = {output._slot: np.ones((), output.dtype)} if tape.active[output._slot] else {}
        else:
            value, seeds = output, {}
        aux = untraced(aux, tape)
        del output
    finally:
        tape.close()
    primals = [leaf for leaves in leaves_of for leaf in leaves]
    gradients = iter(run_reverse(tape, seeds, slots, primals))
    return value, aux, assemble(gradients, leaves_of, definitions, argnums)


def split_aux(output: Any, has_aux: bool) -> tuple[Any, Any]:
    """Return ``(loss, auxiliary)``. Raises `InputError` when has_aux is set and there are not two outputs."""
    if not has_aux:
        return output, None
    if not isinstance(output, tuple) or len(output) != 2:
        raise InputError(f"has_aux=True needs a function that returns (loss, auxiliary), not {type(output).__name__}")
    return output


def assemble(gradients: Any, leaves_of: list[list], definitions: list, argnums: int | Sequence[int]) -> Any:
    """Return gradients in the containers of their arguments: one for an integer `argnums`, else a tuple."""
    gradients = iter(gradients)
    made = tuple(
        trees.unflatten(definition, [next(gradients) for _ in leaves])
        for definition, leaves in zip(definitions, leaves_of, strict=True)
    )
    return made[0] if isinstance(argnums, int) else made


def record(f: Callable, *args: Any) -> Tape:
    """Return the tape of ``f(*args)``: run once on the arguments' values, every call listed; `print` shows it as code.

    >>> import numpy as np, retape as rt
    >>> print(rt.record(lambda x: np.sin(x) * 2.0, 1.0))  # doctest: +ELLIPSIS
    v0 = input()  # f8[]
    v1 = sin(v0)  # f8[], 8 bytes...
    """
    keeper = _Everything()
    tape = Tape(keeper)
    keeper.tape = tape
    traced = []
    for arg in args:
        leaves, treedef = trees.flatten(arg)
        boxes = []
        for leaf in leaves:
            is_float = isinstance(leaf, (float, complex)) or getattr(getattr(leaf, "dtype", None), "kind", "") in ("f", "c")
            leaf = as_float_array(leaf)
            boxes.append(Array(tape, tape.input(leaf), None) if is_float else leaf)
        traced.append(trees.unflatten(treedef, boxes))
    try:
        output = f(*traced)
        tape.outputs = [leaf._slot for leaf in trees.flatten(output)[0] if type(leaf) is Array and leaf._tape is tape]
    finally:
        tape.close()
        tape.keeper = ShapesOnly()
    return tape


class _Everything(ShapesOnly):
    """The keeper behind `record`: computes every call at once and holds its output while recording."""

    tape: Tape

    def admit(self, call: int) -> None:
        """Compute the call."""
        op, inputs, parameters, output = self.tape.calls[call]
        values = self.tape.values
        values[output] = op.run(*(values[slot] for slot in inputs), **(parameters or {}))

    def value(self, slot: int) -> Any:
        """Return the value in `slot`."""
        return self.tape.values[slot]


def checkpoint(f: Callable) -> Callable:
    """Return `f` with its residuals dropped after the forward sweep and computed again in the reverse sweep.

    Works by replaying the recorded calls, so closures, random numbers drawn in `f` and nesting are right. Under a
    `memory_budget` the plan decides by itself and the mark has no effect.

    >>> import numpy as np, retape as rt
    >>> float(rt.grad(rt.checkpoint(lambda x: np.sin(np.sin(x))))(0.0))
    1.0
    """

    @functools.wraps(f)
    def checkpointed(*args: Any, **keywords: Any) -> Any:
        leaves, _ = trees.flatten((args, keywords))
        tapes = {leaf._tape for leaf in leaves if type(leaf) is Array}
        tape = max(tapes, key=lambda t: t.level, default=None)
        if tape is None or tape.keeper is not None or tape.region is not None:
            return f(*args, **keywords)
        start, first = len(tape.calls), len(tape.values)
        tape.region = first
        try:
            return f(*args, **keywords)
        finally:
            tape.region = None
            if len(tape.calls) > start:
                tape.regions.append((start, len(tape.calls), first))

    return checkpointed
