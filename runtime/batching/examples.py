"""A function whose work depends on each example's numbers, run on one example at a time, and so its derivatives."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import trees
from ..arguments import is_differentiable_leaf
from ..array import Array, traced
from ..custom import Custom
from ..errors import BatchedValueError
from ..op import HOOKS
from ..transforms import jvp, pulled_back
from .level import Batch


def one_at_a_time(function: Callable, args: tuple, keywords: dict, error: BatchedValueError) -> Any:
    """Return the results of a function of NumPy on each example, stacked. They must be alike in shape.

    Raises `error` where there is no batch of examples among the arguments, or where an array that cannot hold the values of
    all of them is to be written.
    """
    target = args[0] if function in _WRITERS and args else None
    args, keywords, out = _without_out(function, args, keywords)
    written = target if target is not None else out
    if written is not None and type(written) is not Array:
        raise error
    if target is not None:
        args, function = (np.copy(target), *args[1:]), _returning(function)
    leaves = trees.flatten((args, keywords))[0]
    if not any(_has_batch(leaf) for leaf in leaves):
        raise error
    result = Each(function)(*args, **keywords)
    if target is not None:
        target[...] = result
        return None
    return result if out is None else HOOKS["write_out"](out, result, getattr(function, "__name__", "a function"))


HOOKS["one_at_a_time"] = one_at_a_time
_WRITERS = frozenset((np.copyto, np.put, np.place, np.putmask, np.put_along_axis, np.fill_diagonal))


def _returning(function: Callable) -> Callable:
    """Return a function that writes into its first argument as one that returns a new array."""

    def written(target: Any, *args: Any, **keywords: Any) -> Any:
        target = np.copy(target)
        function(target, *args, **keywords)
        return target

    return written


def _without_out(function: Callable, args: tuple, keywords: dict) -> tuple[tuple, dict, Any]:
    """Return the arguments without the array that the result is to be written into, and that array, if there is one."""
    out = keywords.get("out")
    if out is not None:
        rest = {name: value for name, value in keywords.items() if name != "out"}
        return args, rest, out[0] if isinstance(out, tuple) and len(out) == 1 else out
    try:
        bound = inspect.signature(function).bind(*args, **keywords)
    except (TypeError, ValueError):  # no signature, or wrong arguments, of which the function itself tells
        return args, keywords, None
    out = bound.arguments.get("out")
    if out is None:
        return args, keywords, None
    bound.arguments["out"] = None
    return bound.args, bound.kwargs, out


def _has_batch(leaf: Any) -> bool:
    while type(leaf) is Array:
        if leaf._level.is_batch:
            return True
        leaf = leaf._value
    return False


class Each(Custom):
    """A function for a batch of examples, called for one at a time; so are its derivatives, of any order.

    `traced` numbers the leaves of its arguments that may be differentiated; None until it is called.
    """

    def __init__(self, function: Callable, traced: frozenset[int] | None = None) -> None:
        super().__init__(function)
        self.traced = traced

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Return the results of all examples, stacked. Raises `BatchedValueError` where they differ in shape."""
        leaves, treedef = trees.flatten((args, keywords))
        level = max((leaf._level for leaf in leaves if type(leaf) is Array), key=lambda level: level.level, default=None)
        if not isinstance(level, Batch):
            if self.traced is None:
                return Each(self.function, frozenset(k for k, leaf in enumerate(leaves) if type(leaf) is Array))(
                    *args, **keywords
                )
            return super().__call__(*args, **keywords)
        level.require_open()
        if not level.size:
            raise BatchedValueError(f"{_name(self.function)} is called for one example at a time, and vmap was given none")
        rows = []
        for k in range(level.size):
            example_args, example_keywords = trees.unflatten(treedef, [_example(leaf, level, k) for leaf in leaves])
            rows.append(trees.flatten(self.function(*example_args, **example_keywords)))
        columns = zip(*(row for row, _ in rows), strict=True)
        return trees.unflatten(rows[0][1], [_joined(level, column, self.function) for column in columns])

    def _value_and_pull(self, values: list, treedef: Any, *, is_nested: bool) -> tuple[Any, Callable]:
        args, keywords = trees.unflatten(treedef, values)
        assert self.traced is not None
        wanted = [k for k, value in enumerate(values) if k in self.traced and is_differentiable_leaf(value)]

        def pulled(cotangent: Any, *given: Any) -> Any:
            return pulled_back(self._of(given, wanted, treedef), *(given[k] for k in wanted))[1](cotangent)

        def pull(cotangent: Any) -> list:
            found = dict(zip(wanted, Each(pulled)(cotangent, *values), strict=True))
            return [found.get(k) for k in range(len(values))]

        return self(*args, **keywords), pull

    def _value_and_push(self, values: list, tangents: list, treedef: Any) -> tuple[Any, Any]:
        assert self.traced is not None
        wanted = [k for k, tangent in enumerate(tangents) if k in self.traced and tangent is not None]

        def pushed(directions: list, *given: Any) -> Any:
            return jvp(self._of(given, wanted, treedef), [given[k] for k in wanted], directions)

        return Each(pushed)([tangents[k] for k in wanted], *values)

    def _of(self, given: tuple, wanted: list[int], treedef: Any) -> Callable:
        """Return the function of the arguments numbered in `wanted` alone."""

        def of(*chosen: Any) -> Any:
            filled = dict(enumerate(given)) | dict(zip(wanted, chosen, strict=True))
            args, keywords = trees.unflatten(treedef, list(filled.values()))
            return self.function(*args, **keywords)

        return of


def _example(leaf: Any, level: Batch, k: int) -> Any:
    """Return what an argument is for example `k`: its own, to be overwritten, or shared, which cannot be written."""
    if type(leaf) is Array:
        if leaf._level is not level:
            return leaf
        value = leaf._slot[k]
        return value.copy() if type(value) is np.ndarray else value
    if type(leaf) is np.ndarray:
        leaf = leaf.view()
        leaf.flags.writeable = False
    return leaf


def _joined(level: Batch, results: tuple, function: Callable) -> Any:
    """Return the results of all examples as one value of the batch; what is no number, as the first example has it."""
    if not isinstance(results[0], (Array, np.ndarray, np.generic, int, float, complex)):
        return results[0]
    shapes = {np.shape(result) for result in results}
    if len(shapes) > 1:
        raise BatchedValueError(
            f"{_name(function)} has results of different shapes for the examples of a batch "
            f"({', '.join(map(str, sorted(shapes)))}): mask with np.where(condition, a, b) instead of choosing, or call the "
            "function on one example at a time"
        )
    return traced(level, np.stack(results), None)  # pyright: ignore


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", getattr(function, "__name__", "a function"))
