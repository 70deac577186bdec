"""The arguments and outputs of a transform: checked, given traced arrays for their leaves, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from . import trees
from .array import Array, plain
from .errors import DisconnectedError, InputError
from .levels import Level
from .python_numbers import as_python_number, is_python_number
from .views import as_given

_HINT = "differentiate with respect to arrays of float16, float32, float64, complex64, complex128 or Python floats"


def is_differentiable_leaf(leaf: Any) -> bool:
    """Tell whether a leaf is an array or a number of a floating-point or complex type."""
    if isinstance(leaf, (Array, np.ndarray, np.generic)):
        return leaf.dtype.kind in "fc"
    return isinstance(leaf, (float, complex))


def check_function(f: Any) -> None:
    """Raise `InputError` for what cannot be called, and so has no gradient."""
    if not callable(f):
        raise InputError(f"a gradient is taken of a function, not of {type(f).__name__}")


def check_leaves(tree: Any, what: str, *, allow_int: bool = False) -> tuple[list, Any]:
    """Return the leaves of an argument to differentiate and its definition.

    Raises `InputError` naming the path of a leaf that is not a floating-point (or complex) array or number; with
    `allow_int`, integers and truths pass.
    """
    if type(tree) is np.ndarray and tree.dtype.kind in "fc":
        return [tree], trees.LEAF
    leaves, treedef = trees.flatten(tree)
    if not all(is_differentiable_leaf(leaf) for leaf in leaves):
        paths, leaves, treedef = trees.flatten_with_paths(tree)
        for path, leaf in zip(paths, leaves, strict=True):
            _check_leaf(leaf, what + path, allow_int)
    if not leaves:
        raise InputError(f"{what} holds no arrays to differentiate")
    return leaves, treedef


def _check_leaf(leaf: Any, what: str, allow_int: bool) -> None:
    if is_differentiable_leaf(leaf):
        return
    kind = leaf.dtype if isinstance(leaf, (Array, np.ndarray, np.generic)) else None
    is_integer = isinstance(leaf, int) or kind is not None and kind.kind in "iub"
    if is_integer and allow_int:
        return
    name = f"{type(leaf).__name__} of dtype {kind}" if kind is not None else type(leaf).__name__
    cure = f"convert it to float, leave it out with argnums=, or say allow_int=True; {_HINT}" if is_integer else _HINT
    if what.rpartition(".")[2].isidentifier():  # a field of a dataclass
        cure += '; a field that is no parameter may be marked static: dataclasses.field(metadata={"static": True})'
    raise InputError(f"{what} is {name}, which has no derivative: {cure}")


def as_scalar_array(leaf: Any) -> Any:
    """Return a Python float or complex as a NumPy scalar, anything else as it is."""
    return np.float64(leaf) if type(leaf) is float else np.complex128(leaf) if type(leaf) is complex else leaf


def trace_leaf(trace: Callable[..., Array], leaf: Any, *more: Any) -> Array:
    """Return the traced array of an argument: ``trace(value, *more)``, noted to be what the argument is in NumPy."""
    array = as_given(trace(as_scalar_array(leaf), *more), leaf)
    return as_python_number(array) if is_python_number(leaf) else array


def check_scalar(output: Any, what: str = "the function") -> None:
    """Raise `InputError` unless a loss is a real floating-point scalar."""
    if type(output) is Array and output._level.closed:
        output._level.require_open()
    if isinstance(output, (Array, np.ndarray, np.generic)):
        if output.shape != ():
            raise InputError(
                f"{what} returned an array of shape {output.shape}, but a gradient needs a scalar: reduce it (np.sum, "
                "np.mean), use vjp or jacobian for arrays, or has_aux=True if it returns (loss, auxiliary)"
            )
        if output.dtype.kind != "f":
            cure = ": take its real part, or use vjp" if output.dtype.kind == "c" else ""
            raise InputError(f"{what} returned dtype {output.dtype}, but a gradient needs a floating-point scalar{cure}")
    elif not isinstance(output, (int, float)) or isinstance(output, bool):
        hint = ": use has_aux=True if it returns (loss, auxiliary)" if isinstance(output, tuple) else ""
        raise InputError(f"{what} returned {type(output).__name__}, but a gradient needs a scalar{hint}")


def check_outputs(output: Any) -> tuple[list, Any]:
    """Return the leaves of an output and its definition. Raises `InputError` naming the path of one that is no number."""
    leaves, treedef = trees.flatten(output)
    if all(_is_numeric(leaf) for leaf in leaves):
        return leaves, treedef
    paths, leaves, treedef = trees.flatten_with_paths(output)
    path, leaf = next((p, v) for p, v in zip(paths, leaves, strict=True) if not _is_numeric(v))
    name = type(leaf).__name__ + (f" of dtype {leaf.dtype}" if hasattr(leaf, "dtype") else "")
    raise InputError(
        f"the function's output{path} is {name}, which has no derivative: return arrays and numbers, and the rest as "
        "auxiliary output with has_aux=True"
    )


def _is_numeric(leaf: Any) -> bool:
    kind = getattr(leaf, "dtype", None)
    return isinstance(leaf, (int, float, complex)) if kind is None else getattr(kind, "kind", "") in tuple("fciub")


def positions(argnums: int | Sequence[int], count: int) -> tuple[int, ...]:
    """Return the argument positions to differentiate. Raises `InputError` for one that is not there."""
    wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for position in wanted:
        if not isinstance(position, int) or not -count <= position < count:
            raise InputError(f"argnums={argnums} names argument {position}, but the call has {count} positional arguments")
    return tuple(position % count for position in wanted)


class Arguments:
    """A call's arguments with traced arrays for the leaves to differentiate by.

    `traced` is what the function is called with, `arrays` the traced leaves in order, `leaves` all leaves of the chosen
    arguments (those that pass untraced, integers, included).
    """

    def __init__(
        self, args: tuple, argnums: int | Sequence[int], trace: Callable[[Any], Array], *, allow_int: bool = False
    ) -> None:
        self.args = args
        self.argnums = argnums
        self.wanted = positions(argnums, len(args))
        self.traced = list(args)
        self.arrays: list[Array] = []
        self.leaves: list[list] = []
        self.definitions: list[Any] = []
        checked = [check_leaves(args[k], f"argument {k}", allow_int=allow_int) for k in self.wanted]
        for position, (leaves, treedef) in zip(self.wanted, checked, strict=True):
            boxes = [trace_leaf(trace, leaf) if is_differentiable_leaf(leaf) else leaf for leaf in leaves]
            self.traced[position] = trees.unflatten(treedef, list(boxes))
            self.arrays += [box for box in boxes if type(box) is Array and box is not None]
            self.leaves.append([as_scalar_array(leaf) for leaf in leaves])
            self.definitions.append(treedef)

    def primals(self) -> list:
        """Return the values of the traced leaves."""
        return [leaf for leaves in self.leaves for leaf in leaves if is_differentiable_leaf(leaf)]

    def path(self, number: int) -> str:
        """Return where the traced leaf of this number stands, such as ``argument 0['weights'][1]``."""
        for position in self.wanted:
            paths, leaves, _ = trees.flatten_with_paths(self.args[position])
            for path, leaf in zip(paths, leaves, strict=True):
                if is_differentiable_leaf(leaf):
                    if number == 0:
                        return f"argument {position}{path}"
                    number -= 1
        return f"input {number}"

    def require_connected(self, number: int) -> None:
        """Raise `DisconnectedError` for the traced leaf of this number."""
        raise DisconnectedError(
            f"the output does not depend on {self.path(number)}: take it out of what is differentiated, or say "
            "disconnected='zeros' for a gradient of zeros"
        )

    def assemble(self, gradients: Iterable) -> Any:
        """Return gradients of the traced leaves in the containers of their arguments, as `argnums` asks.

        Integers that passed untraced have zeros of their own dtype.
        """
        rest = iter(gradients)
        made = tuple(
            trees.unflatten(
                definition, [next(rest) if is_differentiable_leaf(leaf) else np.zeros_like(leaf) for leaf in leaves]
            )
            for definition, leaves in zip(self.definitions, self.leaves, strict=True)
        )
        return made[0] if isinstance(self.argnums, int) else made


def check_disconnected(choice: str) -> None:
    """Raise `ValueError` for an unknown choice of what to do about arguments that the output does not depend on."""
    if choice not in ("zeros", "error"):
        raise ValueError(f"disconnected={choice!r} is none of: 'zeros', 'error'")


def split_aux(output: Any, has_aux: bool) -> tuple[Any, Any]:
    """Return ``(loss, auxiliary)``. Raises `InputError` when has_aux is set and there are not two outputs."""
    if not has_aux:
        return output, None
    if not isinstance(output, tuple) or len(output) != 2:
        raise InputError(f"has_aux=True needs a function that returns (loss, auxiliary), not {type(output).__name__}")
    return output


def untraced(tree: Any, level: Level) -> Any:
    """Return `tree` with the traced arrays of `level` replaced by their values.

    Raises `EscapedError` for an array of a transform that has ended: what depends on it would have no gradient.
    """
    leaves, treedef = trees.flatten(tree)
    for leaf in leaves:
        if type(leaf) is Array and leaf._level is not level:
            leaf._level.require_open()
    leaves = [
        (plain(leaf) if level.keeper is not None else leaf._value) if type(leaf) is Array and leaf._level is level else leaf
        for leaf in leaves
    ]
    return trees.unflatten(treedef, leaves)


def finished(g: Any, value: Any, seen: set[int]) -> Any:
    """Return a cotangent as a gradient: an array of its own, writable, of the primal's shape and dtype."""
    if g is None:
        return np.zeros(np.shape(value), np.result_type(value))
    if type(g) is Array:
        return g
    if g.dtype != value.dtype:  # of an array with swapped bytes, a sum of shares has them in this machine's order
        g = g.astype(value.dtype)
    if isinstance(g, np.ndarray) and (g.base is not None or not g.flags.writeable or id(g) in seen):
        g = np.array(g, order="C")
    seen.add(id(g))
    return g


