"""What a loop does and what its steps must keep: the items, the form of the carry, and the stacked outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import trees
from ..arguments import as_scalar_array
from ..array import Array
from ..errors import InputError


@dataclass(frozen=True, eq=False, slots=True)
class Body:
    """``step(carry, item)`` returns the next carry and an output; `name` is what errors call the loop.

    The items are the rows of `xs` (leaves and their definition) or, where there are none, the numbers from `start` on.
    There are `length` of them, or as many as `condition(carry)` says.
    """

    name: str
    step: Callable
    xs: list
    xs_tree: Any
    length: int | None = None
    condition: Callable | None = None
    start: int = 0

    def item(self, number: int, rows: list) -> Any:
        """Return what step `number` gets beside the carry; `rows` are its rows of the xs."""
        return trees.unflatten(self.xs_tree, rows) if self.xs_tree is not None else self.start + number


@dataclass(frozen=True, eq=False, slots=True)
class Form:
    """The containers, shapes and dtypes of a carry, which no step may change."""

    name: str
    treedef: Any
    kinds: list[tuple]

    def tree(self, leaves: list) -> Any:
        """Return the carry with these leaves."""
        if self.treedef is trees.LEAF:
            return leaves[0]
        return trees.unflatten(self.treedef, leaves)

    def split(self, made: Any, number: int) -> tuple[list, Any]:
        """Return the leaves of the next carry and the output, of what a step has returned.

        Raises `InputError` where it is no pair, or where the carry has other containers, shapes or dtypes than before.
        """
        if not isinstance(made, tuple) or len(made) != 2:
            raise InputError(f"a step of {self.name} must return (carry, output), not {type(made).__name__}")
        leaves, treedef = flat(made[0])
        if treedef != self.treedef:
            raise InputError(
                f"step {number} of {self.name} was given a carry built as {self.treedef} and returned one built as {treedef}"
            )
        leaves = [as_scalar_array(leaf) for leaf in leaves]
        kinds = [kind_of(leaf) for leaf in leaves]
        if kinds != self.kinds:
            paths = trees.flatten_with_paths(made[0])[0]
            at = next(k for k, kind in enumerate(kinds) if kind != self.kinds[k])
            raise InputError(
                f"step {number} of {self.name} changed carry{paths[at]} from {described(self.kinds[at])} to "
                f"{described(kinds[at])}: start the loop with the shape and dtype that its step returns"
            )
        return leaves, made[1]


_NOTHING = trees.flatten(None)[1]


def flat(tree: Any) -> tuple[list, Any]:
    """Do as `trees.flatten`; in no time for one array and for None, which most steps return."""
    kind = type(tree)
    if kind is Array or kind is np.ndarray:
        return [tree], trees.LEAF
    return ([], _NOTHING) if tree is None else trees.flatten(tree)


def form_of(name: str, carry: Any) -> tuple[Form, list]:
    """Return the form of a loop's first carry, and its leaves."""
    leaves, treedef = flat(carry)
    leaves = [as_scalar_array(leaf) for leaf in leaves]
    return Form(name, treedef, [kind_of(leaf) for leaf in leaves]), leaves


def copied(leaf: Any) -> Any:
    """Return a plain array as one of the loop's own, which its steps may write into; anything else as it is."""
    return leaf.copy() if type(leaf) is np.ndarray else leaf


def kind_of(leaf: Any) -> tuple:
    """Return the shape and dtype of an array; of anything else, its type."""
    if isinstance(leaf, (Array, np.ndarray, np.generic)):
        return leaf.shape, leaf.dtype
    return (), type(leaf)


def described(kind: tuple) -> str:
    """Return a kind in words."""
    shape, dtype = kind
    return f"{dtype}{list(shape)}" if isinstance(dtype, np.dtype) else f"a {dtype.__name__}"


class Outputs:
    """The outputs of a loop's steps, gathered into one array for each leaf; its first axis counts the steps."""

    def __init__(self, name: str, length: int | None) -> None:
        self.name = name
        self.length = length
        self.treedef: Any = _NOTHING
        self._kinds: list[tuple] = []
        self._piles: list[Any] = []

    def add(self, number: int, values: list, treedef: Any) -> None:
        """Take in the output of step `number`. Raises `InputError` where it is built otherwise than the first."""
        kinds = [(value.shape, value.dtype) for value in values]
        if number == 0:
            self.treedef, self._kinds = treedef, kinds
            self._piles = [
                [] if type(value) is Array or self.length is None else np.empty((self.length, *value.shape), value.dtype)
                for value in values
            ]
        elif treedef != self.treedef or kinds != self._kinds:
            raise InputError(
                f"step {number} of {self.name} returned an output of {[described(kind) for kind in kinds]}, step 0 one of "
                f"{[described(kind) for kind in self._kinds]}: outputs are stacked, so all must be alike"
            )
        for k, value in enumerate(values):
            pile = self._piles[k]
            if type(value) is Array and type(pile) is np.ndarray:
                pile = self._piles[k] = list(pile[:number])
            if type(pile) is list:
                pile.append(value)
            else:
                pile[number] = value

    def leaves(self) -> list:
        """Return the stacked leaves."""
        return [np.stack(pile) if type(pile) is list else pile for pile in self._piles]
