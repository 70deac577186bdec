"""Makes gradients in memory of the caller's, from a trail's reverse sweep, and tells of each as soon as it is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from .array import Array, traced
from .errors import InputError
from .levels import Level
from .op import Op, Rule
from .rules import fitted
from .trail import WIDTH, Trail, step_back, step_back_one

# A smaller gradient is copied to its place: that costs less than to see to it that it is written there (some 40 us).
LEAST_BYTES = 256 * 1024


@dataclass(frozen=True, eq=False)
class Landing:
    """Where gradients go, leaf by leaf of the differentiated arguments, and who is told of them.

    `places` holds a C-contiguous array of the leaf's shape and dtype for each, or None. ``on_gradient(number, gradient)`` is
    called once for each leaf, as soon as its gradient is finished; the order is that in which the reverse sweep gets there.
    What is in a place is the receiver's from then on; a gradient without a place may be read and not written to.
    """

    places: Sequence[np.ndarray | None]
    on_gradient: Callable[[int, np.ndarray], None]

    def check(self, primals: Sequence[Any]) -> None:
        """Raise `InputError` unless there is a fitting place, or None, for each of the leaves' values."""
        if len(self.places) != len(primals):
            raise InputError(f"there are {len(self.places)} places for the gradients of {len(primals)} leaves: give one each")
        for number, (place, value) in enumerate(zip(self.places, primals, strict=True)):
            if place is None:
                continue
            found, wanted = (place.shape, place.dtype), (np.shape(value), np.result_type(value))
            if found != wanted or not place.flags.c_contiguous or not place.flags.writeable:
                raise InputError(
                    f"the place of gradient {number} has shape {found[0]}, dtype {found[1]}; it must be a writable, "
                    f"C-contiguous array of shape {wanted[0]}, dtype {wanted[1]}"
                )

    def deliver(self, number: int, gradient: Any, value: Any) -> None:
        """Hand over a finished gradient of a leaf of this `value`; None stands for zeros."""
        place = self.places[number]
        if gradient is None:
            gradient = np.zeros(np.shape(value), np.result_type(value)) if place is None else place
            gradient[...] = 0
        elif place is not None and gradient is not place:
            np.copyto(place, gradient)
        self.on_gradient(number, np.asarray(gradient) if place is None else place)


def pull_into(
    trail: Trail, sums: dict[int, Any], slots: Sequence[int], primals: Sequence[Any], landing: Landing
) -> list[int]:
    """Do as `Trail.pull`, hand over the gradients of the inputs in `slots`, and return the numbers of those not reached.

    The numbers are those of `Trail.pull`, bit for bit. The last share of a large gradient is written into its place where
    it comes from a rule of an op; what comes out of loops and checkpointed functions is copied there.
    """
    calls = trail.calls
    last = _last_shares(trail)
    numbers = {slot: number for number, slot in enumerate(slots)}
    ends: dict[int, list[int]] = {}
    for slot, call in last.items():
        if slot in numbers:
            ends.setdefault(call, []).append(slot)
    unreached: list[int] = []

    def hand_over(slot: int) -> None:
        number = numbers[slot]
        if slot not in sums:
            unreached.append(number)
        landing.deliver(number, sums.pop(slot, None), primals[number])

    for call in range(len(calls) - WIDTH, trail.first - WIDTH, -WIDTH):
        g = sums.pop(call, None)
        ending = ends.get(call, ())
        if g is not None:
            step = calls[call]
            if ending and (step is step_back or step is step_back_one):
                places = {slot: landing.places[numbers[slot]] for slot in ending}
                ending = _land_shares(g, sums, calls[call : call + WIDTH], places, hand_over)
            else:
                step(g, sums, *calls[call + 1 : call + WIDTH])
        for slot in ending:
            hand_over(slot)
    for slot in numbers:
        if slot not in last:
            hand_over(slot)
    return unreached


