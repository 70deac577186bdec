"""The tape: a Wengert list of calls over numbered slots, and the keeper that decides what memory it may hold."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from threading import get_ident
from typing import Any, Protocol

import numpy as np

from . import phantom
from .array import NUMBER, Array, apply, traced
from .calls import Calls
from .errors import NeedsValueError, TapeError
from .levels import Level
from .lines import Line, user_line
from .listing import listing
from .op import HOOKS, Op
from .parameters import is_same


class Keeper(Protocol):
    """Who is asked before memory is made and told what exists, while a tape is recorded.

    Without a keeper a tape holds every residual; that is the runtime's own rule. A keeper takes over all values.
    """

    def follow(self, op: Op, args: Any, parameters: dict | None) -> int:
        """Return the output's slot of a call that the keeper has foreseen and carried out, or -1 for one to record."""
        ...

    def admit(self, call: int) -> None:
        """Make the output of call number `call` exist; `tape.phantoms` tells its layout before it does.

        When it raises, the call has not happened.
        """
        ...

    def capture(self, slot: int) -> None:
        """Take note of the constant in `slot`."""
        ...

    def value(self, slot: int) -> Any:
        """Return the value in `slot`, made again if need be."""
        ...

    def watch(self, array: Any) -> None:
        """Take note that the program now holds `array` (and with it, its slot) until it is collected."""
        ...

    def unwatch(self, array: Any) -> None:
        """Take note that the program holds the slot of `array` no more: it is about to stand for what is written to it."""
        ...


class ShapesOnly:
    """The keeper of a program recorded by shapes alone: nothing is computed."""

    def follow(self, op: Op, args: Any, parameters: dict | None) -> int:
        """Foresee nothing."""
        return -1

    def admit(self, call: int) -> None:
        """Compute nothing."""

    def capture(self, slot: int) -> None:
        """Count nothing."""

    def watch(self, array: Any) -> None:
        """Follow nothing."""

    def unwatch(self, array: Any) -> None:
        """Follow nothing."""

    def value(self, slot: int) -> Any:
        """Raise `NeedsValueError`: there are no values."""
        raise NeedsValueError(f"the program reads the number in slot {slot}, but was recorded by shapes alone")


