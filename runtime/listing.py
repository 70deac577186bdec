"""The listing: a tape as straight-line code with shapes, bytes and the user's lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import phantom
from .lines import quoted
from .text import format_bytes, shortened, table

if TYPE_CHECKING:
    from .tape import Tape

_MOST_CODE = 72
_MOST_PARAMETER = 32
_MOST_SOURCE = 60


def describe(shape: tuple[int, ...], dtype: Any) -> str:
    """Return a short text such as ``f4[128, 256]`` for an array's type."""
    if dtype is None:
        return "scalar"
    return f"{np.dtype(dtype).str[1:]}[{', '.join(map(str, shape))}]"


def size(tape: Tape, slot: int) -> str:
    """Return how much memory a slot takes, as a text: ``view`` where it shares another's."""
    return "view" if tape.aliases[slot] >= 0 else format_bytes(phantom.nbytes(tape.phantoms[slot]))


def parameters_text(parameters: dict | None) -> list[str]:
    """Return a call's parameters as ``axis=0``, long ones cut."""
    return [f"{key}={value_text(value)}" for key, value in (parameters or {}).items()]


def value_text(value: Any) -> str:
    """Return a parameter or a constant as a short text."""
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.ndarray) and value.size > 4:
        return describe(value.shape, value.dtype)
    return shortened(_index_text(value), _MOST_PARAMETER)


def _index_text(value: Any) -> str:
    """Return what `repr` does, with slices as they are written between brackets."""
    if isinstance(value, slice):
        ends = ["" if end is None else repr(end) for end in (value.start, value.stop, value.step)]
        return ":".join(ends if value.step is not None else ends[:2])
    if type(value) is tuple:
        return f"({', '.join(map(_index_text, value))}{',' if len(value) == 1 else ''})"
    return "..." if value is Ellipsis else repr(value)


def name_of(tape: Tape, slot: int, made: set[int]) -> str:
    """Return what a slot is called: ``v3`` for an input or a result, ``c2`` for a constant, a scalar's own value."""
    if slot in made:
        return f"v{slot}"
    return repr(tape.values[slot]) if tape.dtypes[slot] is None else f"c{slot}"


def listing(tape: Tape, most_calls: int | None = None) -> str:
    """Return a tape as code, one call a line, with shapes, bytes and the user's lines.

    A user's line stands beside the first of its calls. Of more than `most_calls` calls the middle ones are counted only.
    """
    made = {output for _, _, _, output in tape.calls}.union(tape.inputs)
    rows = [[f"v{slot} = input()", *_kind(tape, slot), ""] for slot in tape.inputs]
    count = len(tape.calls)
    head, tail = count, count
    if most_calls is not None and count > most_calls:
        head = most_calls * 3 // 4
        tail = count - (most_calls - head)
    known: set[int] = set()
    before = None
    for number, (op, inputs, parameters, output) in enumerate(tape.calls):
        if head <= number < tail:
            before = None
            continue
        if number == tail:
            rows.append([f"... {tail - head} calls more", "", "", ""])
        for slot in inputs:
            if slot not in made and slot not in known and tape.dtypes[slot] is not None:
                known.add(slot)
                value = tape.values[slot]
                text = value_text(value) if isinstance(value, np.ndarray) and value.size <= 4 else ""
                rows.append([f"c{slot} = constant({text})", *_kind(tape, slot), ""])
        words = [name_of(tape, slot, made) for slot in inputs] + parameters_text(parameters)
        line = tape.lines[number]
        where = shortened(quoted(line), _MOST_SOURCE) if line is not None and line != before else ""
        before = line
        rows.append([shortened(f"v{output} = {op.name}({', '.join(words)})", _MOST_CODE), *_kind(tape, output), where])
    lines = table(rows, "llrl") if rows else []
    if tape.outputs:
        lines.append("return " + ", ".join(name_of(tape, slot, made) for slot in tape.outputs))
    return "\n".join(lines)


def _kind(tape: Tape, slot: int) -> tuple[str, str]:
    return f"# {describe(tape.shapes[slot], tape.dtypes[slot])}", size(tape, slot)
