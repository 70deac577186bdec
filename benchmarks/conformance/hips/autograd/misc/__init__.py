"""flatten and const_graph, by retape's trees and tape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import retape as rt
from retape.runtime import trees

from .. import numpy as anp

__all__ = ["const_graph", "flatten"]


def flatten(value: Any) -> tuple[Any, Callable]:
    """Return all leaves as one vector, and the function that builds the value again."""
    leaves, treedef = trees.flatten(value)
    shapes = [np.shape(leaf) for leaf in leaves]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes], dtype=int)
    vector = np.concatenate([np.ravel(anp.array(leaf)) for leaf in leaves]) if leaves else np.zeros(0)

    def unflatten(vector: Any) -> Any:
        parts = zip(np.split(vector, ends[:-1]), shapes, strict=True) if shapes else ()
        return trees.unflatten(treedef, [np.reshape(part, shape) for part, shape in parts])

    return vector, unflatten


def const_graph(fun: Callable, *args: Any, **keywords: Any) -> Callable:
    """Return `fun` recorded at its first call and replayed at every later one."""
    recorded: list[Any] = []

    def replayed(*rest: Any) -> Any:
        if not recorded:
            tape = rt.record(lambda *inner: fun(*args, *inner, **keywords), *rest)
            recorded.append(tape)
            return tape.values[tape.outputs[0]]
        tape = recorded[0]
        values = list(tape.values)
        depends = [False] * len(values)
        for slot, value in enumerate(rest):
            values[slot], depends[slot] = np.float64(value), True
        for op, inputs, parameters, output in tape.calls:
            if any(depends[slot] for slot in inputs):
                values[output] = op.run(*(values[slot] for slot in inputs), **(parameters or {}))
                depends[output] = True
        return values[tape.outputs[0]]

    return replayed