def fit_to_output(tree: Any, outputs: list, treedef: Any, what: str, of: str) -> list:
    """Return the leaves of cotangents or tangents in the dtypes of `outputs`.

    Raises `InputError` where containers or shapes differ.
    """
    given, definition = trees.flatten(tree)
    if len(given) != len(outputs):
        raise InputError(f"the {what} has {len(given)} leaves, the {of} {len(outputs)}: {definition} for {treedef}")
    if definition != treedef:
        raise InputError(f"the {what} is built as {definition}, the {of} as {treedef}: give it the {of}'s containers")
    made = []
    for g, output in zip(given, outputs, strict=True):
        shape = getattr(output, "shape", ())
        dtype = getattr(output, "dtype", None) or np.result_type(output)
        if np.shape(g) != shape:
            raise InputError(f"a {what} has shape {np.shape(g)}, its {of} {shape}")
        kind = g.dtype.kind if isinstance(g, (Array, np.ndarray, np.generic)) else "c" if isinstance(g, complex) else "f"
        if kind == "c" and dtype.kind != "c":
            raise InputError(f"a {what} is complex, its {of} is of dtype {dtype}: take its real part")
        if kind not in "fciub":
            raise InputError(f"a {what} is of type {type(g).__name__}, not an array of numbers")
        made.append(g.astype(dtype) if type(g) is Array else np.asarray(g, dtype))
    return made
