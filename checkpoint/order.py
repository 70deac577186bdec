"""From the order in which values are computed to a plan's steps: everything is dropped, or written over, at its last use."""

from __future__ import annotations

from collections.abc import Sequence

from .program import Program
from .steps import Compute, Drop, Step


def steps_of(program: Program, order: Sequence[int]) -> tuple[Step, ...]:
    """Return the steps that compute `order` (values, repeated where they are recomputed) with the least live memory.

    For a fixed order nothing is gained by holding a value past its last use before it is computed again, and nothing is
    lost by writing over it at that use. A computation that nobody reads is left out. Raises `ValueError` where a value is
    read that is not there.

    >>> program = Program(outputs=(2,), forward=3)
    >>> for inputs in ((), (0,), (0, 1)):
    ...     _ = program.add(8, inputs)
    >>> steps_of(program, [0, 1, 2])[2:]
    (Compute(value=2, overwrites=-1), Drop(value=0), Drop(value=1))
    """
    read_later = set(program.outputs)
    backwards: list[Step] = []
    # The same few objects stand in the plan again and again.
    computes, drops = [Compute(v) for v in range(len(program))], [Drop(v) for v in range(len(program))]
    for v in reversed(order):
        if v not in read_later:
            continue
        read_later.discard(v)
        last_used = [u for u in dict.fromkeys(program.inputs[v]) if u not in read_later]
        victim = program.overwrites[v] if program.overwrites[v] in last_used else -1
        backwards += [drops[u] for u in reversed(last_used) if u != victim]
        backwards.append(computes[v] if victim < 0 else Compute(v, victim))
        read_later.update(last_used)
    if read_later:
        missing = min(read_later)
        raise ValueError(f"the order never computes v{missing} ({program.labels[missing]}) before it is read")
    return tuple(reversed(backwards))