class Tape(Level):
    """A recorded program: `calls` in order, each ``(op, input slots, parameters, output slot)``.

    By slot: `shapes`, `dtypes` (None for a Python scalar), `phantoms`, `aliases` (the slot whose buffer a view shares, or
    -1), `active` (1 where the value depends on a differentiated input) and `values` (inputs and constants; the rest is the
    keeper's). By call: `lines`, the user's code object and line number.
    """

    __slots__ = (
        "calls", "shapes", "dtypes", "active", "values", "keeper", "phantoms", "aliases", "lines", "inputs", "outputs",
        "site", "inner", "entered", "arrival", "loops", "_layouts", "_shapes", "_parameters",
    )  # fmt: skip
    holds_values = False

    def __init__(self, keeper: Keeper) -> None:
        super().__init__()
        self.calls = Calls()
        self.shapes: list[tuple[int, ...]] = []
        self.dtypes: list[np.dtype | None] = []
        self.active = bytearray()
        self.values: list[Any] = []
        self.keeper: Keeper = keeper
        self.phantoms: list[Any] = []
        self.aliases = array("i")
        self.lines: list[tuple[Any, int] | None] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.site: Line | None = None  # the line that calls are put down to; None for the one that the program is at
        self.inner: Any = None  # what a step of a loop that is running takes this tape's arrays from
        self.entered: dict[int, int] = {}  # on the tape of a loop's steps: its slots of arrays from outside, by theirs
        self.loops: Any = None  # what records a loop as one call; None where loops are recorded step by step
        self.arrival: Any = None  # called with an array from outside that has no slot here yet; returns one
        self._layouts: dict[tuple, tuple] = {}
        self._shapes: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._parameters: dict[tuple, dict] = {}

    def is_active(self, array: Any) -> bool:
        """Tell whether an array depends on a differentiated input."""
        return bool(self.active[array._slot])

    def record(self, op: Op, args: Any, parameters: dict | None = None, *, gives_up: bool = False) -> Array:
        """Append a call and ask the keeper for its output. Raises `EscapedError` when the tape is closed."""
        if self.inner is not None:
            return apply(op, args, parameters)
        if self.closed or self.thread != get_ident():
            self.require_open()
        for a in args:
            if type(a) is not Array and isinstance(a, (list, tuple)):
                args = [HOOKS["asarray"](a) if isinstance(a, (list, tuple)) else a for a in args]
                break
        keeper = self.keeper
        output = keeper.follow(op, args, parameters)
        if output >= 0:
            array = traced(self, output, None)
            keeper.watch(array)
            return array
        slots = tuple([a._slot if type(a) is Array and a._level is self else self.constant(a) for a in args])
        made, alias = self._infer(op, slots, parameters)
        mask = tuple([bool(self.active[slot]) for slot in slots])
        output = len(self.values)
        self.values.append(None)
        self.shapes.append(self._shapes.setdefault(made.shape, made.shape))
        self.dtypes.append(made.dtype)
        self.phantoms.append(made)
        self.aliases.append(alias)
        self.active.append(op.is_differentiable(mask))
        line = self.site or user_line()
        self.lines.append(line)
        if parameters is not None:
            parameters = self._shared_parameters(op, parameters, line)
        self.calls.append((op, slots, parameters, output))
        try:
            self.keeper.admit(len(self.calls) - 1)
        except Exception:
            self._take_back()
            raise
        array = traced(self, output, None)
        self.keeper.watch(array)
        return array

    def _infer(self, op: Op, slots: tuple[int, ...], parameters: dict | None) -> tuple[Any, int]:
        """Return the phantom of a call's output, and the slot whose buffer it shares, or -1."""
        phantoms = [self.phantoms[slot] for slot in slots]
        if op.is_view:
            made, shares = op.infer(*phantoms, **(parameters or {}))
            first = slots[0]
            return made, (self.aliases[first] if self.aliases[first] >= 0 else first) if shares else -1
        if parameters is not None:
            return op.infer(*phantoms, **parameters), -1
        # Phantoms of one layout are mostly one object. The table holds them, so that no other takes a number over.
        key = (op, *[id(p) for p in phantoms])
        found = self._layouts.get(key)
        if found is None:
            found = op.infer(*phantoms), phantoms
            if len(self._layouts) < _MOST_LAYOUTS:
                self._layouts[key] = found
        return found[0], -1

    def _shared_parameters(self, op: Op, parameters: dict, line: Line | None) -> dict:
        """Return equal parameters of an earlier call from the same line, if that is what a loop has: one object for all."""
        key = (id(op), id(line))
        found = self._parameters.get(key)
        if found is not None and is_same(found, parameters):
            return found
        self._parameters[key] = parameters
        return parameters

    def _take_back(self) -> None:
        """Forget the last call. Its constants stay."""
        self.calls.pop()
        self.lines.pop()
        for column in self._columns():
            column.pop()

    def _columns(self) -> tuple:
        return self.values, self.shapes, self.dtypes, self.phantoms, self.aliases, self.active

    def share(self, other: Tape) -> None:
        """Show all calls of `other`, a tape that is not recorded on any more; its values are not shared, but room is made."""
        self.calls, self.lines = other.calls, other.lines
        self.shapes, self.dtypes, self.phantoms = other.shapes, other.dtypes, other.phantoms
        self.aliases, self.active = other.aliases, other.active
        self.values.extend([None] * (len(other.values) - len(self.values)))

    def cut(self, calls: int) -> None:
        """Go on recording after the first `calls` calls, on columns of its own."""
        slots = self.calls.outputs[calls - 1] + 1 if calls else len(self.inputs)
        self.calls, self.lines = self.calls.first(calls), self.lines[:calls]
        self.shapes, self.dtypes, self.phantoms = self.shapes[:slots], self.dtypes[:slots], self.phantoms[:slots]
        self.aliases, self.active = self.aliases[:slots], self.active[:slots]
        del self.values[slots:]
        for slot, value in enumerate(self.values):
            if value is not None and self.dtypes[slot] is None:
                self.phantoms[slot] = phantom.like(value)  # a Python number stands for itself, and may be another than it was

    def _new_slot(self, value: Any, is_active: bool) -> int:
        slot = len(self.values)
        self.values.append(value)
        self.shapes.append(getattr(value, "shape", ()))
        self.dtypes.append(getattr(value, "dtype", None))
        self.active.append(is_active)
        self.phantoms.append(phantom.like(value))
        self.aliases.append(-1)
        return slot

    def input(self, value: Any, *, is_active: bool = True) -> Array:
        """Give an argument a slot and return its traced array."""
        slot = self._new_slot(value, is_active)
        self.inputs.append(slot)
        return traced(self, slot, None)

    def enter(self, array: Array) -> Array:
        """Return the input that stands here, on the tape of a loop's steps, for an array of the tape around the loop.

        What becomes of one that there is no input for is up to `arrival`.
        """
        slot = self.entered.get(array._slot)
        if slot is None:
            slot = self.entered[array._slot] = self.arrival(array)
        made = traced(self, slot, None)
        if array._kind is NUMBER:
            made._kind = NUMBER
        return made

    def constant(self, value: Any) -> int:
        """Give a captured constant a slot and return it. Raises `TapeError` for what cannot be recorded."""
        kind = type(value)
        if kind is float or kind is int:
            slot = len(self.values)
            self.values.append(value)
            self.shapes.append(())
            self.dtypes.append(None)
            self.active.append(0)
            self.phantoms.append(value)
            self.aliases.append(-1)
            return slot
        if getattr(getattr(value, "dtype", None), "kind", "") == "O":
            raise TapeError("a constant of dtype object met a traced array: convert it to numbers first")
        slot = self._new_slot(value, False)
        self.keeper.capture(slot)
        return slot

    def call_of(self, slot: int) -> int:
        """Return the number of the call whose output is in `slot`."""
        return bisect_left(self.calls.outputs, slot)

    def line(self, call: int) -> str:
        """Return the user's file and line for a call, as ``file.py:12``, or an empty string."""
        where = self.lines[call] if call < len(self.lines) else None
        return "" if where is None else f"{where[0].co_filename}:{where[1]}"

    def listing(self, most_calls: int | None = None) -> str:
        """Return the program as code; of more than `most_calls` calls the middle ones are counted only."""
        return listing(self, most_calls)

    def __str__(self) -> str:
        return listing(self, _MOST_CALLS)


_MOST_CALLS = 200
_MOST_LAYOUTS = 4096
