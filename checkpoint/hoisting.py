"""Hoisting: small values of the reverse sweep that stand for large ones of the forward sweep, made as soon as these are.

The reverse of ``maximum(x, 0)`` reads `x` through ``x > 0`` and ``x == 0`` alone, a byte an element each. Made when `x` is
read, and not when the reverse sweep comes to them, they are all that is kept of it. The same operations read the same
operands, only earlier, so the bits are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .order import steps_of
from .program import Program
from .steps import Compute, Step


@dataclass(frozen=True, slots=True, eq=False)
class Hoisting:
    """A program in another order: `program` is what planners see, `order` tells which value of the given one each is."""

    program: Program
    order: tuple[int, ...]

    def steps_for(self, given: Program, steps: Iterable[Step]) -> tuple[Step, ...]:
        """Return the steps of the program that was `given` which compute what `steps` of this one do, in that order."""
        return steps_of(given, [self.order[step.value] for step in steps if type(step) is Compute])


def hoisted_values(program: Program) -> dict[int, int]:
    """Return the values of the reverse sweep that are worth making early, and the forward value before which each is made.

    They are the only ones in the reverse sweep to read some forward value, are together smaller than it, and read nothing
    of the reverse sweep but constants. They are made when that value is read for the last time in the forward sweep: no
    earlier, for they may read a constant that came with this very call.
    """
    forward, outputs = program.forward, frozenset(program.outputs)
    last_reader: dict[int, int] = {}
    readers: dict[int, list[int]] = {}
    for v in range(len(program)):
        for u in dict.fromkeys(program.inputs[v]):
            if v < forward:
                last_reader[u] = v
            else:
                readers.setdefault(u, []).append(v)
    before: dict[int, int] = {}
    for u, last in last_reader.items():
        found = readers.get(u, [])
        constants = {p for v in found for p in program.inputs[v] if p >= forward}
        made = {*found, *constants}
        if (
            found
            and sum(program.sizes[v] for v in found) < program.sizes[u]
            and outputs.isdisjoint((u, *made))
            and all(p < last for v in found for p in program.inputs[v] if p < forward)
            and all(not program.inputs[p] and made.issuperset(readers[p]) for p in constants)
        ):
            for v in made:
                before[v] = max(before.get(v, last), last)
    return before


def hoisting(program: Program) -> Hoisting | None:
    """Return the program with its hoisted values in the forward sweep; None where there are none.

    >>> program = Program(outputs=(4,), forward=2)
    >>> for size, inputs in ((80, ()), (80, (0,)), (8, ()), (10, (0,)), (80, (2, 3))):
    ...     _ = program.add(size, inputs)
    >>> hoisting(program).order
    (0, 3, 1, 2, 4)
    """
    before = hoisted_values(program)
    if not before:
        return None
    early: dict[int, list[int]] = {}
    for v in sorted(before):  # a constant comes before what reads it
        early.setdefault(before[v], []).append(v)
    order = [v for u in range(program.forward) for v in (*early.get(u, ()), u)]
    order += [v for v in range(program.forward, len(program)) if v not in before]
    place = {v: number for number, v in enumerate(order)}
    made = Program(
        outputs=tuple(place[v] for v in program.outputs),
        forward=program.forward + len(before),
        held_bytes=program.held_bytes,
    )
    for v in order:
        made.add(
            program.sizes[v],
            tuple(place[u] for u in program.inputs[v]),
            cost=program.costs[v],
            workspace=program.workspaces[v],
            overwrites=place[program.overwrites[v]] if program.overwrites[v] >= 0 else -1,
            label=program.labels[v],
            line=program.lines[v],
        )
    return Hoisting(made, tuple(order))
