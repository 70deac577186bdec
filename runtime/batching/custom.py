"""Functions with derivatives of the user's own, for a batch of examples: the rule is called once on all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import trees
from ..array import Array
from ..custom import Custom
from ..op import HOOKS
from .call import spread
from .level import Batch


def on_batch(custom: Custom, level: Batch, leaves: list, treedef: Any) -> Any:
    """Call a function with a rule on values of a batch. An outer transform that traces these gets the rule for them all."""
    is_batched = [type(leaf) is Array and leaf._level is level for leaf in leaves]
    values = [leaf._slot if mine else leaf for leaf, mine in zip(leaves, is_batched, strict=True)]
    if not any(type(value) is Array for value in values):
        args, keywords = trees.unflatten(treedef, leaves)
        return custom.function(*args, **keywords)
    outputs, out_tree = trees.flatten(OfAll(custom, level.size, is_batched, treedef)(*values))
    return trees.unflatten(out_tree, [level.input(y) for y in outputs])


HOOKS["custom_on_batch"] = on_batch


class OfAll(Custom):
    """A function with a rule, as one of all examples; it takes the leaves of the arguments, some with examples first."""

    def __init__(self, custom: Custom, size: int, is_batched: list[bool], treedef: Any) -> None:
        super().__init__(self._computed)
        self.custom = custom
        self.size = size
        self.is_batched = is_batched
        self.treedef = treedef

    def _computed(self, *values: Any) -> Any:
        with Batch(self.size) as level:
            args, keywords = trees.unflatten(self.treedef, self._entered(level, values))
            return _left(level, self.custom.function(*args, **keywords))

    def _entered(self, level: Batch, values: Any) -> list:
        pairs = zip(values, self.is_batched, strict=True)
        return [level.input(value) if is_batched and value is not None else value for value, is_batched in pairs]

    def _value_and_pull(self, values: list, treedef: Any, *, is_nested: bool) -> tuple[Any, Callable]:
        level = Batch(self.size)
        with level:
            output, pull_one = self.custom._value_and_pull(self._entered(level, values), self.treedef, is_nested=False)
            output = _left(level, output)

        def pull(cotangent: Any) -> list:
            with level:
                shares = pull_one(trees.map_leaves(level.input, cotangent))
                pairs = zip(shares, self.is_batched, strict=True)
                return [None if g is None else _share(level, g, is_batched) for g, is_batched in pairs]

        return self(*values) if is_nested else output, pull

    def _value_and_push(self, values: list, tangents: list, treedef: Any) -> tuple[Any, Any]:
        with Batch(self.size) as level:
            given = self._entered(level, values), self._entered(level, tangents)
            output, tangent = self.custom._value_and_push(*given, self.treedef)
            return _left(level, output), _left(level, tangent)


def _left(level: Batch, tree: Any) -> Any:
    """Return the values of all examples for those of one."""
    return trees.map_leaves(lambda leaf: _of_all(level, leaf), tree)


def _of_all(level: Batch, leaf: Any) -> Any:
    if type(leaf) is Array and leaf._level is level:
        return leaf._slot
    return spread(leaf if type(leaf) is Array else np.asarray(leaf), level.size)


def _share(level: Batch, g: Any, is_batched: bool) -> Any:
    """Return the cotangent of a leaf of all examples; of one that they share, those of all examples add up."""
    values = _of_all(level, g)
    return values if is_batched else np.sum(values, axis=0)