def _last_shares(trail: Trail) -> dict[int, int]:
    """Return for each input the call whose step back is the last that may add to its gradient, by slot."""
    calls, found = trail.calls, {}
    missing = set(range(0, trail.first, WIDTH))
    for call in range(trail.first, len(calls), WIDTH):
        if not missing:
            break
        step, first, second = calls[call], calls[call + 1], calls[call + 2]
        if step is step_back:
            reached = {share[0] for share in first}
        elif type(first) is int:
            # Simple steps have the slots that they add to in front; a number that is none makes a gradient end later.
            reached = {first, second} if type(second) is int else {first}
        else:
            reached = missing
        for slot in missing & reached:
            found[slot] = call
        missing -= set(found)
    return found


def _land_shares(
    g: Any, sums: dict, entries: list, places: dict[int, np.ndarray | None], hand_over: Callable[[int], None]
) -> list[int]:
    """Run the rules of one call, first those whose share is the last of a gradient, and hand that over at once.

    Return the slots of `places` that are not handed over.
    """
    step, first, second, third, fourth = entries
    shares = first if step is step_back else ((first, second, third, *fourth),)
    slots = [share[0] for share in shares]
    for share in shares:
        slot = share[0]
        if slot in places and slots.count(slot) == 1:
            _land(g, sums, share, places[slot])
            hand_over(slot)
    for share in shares:
        if share[0] not in places or slots.count(share[0]) > 1:
            step_back(g, sums, (share,))
    return [slot for slot in places if slots.count(slot) != 1]


def _land(g: Any, sums: dict, share: tuple, target: np.ndarray | None) -> None:
    """Run a rule whose share is the last of a gradient: into its place, where that is large."""
    slot, rule, arguments, shape, dtype = share
    is_large = target is not None and target.nbytes >= LEAST_BYTES
    # A user's rule may ask its cotangent what only a plain array answers.
    if not is_large or rule.is_strict or rule.takes or rule.adds and slot in sums:
        step_back(g, sums, (share,))
        return
    assert target is not None
    if rule.adds:
        target[...] = 0
        sums[slot] = rule.function(target, g, *arguments)
    elif slot in sums:
        total = sums.pop(slot)
        sums[slot] = np.add(total, fitted(rule.function(g, *arguments), shape, dtype, rule), out=target)
    else:
        sums[slot] = _written(target, g, rule, arguments)


def _written(target: np.ndarray, g: Any, rule: Rule, arguments: Any) -> Any:
    """Return what a rule makes of a cotangent: in `target`, where one of its ops can write that."""
    made = fitted(rule.function(traced(_Into(target), None, g), *arguments), target.shape, target.dtype, rule)
    return made._value if type(made) is Array else made


@final
class _Into(Level):
    """Runs the ops of one rule, the first result that is like `target` in the memory of `target`."""

    __slots__ = ("target", "is_taken")

    def __init__(self, target: np.ndarray) -> None:
        super().__init__()
        self.target = target
        self.is_taken = False

    def is_active(self, array: Any) -> bool:
        """Tell that no derivative is taken here."""
        return False

    def record(self, op: Op, args: Any, parameters: dict | None = None, *, gives_up: bool = False) -> Any:
        """Run `op` on plain values."""
        values = [a._value if type(a) is Array else a for a in args]
        more = parameters or {}
        if not self.is_taken and self._fits(op, values, more):
            self.is_taken = True
            y = op.run_into(self.target, *values, **more)  # pyright: ignore[reportOptionalCall]
        else:
            y = op.run(*values, **more)
        return traced(self, None, y)

    def _fits(self, op: Op, values: list, parameters: dict) -> bool:
        if op.run_into is None or op.reads_target or op.is_view or not all(type(value) is np.ndarray for value in values):
            return False
        made = op.infer(*values, **parameters)
        target = self.target
        return made.shape == target.shape and made.dtype == target.dtype and bool(made.flags.c_contiguous)
