"""Captures: which of the arrays that a program takes from outside the call itself has made, and must answer for."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..runtime.array import Array
from ..runtime.checksum import fingerprint
from ..runtime.errors import ChangedError, TapeError
from ..runtime.tape import Tape
from .buffers import owner_of

_SMALL_CONSTANT = 64 * 1024


class Captures:
    """Weighs the constants of one call: `held_bytes` is what it has made itself and holds to its end.

    `passed_in` is what the caller brought; `roots` are the call's arguments and the object whose method is called: what
    they hold was there before. `before` tells of the same program's earlier call which slots were held elsewhere.
    """

    def __init__(self, tape: Tape, passed_in: Iterable[Any], roots: Iterable[Any], before: dict[int, bool]) -> None:
        self.tape = tape
        self.held_bytes = 0
        self.held_elsewhere = dict(before)
        self._owners = {id(owner_of(array)) for array in passed_in}
        self._roots = {id(root) for root in roots}
        self._guarded: dict[int, tuple[np.ndarray, int, int]] = {}  # by the array's identity: it, its slot, its fingerprint

    def guard(self, slot: int, value: np.ndarray) -> None:
        """Make an array read-only until the call ends, and note what is in it: others may write through a view of it."""
        if id(value) not in self._guarded:
            self._guarded[id(value)] = value, slot, fingerprint(value)
            self.tape.freeze(value)

    def check(self) -> None:
        """Raise `ChangedError` if an array is not what it was when the program took it."""
        for value, slot, before in self._guarded.values():
            if fingerprint(value) != before:
                raise ChangedError(self._changed(slot, value))

    def _changed(self, slot: int, value: np.ndarray) -> str:
        tape = self.tape
        what = f"an array of shape {value.shape} and dtype {value.dtype}"
        for number, (op, inputs, _, _) in enumerate(tape.calls):
            if slot in inputs:
                return (
                    f"{what} changed while its gradient was computed, after {op.name} had read it ({tape.line(number)}): "
                    "its memory was written to through another array that shares it, or by another thread. Compute with "
                    "a copy of what changes"
                )
        return f"{what}, an argument, changed while its gradient was computed: pass a copy of what the function writes to"

    def weigh(self, slot: int, value: Any) -> int:
        """Guard a constant against writes, and return the bytes that it adds to what the call holds.

        Raises `TapeError` for a traced array of another transform.
        """
        if not isinstance(value, np.ndarray):
            if type(value) is Array:
                raise TapeError(
                    "a function with a memory_budget uses a traced array of an outer transform that it was not passed: make "
                    "it an argument of the function, or put the budget on the outermost transform instead"
                )
            return 0
        self.guard(slot, value)
        owner = owner_of(value)
        key = id(owner)
        if key in self._owners:
            return 0
        self._owners.add(key)
        nbytes = owner.nbytes
        if nbytes >= _SMALL_CONSTANT:
            if slot not in self.held_elsewhere:
                self.held_elsewhere[slot] = self._is_held_elsewhere(owner)
            if self.held_elsewhere[slot]:
                return 0
        self.held_bytes += nbytes
        return nbytes

    def _is_held_elsewhere(self, owner: np.ndarray) -> bool:
        """Tell whether a module, a closure, a class or an argument holds the array: then it was there before the call."""
        known = {id(self), id(self.tape), id(self.tape.values), id(self.tape.frozen)}
        frontier: list[Any] = [owner]
        for _ in range(4):
            found = []
            for holder in gc.get_referrers(*frontier):
                if id(holder) in known or type(holder).__name__ in ("frame", "list_iterator", "tuple_iterator"):
                    continue
                if id(holder) in self._roots or type(holder).__name__ in ("cell", "module", "type", "function"):
                    return True
                if type(holder) is dict and "__name__" in holder and "__builtins__" in holder:
                    return True
                if holder is frontier or holder is found:
                    continue
                known.add(id(holder))
                found.append(holder)
            if not found or len(found) > 64:
                return False
            frontier = found
        return False


def weighed(tape: Tape, passed_in: Iterable[Any], roots: Iterable[Any]) -> Captures:
    """Weigh the constants on a tape of shapes: what the program made itself counts; what is large is looked up."""
    captures = Captures(tape, passed_in, roots, {})
    for slot, value in enumerate(tape.values):
        if isinstance(value, np.ndarray) and slot not in tape.inputs:
            captures.weigh(slot, value)
    return captures
