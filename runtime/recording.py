"""record: the tape of a function, for reading and for graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import trees
from .arguments import is_differentiable_leaf, trace_leaf
from .array import Array
from .tape import ShapesOnly, Tape


def record(f: Callable, *args: Any) -> Tape:
    """Return the tape of ``f(*args)``: run once on the arguments' values, every call listed; `print` shows it as code.

    >>> import numpy as np, retape as rt
    >>> print(rt.record(lambda x: np.sin(x) * 2.0, 1.0))  # doctest: +ELLIPSIS
    v0 = input()            # f8[]  8 B
    v1 = sin(v0)            # f8[]  8 B...
    v3 = multiply(v1, 2.0)  # f8[]  8 B
    return v3
    """
    keeper = _Everything()
    tape = Tape(keeper)
    keeper.tape = tape
    with tape:
        traced = []
        for arg in args:
            leaves, treedef = trees.flatten(arg)
            boxes = [trace_leaf(tape.input, leaf) if is_differentiable_leaf(leaf) else leaf for leaf in leaves]
            traced.append(trees.unflatten(treedef, boxes))
        output = f(*traced)
        tape.outputs = [leaf._slot for leaf in trees.flatten(output)[0] if type(leaf) is Array and leaf._level is tape]
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
