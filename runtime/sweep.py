"""The reverse sweep over a recorded program: cotangents of a tape's inputs from those of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .rules import fetch, fitted
from .tape import Tape


def pull(tape: Tape, cotangents: dict[int, Any], handle: Callable, zeros: Callable, *, last: int) -> list:
    """Return the cotangents of all slots (None where nothing arrived) of `tape`, from its call number `last` - 1 back.

    `cotangents` seeds output slots; `handle(slot)` gives what a rule may read of a slot; `zeros(shape, dtype)` makes an
    accumulator for rules that scatter.
    """
    active, shapes, dtypes = tape.active, tape.shapes, tape.dtypes
    sums: list[Any] = [None] * len(tape.shapes)
    for slot, g in cotangents.items():
        sums[slot] = g if sums[slot] is None else sums[slot] + g
    inputs_of_tape = set(tape.inputs)
    for number in range(last - 1, -1, -1):
        op, inputs, parameters, output = tape.calls[number]
        g = sums[output]
        if g is None:
            continue
        if output not in inputs_of_tape:
            sums[output] = None
        tape.site = tape.lines[number]  # the user wrote the forward op
        if op.pull is not None:
            op.pull(tape, (op, inputs, parameters, output), g, sums, handle)
            continue
        for position, rule in op.steps(tuple([bool(active[slot]) for slot in inputs])):
            slot = inputs[position]
            arguments = fetch(rule, position, [handle(s) for s in inputs], handle(output), parameters) if rule.reads else ()
            total = sums[slot]
            if rule.adds:
                if total is None:
                    total = zeros(shapes[slot], dtypes[slot])
                sums[slot] = rule.function(total, g, *arguments)
                continue
            share = fitted(rule.function(g, *arguments), shapes[slot], dtypes[slot], rule)
            sums[slot] = share if total is None else total + share
    tape.site = None
    return sums
