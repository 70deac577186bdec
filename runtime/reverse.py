"""The joint program: a tape's reverse sweep recorded on the same tape, by shapes alone, before it runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .array import Array, record, traced
from .op import OPS
from .ops.fills import zeros_on
from .sweep import pull
from .tape import Keeper, ShapesOnly, Tape


def record_reverse(
    tape: Tape, end: int | None, inputs: list[int], keeper: Keeper | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Append the reverse sweep from the scalar in slot `end` to `tape`.

    Return the slots of the gradients of `inputs`, and the numbers of those inputs that the scalar does not depend on.

    Every gradient is a storage of its own. The calls run the same kernels in the same order as the sweep without a
    tape, so the numbers are the same bit for bit. A `keeper`, which computes nothing either, may count them.
    """
    tape.keeper = keeper or ShapesOnly()
    before = len(tape.values)
    sums: list[Any] = [None] * before
    if end is not None and tape.active[end]:
        seed = record(tape, OPS["ones"], (), {"shape": (), "dtype": tape.dtypes[end]})
        sums = _pulled(tape, {end: seed}, len(tape.calls) - 1)
    gradients: list[int] = []
    disconnected = []
    for number, slot in enumerate(inputs):
        g = sums[slot]
        if g is None:
            disconnected.append(number)
            g = zeros_on(tape, tape.shapes[slot], tape.dtypes[slot])
        gradients.append(_own(tape, g, before, gradients))
    return tuple(gradients), tuple(disconnected)


def record_pullback(
    tape: Tape, seeds: Iterable[tuple[int, Array]], inputs: Iterable[int], before: dict[int, Array]
) -> dict[int, int]:
    """Append the reverse sweep from the cotangents `seeds`, given with their slots, of which several may be of one slot.

    Return the slots of the cotangents of those `inputs` that are reached, by input; each is a storage of its own. `before`
    is what has come to some inputs already: they add up on top of it.
    """
    tape.keeper = ShapesOnly()
    last, first = len(tape.calls), len(tape.values)
    cotangents: dict[int, Array] = {}
    for slot, g in (*seeds, *before.items()):
        cotangents[slot] = cotangents[slot] + g if slot in cotangents else g
    sums = _pulled(tape, cotangents, last)
    found: dict[int, int] = {}
    for slot in inputs:
        if sums[slot] is not None and sums[slot] is not before.get(slot):
            found[slot] = _own(tape, sums[slot], first, found.values())
    return found


def _pulled(tape: Tape, cotangents: dict[int, Array], last: int) -> list:
    return pull(
        tape,
        cotangents,
        lambda slot: traced(tape, slot, None),
        lambda shape, dtype: zeros_on(tape, shape, dtype),
        last=last,
    )


def _own(tape: Tape, g: Any, before: int, taken: Iterable[int]) -> int:
    """Return the slot of a cotangent, copied where it is not a storage of its own, as a constant that a rule made is not."""
    is_own = type(g) is Array and tape.aliases[g._slot] < 0 and g._slot >= before and g._slot not in taken
    return (g if is_own else record(tape, OPS["copy"], (g,)))._slot
