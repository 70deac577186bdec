"""The joint program: a tape's reverse sweep recorded on the same tape, by shapes alone, before it runs."""

from __future__ import annotations

from typing import Any

from .array import record, traced
from .op import OPS
from .ops.fills import zeros_on
from .sweep import pull
from .tape import ShapesOnly, Tape


def record_reverse(tape: Tape, end: int | None, inputs: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Append the reverse sweep from the scalar in slot `end` to `tape`.

    Return the slots of the gradients of `inputs`, and the numbers of those inputs that the scalar does not depend on.

    Every gradient is a storage of its own. The calls run the same kernels in the same order as the sweep without a
    tape, so the numbers are the same bit for bit.
    """
    tape.keeper = ShapesOnly()
    recorded = len(tape.calls)
    before = len(tape.values)
    sums: list[Any] = [None] * before
    if end is not None and tape.active[end]:
        seed = record(tape, OPS["ones"], (), {"shape": (), "dtype": tape.dtypes[end]})
        sums = pull(
            tape,
            {end: seed},
            lambda slot: traced(tape, slot, None),
            lambda shape, dtype: zeros_on(tape, shape, dtype),
            last=recorded,
        )
    gradients: list[int] = []
    disconnected = []
    for number, slot in enumerate(inputs):
        g = sums[slot]
        if g is None:
            disconnected.append(number)
            g = zeros_on(tape, tape.shapes[slot], tape.dtypes[slot])
        is_own = tape.aliases[g._slot] < 0 and g._slot >= before and g._slot not in gradients
        if not is_own:
            g = record(tape, OPS["copy"], (g,))
        gradients.append(g._slot)
    return tuple(gradients), tuple(disconnected)
