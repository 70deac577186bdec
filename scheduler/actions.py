"""Actions: a plan's steps laid out flat, from which the executor runs them without looking anything up.

An action is a tuple of seven: its kind, what to call, the slots of the operands, the parameters, the slot of the result,
bytes, and what else the kind needs. Views get actions of their own: a view is made before its first reader and let go
with its base, so that a buffer that nobody reads any more really has no owner.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..checkpoint.program import Program
from ..checkpoint.steps import Compute, Drop, Load, Spill, Step
from ..runtime.primitives import is_opaque
from .buffers import owner_of, takes_buffer
from .lowering import Lowering

Action = tuple[int, Any, Any, Any, int, int, Any]

RUN, FREE, RUN_INTO, OVERWRITE, VIEW, LET_GO, HUSH, SPEAK, COMPARE, DELIVER, WRITE, READ, WAIT = range(13)


class Layout:
    """Turns steps over a lowering's values into actions, in the order in which they will be carried out.

    `runs` counts how often each value has been made; `views` are the slots of the views that exist, by their base's slot.
    """

    def __init__(self, lowering: Lowering, runs: list[int] | None = None) -> None:
        self.lowering = lowering
        self.runs = runs if runs is not None else []
        self.views: dict[int, list[int]] = {}
        self._viewed = bytearray()
        self._moving: dict[int, int] = {}  # WRITE or READ, by the slot of a value that is on its way to disk or from there

    def note_views(self, values: list[Any]) -> None:
        """Take in which views exist already; `values` are the arrays in memory, by slot."""
        aliases = self.lowering.tape.aliases
        self._viewed = bytearray(len(aliases))
        for slot, value in enumerate(values[: len(aliases)]):
            if aliases[slot] >= 0 and value is not None:
                self._viewed[slot] = 1
                self.views.setdefault(aliases[slot], []).append(slot)

    def actions(self, steps: Sequence[Step], gradients: Sequence[int] = ()) -> Iterator[Action]:
        """Yield the actions of `steps`. A recomputation is silent: what NumPy warns of, it has said the first time.

        `gradients` are slots that end up in memory: each is delivered by its number, once its value is there and read for
        the last time.
        """
        lowering, runs = self.lowering, self.runs
        tape, program = lowering.tape, lowering.program
        calls, outputs, aliases = tape.calls, tape.calls.outputs, tape.aliases
        self._viewed.extend(bytes(len(aliases) - len(self._viewed)))
        runs.extend([0] * (len(program) - len(runs)))
        is_hushed = False
        born, finished = landings(steps, program, [lowering.value(slot) for slot in gradients])
        for place, step in enumerate(steps):
            if place - 1 in finished:
                yield from self._delivered(finished[place - 1], gradients)
            if type(step) is Drop:
                slot = outputs[lowering.call_of[step.value]]
                yield from self._settled(slot)
                if slot in self.views:
                    yield self._let_go(slot)
                yield FREE, None, None, None, slot, program.sizes[step.value], None
                continue
            if type(step) is Spill or type(step) is Load:
                slot = outputs[lowering.call_of[step.value]]
                kind = self._moving[slot] = WRITE if type(step) is Spill else READ
                layout = tape.phantoms[slot]
                more = layout.shape, layout.dtype, "C" if layout.flags.c_contiguous else "F"
                yield kind, None, None, None, slot, program.sizes[step.value], more
                continue
            assert type(step) is Compute
            value, victim = step
            op, inputs, parameters, output = calls[lowering.call_of[value]]
            if (runs[value] > 0) is not is_hushed:
                is_hushed = not is_hushed
                yield (HUSH if is_hushed else SPEAK), None, None, None, 0, 0, None
            runs[value] += 1
            if self._moving:
                yield from self._read(inputs)
            for slot in inputs:
                if aliases[slot] >= 0 and not self._viewed[slot]:
                    yield from self.view(slot)
            size, workspace = program.sizes[value], program.workspaces[value]
            need = size + workspace
            layout = tape.phantoms[output]
            run = _owning(op.run) if op.is_view else op.run
            if victim >= 0:
                slot = outputs[lowering.call_of[victim]]
                yield from self._settled(slot)
                if slot in self.views:
                    yield self._let_go(slot)
                assert op.run_into is not None
                yield OVERWRITE, (run, op.run_into), inputs, parameters, output, need, (slot, workspace)
            elif takes_buffer(op, layout):
                assert op.run_into is not None
                more = size, layout.shape, layout.dtype, born.get(place, -1)
                yield RUN_INTO, (run, op.run_into), inputs, parameters, output, need, more
            else:
                yield RUN, run, inputs, parameters, output, need, None
            if is_opaque(op):
                yield COMPARE, op.name, None, None, output, 0, (program.lines[value], layout)
        if is_hushed:
            yield SPEAK, None, None, None, 0, 0, None
        if len(steps) - 1 in finished:
            yield from self._delivered(finished[len(steps) - 1], gradients)

    def _delivered(self, numbers: Iterable[int], gradients: Sequence[int]) -> Iterator[Action]:
        for number in numbers:
            yield from self._settled(gradients[number])
            yield DELIVER, None, None, None, gradients[number], 0, number

    def _read(self, slots: Iterable[int]) -> Iterator[Action]:
        """Yield the actions that wait for what a call reads, if that is on its way from disk."""
        aliases = self.lowering.tape.aliases
        for slot in slots:
            base = aliases[slot] if aliases[slot] >= 0 else slot
            if self._moving.get(base) == READ:  # what is being written may be read
                yield from self._settled(base)

    def _settled(self, slot: int) -> Iterator[Action]:
        if slot in self._moving:
            del self._moving[slot]
            yield WAIT, None, None, None, slot, 0, None

    def view(self, slot: int) -> Iterator[Action]:
        """Yield the actions that make a view, and first those that it is a view of."""
        tape = self.lowering.tape
        chain = []
        while tape.aliases[slot] >= 0 and not self._viewed[slot]:
            chain.append(slot)
            slot = tape.calls[tape.call_of(slot)][1][0]
        for slot in reversed(chain):
            op, inputs, parameters, _ = tape.calls[tape.call_of(slot)]
            self._viewed[slot] = 1
            self.views.setdefault(tape.aliases[slot], []).append(slot)
            yield VIEW, op.run, inputs, parameters, slot, 0, None

    def _let_go(self, base: int) -> Action:
        slots = self.views.pop(base)
        for slot in slots:
            self._viewed[slot] = 0
        return LET_GO, None, slots, None, base, 0, None


def landings(steps: Sequence[Step], program: Program, values: Sequence[int]) -> tuple[dict[int, int], dict[int, list[int]]]:
    """Return which steps make the buffers that the gradients `values` end up in, and which are the last to touch them.

    The first maps a step's position to a gradient's number: what is computed there is overwritten in place until it is the
    gradient. The second maps a position to the numbers of the gradients that nothing reads or makes after it.
    """
    if not values:
        return {}, {}
    number_of = {value: number for number, value in enumerate(values)}  # each gradient is a storage of its own
    awaited = dict(number_of)  # by value: the gradient that the next making of it, backwards, ends up in
    born: dict[int, int] = {}
    touched: dict[int, int] = {}
    for position in range(len(steps) - 1, -1, -1):
        step = steps[position]
        if type(step) is not Compute:
            continue
        for value in (step.value, *program.inputs[step.value]):
            if value in number_of:
                touched.setdefault(value, position)
        number = awaited.pop(step.value, -1)
        if number >= 0 and step.overwrites >= 0:
            awaited[step.overwrites] = number
        elif number >= 0:
            born[position] = number
    finished: dict[int, list[int]] = {}
    for value, position in touched.items():
        finished.setdefault(position, []).append(number_of[value])
    return born, finished


@functools.cache
def _owning(run: Callable) -> Callable:
    """Return a view's function as one whose result has memory of its own: it was planned as a copy."""

    def owned(x: Any, **parameters: Any) -> Any:
        made = run(x, **parameters)
        if not isinstance(made, np.ndarray) or made.base is None:
            return made
        # A reshape that copies returns a view of its copy, which nobody else sees.
        is_copy = isinstance(made.base, np.ndarray) and made.base.flags.owndata and made.base is not owner_of(x)
        return made if is_copy else made.copy()

    return owned
