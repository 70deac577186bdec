"""The region: calls whose results are dropped when they end, and which are run again when the reverse sweep comes by."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import trees
from .arguments import trace_leaf
from .array import Array, apply, entered, traced
from .levels import Level
from .op import Op
from .trail import Trail, constant
from .writes import repoint


class Region(Level):
    """Stands in for a trail while a checkpointed function runs: notes its calls, holds only what comes from outside."""

    __slots__ = ("trail", "slots", "values", "calls", "active")

    def __init__(self, trail: Trail) -> None:
        super().__init__()
        self.trail = trail
        self.slots: list[int] = []  # of the trail's arrays that come in
        self.values: list[Any] = []
        self.calls: list[tuple[Op | Callable, tuple, dict | None]] = []
        self.active = bytearray()

    def is_active(self, array: Any) -> bool:
        """Tell whether a cotangent will reach an array."""
        return array._slot < 0 or bool(self.active[array._slot])

    def enter(self, array: Any) -> Array:
        """Return the array that stands inside for an active one of the trail."""
        for place, slot in enumerate(self.slots):
            if slot == array._slot:
                return traced(self, -1 - place, array._value)
        self.slots.append(array._slot)
        self.values.append(array._value)
        return traced(self, -len(self.slots), array._value)

    def record(self, op: Op, args: Any, parameters: dict | None = None, *, gives_up: bool = False) -> Array:
        """Run `op` and note the call with its operands: places in the region, or constants."""
        places, values = self._places(args)
        y = apply(op, values, parameters)
        self.calls.append((op, places, parameters))
        mask = [type(p) is _Place and (p < 0 or bool(self.active[p])) for p in places]
        self.active.append(op.is_differentiable(mask))
        return traced(self, len(self.calls) - 1, y)

    def call(self, function: Callable, leaves: list) -> Any:
        """Note a call of a whole function, to be made again as such, and return its output: any container of arrays."""
        places, values = self._places(leaves)
        outputs, treedef = trees.flatten(function(*values))
        self.calls.append((lambda *args: trees.flatten(function(*args))[0], places, None))
        self.active.append(True)
        whole = _Place(len(self.calls) - 1)
        results = []
        for number, y in enumerate(outputs):
            if not isinstance(y, (Array, np.ndarray, np.generic)):
                results.append(y)
                continue
            self.calls.append((lambda made, number=number: made[number], (whole,), None))
            self.active.append(y.dtype.kind in "fc")
            results.append(traced(self, len(self.calls) - 1, y))
        return trees.unflatten(treedef, results)

    def _places(self, args: Any) -> tuple[tuple, list]:
        """Return where operands come from, places in the region or constants, and their values."""
        self.require_open()
        values = []
        places = []
        for a in args:
            if type(a) is Array and a._level is self.trail:
                a = self.enter(a) if a._slot is not None else a._value
            if type(a) is Array and a._level is self:
                values.append(a._value)
                places.append(_Place(a._slot))
            else:
                a = constant(a)
                self.trail.freeze(a)
                values.append(a)
                places.append(a)
        return tuple(places), values


class _Place(int):
    """The place of an operand in a region: negative for what came in, else the number of the call that made it."""


def _step_back(cotangents: dict[int, Any], sums: dict, region: Region, *_: Any) -> None:
    """Run the region's calls again on a trail of their own, and carry the cotangents of its results to what came in."""
    with Trail() as again:
        inside = [again.input(value) for value in region.values]
        made: list[Any] = []
        for op, places, parameters in region.calls:
            args = [(made[p] if p >= 0 else inside[-1 - p]) if type(p) is _Place else p for p in places]
            made.append(apply(op, args, parameters) if isinstance(op, Op) else op(*args))
        seeds: dict[int, Any] = {}
        for number, g in cotangents.items():
            result = made[number] if number >= 0 else inside[-1 - number]
            if type(result) is Array and result._level is again and result._slot is not None:
                seeds[result._slot] = seeds[result._slot] + g if result._slot in seeds else g
        del made
    # The inputs' cotangents so far go in and out, so that they add up in the order that they would without a region.
    for slot, array in zip(region.slots, inside, strict=True):
        if slot in sums:
            seeds[array._slot] = seeds[array._slot] + sums.pop(slot) if array._slot in seeds else sums.pop(slot)
    again.pull(seeds)
    for slot, array in zip(region.slots, inside, strict=True):
        if array._slot in seeds:
            sums[slot] = seeds.pop(array._slot)


def step_back_result(g: Any, sums: dict, place: tuple[int, int], *_: Any) -> None:
    """Hand the cotangent of one of a call's outputs to the call, which steps back through all of them at once."""
    slot, number = place
    found = sums.setdefault(slot, {})
    found[number] = found[number] + g if number in found else g


def checkpoint(f: Callable) -> Callable:
    """Return `f` with its residuals dropped after the forward sweep and computed again in the reverse sweep.

    Works by replaying the recorded calls, so closures, random numbers drawn in `f` and nesting are right. In forward mode
    and under a `memory_budget`, where the plan decides by itself, the mark has no effect.

    >>> import numpy as np, retape as rt
    >>> float(rt.grad(rt.checkpoint(lambda x: np.sin(np.sin(x))))(0.0))
    1.0
    """

    @functools.wraps(f)
    def checkpointed(*args: Any, **keywords: Any) -> Any:
        leaves, treedef = trees.flatten((args, keywords))
        leaves = [entered(leaf) for leaf in leaves]
        levels = {leaf._level for leaf in leaves if type(leaf) is Array}
        trail = max(levels, key=lambda level: level.level, default=None)
        if type(trail) is not Trail:
            return f(*args, **keywords)
        trail.require_open()
        with Region(trail) as region:
            inside = [
                trace_leaf(region.enter, leaf)
                if type(leaf) is Array and leaf._level is trail and leaf._slot is not None
                else leaf
                for leaf in leaves
            ]
            before = [getattr(leaf, "_slot", None) for leaf in inside]
            args, keywords = trees.unflatten(treedef, inside)
            output, out_tree = trees.flatten(f(*args, **keywords))
        slot = trail.add(_step_back, region, None)._slot

        def brought_out(leaf: Any) -> Any:
            if type(leaf) is Array and leaf._level is region:
                return trail.add(step_back_result, (slot, leaf._slot), leaf._value)
            return leaf

        results = [brought_out(leaf) for leaf in output]
        for leaf, given, place in zip(leaves, inside, before, strict=True):
            if given is not leaf and given._slot != place:  # `f` has written into its argument
                repoint(leaf, brought_out(given))
        return trees.unflatten(out_tree, results)

    return checkpointed
