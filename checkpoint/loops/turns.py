"""A loop's schedule: the states held in its forward sweep, then turns that reverse its steps from the last to the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from .binomial import capacity, repetitions, taped_at_once


@dataclass(frozen=True, slots=True)
class Forward:
    """The forward sweep: hold the states before the steps in `holds`, and the tapes of the steps from `first` on."""

    holds: tuple[int, ...]
    first: int


class Turn(NamedTuple):
    """Run from the held state `start` to `first`, holding the states in `holds` on the way; tape and reverse up to `stop`.

    The steps first .. stop - 1 are taped in order, then reversed from the last; then the states from `first` on are
    released, before the taping if the state `first` itself is one: it is current then.
    """

    start: int
    holds: tuple[int, ...]
    first: int
    stop: int


Split = Callable[[int, int], int]
_make = tuple.__new__  # a third of the time of Turn(...)


def closed_form(slots: int, tape_slots: int) -> Split:
    """Return the split that needs no table: the next state as far on as it goes without more repetitions than needed.

    Exact where tapes are not held; with them at most a few per cent above the optimum, which `mixed` finds for short loops.
    """
    rows = {0: [0] * (slots + 1)}
    below = above = rows[0]

    def row(runs: int) -> list[int]:
        if runs not in rows:
            rows[runs] = [capacity(count, runs, tape_slots) for count in range(slots + 1)]
        return rows[runs]

    def split(steps: int, free: int) -> int:
        nonlocal below, above
        # Mostly as many repetitions are needed as for the split before, or one less.
        if not below[free] < steps <= above[free]:
            runs = repetitions(steps, free, tape_slots)
            below, above = row(runs - 1), row(runs)
        return max(min(below[free], steps - below[free - 1]), 1)

    return split


def forward(steps: int, slots: int, *, tape_slots: int = 0, split: Split | None = None) -> Forward:
    """Return what the forward sweep of `steps` steps holds within `slots` slots; the first state is always held.

    Raises `ValueError` where there is no slot.

    >>> forward(10, 3)
    Forward(holds=(0, 4, 7), first=9)
    """
    if slots < 1:
        raise ValueError("a loop needs a slot for its first state")
    leaf = [taped_at_once(free, tape_slots) for free in range(slots + 1)]
    holds, first = _run(0, steps, slots, leaf, split or closed_form(slots, tape_slots))
    return Forward((0, *holds), first)


def turns(held: Iterable[int], stop: int, slots: int, *, tape_slots: int = 0, split: Split | None = None) -> Iterator[Turn]:
    """Yield the turns that reverse the steps before `stop` from the held states (ascending; the first is state 0).

    The states held at a time take at most `slots` slots, together with the tapes held beyond the one that is being
    reversed (`tape_slots` each).

    >>> [turn.first for turn in turns((0, 3), 5, 2)]
    [4, 3, 2, 1, 0]
    """
    split = split or closed_form(slots, tape_slots)
    leaf = [taped_at_once(free, tape_slots) for free in range(slots + 1)]
    stack = list(held)
    while stack:
        start = stack[-1]
        if start >= stop:
            stack.pop()
            continue
        holds, first = _run(start, stop, slots - len(stack) + 1, leaf, split)
        stack += holds
        yield _make(Turn, (start, holds, first, stop))
        stop = first


def _run(start: int, stop: int, slots: int, leaf: list[int], split: Split) -> tuple[tuple[int, ...], int]:
    """Return the states to hold on the way from the held state `start` to the first taped step, and that step.

    `leaf` tells how many steps are taped together, by the slots that are free.
    """
    if stop - start <= leaf[slots]:
        return (), start
    if slots == 1:
        return (), stop - 1
    holds = []
    while True:
        start += split(stop - start, slots)
        slots -= 1
        # The state in which the taping starts is current then, and takes no slot.
        if stop - start <= leaf[slots]:
            return tuple(holds), start
        holds.append(start)
        if slots == 1:
            return tuple(holds), stop - 1
