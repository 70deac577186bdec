"""Fences: where the program reads a number, to branch on it or to index by it, everything before is made before what follows.

A planner may make values in any order that the wiring allows, and leave out what no output depends on. What the program
reads while it runs must be there when it reads it, so a read is made an input of what follows it. It has no bytes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from .hoisting import hoisted_values
from .program import Program


def fenced(program: Program, reads: Collection[int]) -> Program:
    """Return the program in which no value is made before a read of the forward sweep that it comes after.

    `reads` are values of no bytes. Only values that follow nothing else behind the read get it as an input: what reads
    them is behind it by then. Hoisted values (see `hoisting`) stay free.

    >>> program = Program(outputs=(3,), forward=3)
    >>> for size, inputs in ((8, ()), (0, (0,)), (8, ()), (8, (2,))):
    ...     _ = program.add(size, inputs)
    >>> fenced(program, {1}).inputs
    [(), (0,), (1,), (2,)]
    """
    if not reads:
        return program
    free = hoisted_values(program)
    inputs = [*program.inputs]
    last, is_read_again = -1, True
    for v in range(len(program)):
        if v in free:
            continue
        if last >= 0 and not any(u > last and u not in free for u in inputs[v]):
            inputs[v] = (*inputs[v], last)
            is_read_again = True
        if v in reads:
            last, is_read_again = v, False
    outputs = program.outputs if is_read_again else (*program.outputs, last)
    return replace(program, inputs=inputs, outputs=outputs)
