"""The tape: a Wengert list of calls over numbered slots, and the keeper that decides what memory it may hold."""

from __future__ import annotations

import itertools
import sys
from typing import Any, Protocol

import numpy as np

from . import phantom
from .errors import EscapedError, NeedsValueError, TapeError
from .op import Op

_levels = itertools.count(1)


class Keeper(Protocol):
    """Who is asked before memory is made and told what exists, while a tape is recorded.

    Without a keeper a tape holds every residual; that is the runtime's own rule. A keeper takes over all values.
    """

    def admit(self, call: int) -> None:
        """Make the output of call number `call` exist; `tape.phantoms` tells its layout before it does."""
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


class ShapesOnly:
    """The keeper of a program recorded by shapes alone: nothing is computed."""

    def admit(self, call: int) -> None:
        """Compute nothing."""

    def capture(self, slot: int) -> None:
        """Count nothing."""

    def watch(self, array: Any) -> None:
        """Follow nothing."""

    def value(self, slot: int) -> Any:
        """Raise `NeedsValueError`: there are no values."""
        raise NeedsValueError(f"the program reads the number in slot {slot}, but was recorded by shapes alone")


class Tape:
    """A recorded program: `calls` in order, each ``(op, input slots, parameters, output slot)``.

    By slot: `shapes`, `dtypes` (None for a Python scalar), `active` (1 where the value depends on a differentiated
    input) and `values` (what is held: residuals and constants). With a keeper also `phantoms`, `aliases` (the slot
    whose buffer a view shares, or -1) and `lines` (by call: the user's code object and line number).
    """

    __slots__ = (
        "level", "calls", "shapes", "dtypes", "active", "values", "keeper", "closed",
        "phantoms", "aliases", "lines", "region", "regions", "inputs", "outputs", "frozen",
    )  # fmt: skip

    def __init__(self, keeper: Keeper | None = None) -> None:
        self.level = next(_levels)
        self.calls: list[tuple[Op, tuple[int, ...], dict | None, int]] = []
        self.shapes: list[tuple[int, ...]] = []
        self.dtypes: list[np.dtype | None] = []
        self.active = bytearray()
        self.values: list[Any] = []
        self.keeper = keeper
        self.closed = False
        self.phantoms: list[Any] = []
        self.aliases: list[int] = []
        self.lines: list[tuple[Any, int] | None] = []
        self.region: int | None = None
        self.regions: list[tuple[int, int, int]] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.frozen: list[np.ndarray] = []

    def _new_slot(self, value: Any, is_active: bool) -> int:
        slot = len(self.values)
        self.values.append(value)
        self.shapes.append(getattr(value, "shape", ()))
        self.dtypes.append(getattr(value, "dtype", None))
        self.active.append(is_active)
        if self.keeper is not None:
            self.phantoms.append(phantom.like(value))
            self.aliases.append(-1)
        return slot

    def input(self, value: Any, *, is_active: bool = True) -> int:
        """Give an argument a slot and return it."""
        slot = self._new_slot(value, is_active)
        self.inputs.append(slot)
        return slot

    def constant(self, value: Any) -> int:
        """Give a captured constant a slot and return it. Raises `TapeError` for what cannot be recorded."""
        kind = type(value)
        if kind is float or kind is int:
            slot = len(self.values)
            self.values.append(value)
            self.shapes.append(())
            self.dtypes.append(None)
            self.active.append(0)
            if self.keeper is not None:
                self.phantoms.append(value)
                self.aliases.append(-1)
            return slot
        if isinstance(value, (list, tuple)):
            value = np.asarray(value)
        if getattr(getattr(value, "dtype", None), "kind", "") == "O":
            raise TapeError("a constant of dtype object met a traced array: convert it to numbers first")
        slot = self._new_slot(value, False)
        if self.keeper is not None:
            self.keeper.capture(slot)
        return slot

    def require_open(self) -> None:
        """Raise `EscapedError` when this tape's transform has ended."""
        if self.closed:
            raise EscapedError(
                "a traced array was used after its transform had ended: return it from the function (or as auxiliary "
                "output with has_aux=True) instead of storing it outside"
            )

    def freeze(self, value: Any) -> None:
        """Make a captured plain array read-only until the tape is closed.

        The reverse sweep reads it as it is then: a program that changes it after use would get a wrong gradient, and
        now gets NumPy's error instead. (A view is guarded, not its base, which others may be filling.)
        """
        if type(value) is np.ndarray and value.flags.writeable:
            value.flags.writeable = False
            self.frozen.append(value)

    def close(self) -> None:
        """End recording: from now on a use of this tape's arrays is an error."""
        self.closed = True
        for value in reversed(self.frozen):
            try:
                value.flags.writeable = True
            except ValueError:  # a view whose base another thread's tape still guards
                pass
        self.frozen.clear()

    def line(self, call: int) -> str:
        """Return the user's file and line for a call, as ``file.py:12``, or an empty string."""
        where = self.lines[call] if call < len(self.lines) else None
        return "" if where is None else f"{where[0].co_filename}:{where[1]}"

    def __str__(self) -> str:
        return listing(self)


def user_line() -> tuple[Any, int] | None:
    """Return the code object and line of the innermost frame outside retape and NumPy."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if not name.startswith(_OWN):
            return frame.f_code, frame.f_lineno
        frame = frame.f_back
    return None


_OWN = (__name__.split(".")[0] + ".runtime", __name__.split(".")[0] + ".scheduler", "numpy.", "optree.")


def describe(shape: tuple[int, ...], dtype: Any) -> str:
    """Return a short text such as ``f4[128, 256]`` for an array's type."""
    if dtype is None:
        return "scalar"
    return f"{np.dtype(dtype).str[1:]}[{', '.join(map(str, shape))}]"


def listing(tape: Tape) -> str:
    """Return the tape as code, one call a line, with shapes, bytes and the user's lines."""
    made = {output for _, _, _, output in tape.calls}
    lines = []
    for slot in tape.inputs:
        lines.append(f"v{slot} = input()  # {describe(tape.shapes[slot], tape.dtypes[slot])}")

    def name_of(slot: int) -> str:
        if slot in made or slot in tape.inputs:
            return f"v{slot}"
        value = tape.values[slot]
        return repr(value) if tape.dtypes[slot] is None else f"c{slot}"

    for number, (op, inputs, parameters, output) in enumerate(tape.calls):
        words = [name_of(slot) for slot in inputs]
        words += [f"{key}={value!r}" for key, value in (parameters or {}).items()]
        shape, dtype = tape.shapes[output], tape.dtypes[output]
        size = "view" if tape.aliases and tape.aliases[output] >= 0 else f"{phantom.contiguous(shape, dtype).nbytes} bytes"
        text = f"v{output} = {op.name}({', '.join(words)})"
        where = tape.line(number)
        lines.append(f"{text}  # {describe(shape, dtype)}, {size}{', ' + where if where else ''}")
    if tape.outputs:
        lines.append("return " + ", ".join(name_of(slot) for slot in tape.outputs))
    return "\n".join(lines)
