"""Callers: whether a Python function was called by a line of Python that names it, or by compiled code under that line."""

from __future__ import annotations

import dis
import functools
from types import CodeType, FrameType, ModuleType
from typing import Any

_SILENT = ("PUSH_NULL", "PRECALL", "KW_NAMES", "NOP", "CACHE", "EXTENDED_ARG")


def names(frame: FrameType, function: Any) -> bool:
    """Tell whether the call that `frame` is at is one of `function`, by a name or an attribute of a module.

    Compiled code leaves no frame: if it calls `function`, the frame is that of the Python code below, which has called
    something else. Needs the positions in code objects that Python keeps unless told not to (``-X no_debug_ranges``).
    """
    chain = _callee(frame.f_code, frame.f_lasti)
    if chain is None:
        return False
    (is_local, name), *attributes = chain
    value = frame.f_locals.get(name) if is_local else None
    if value is None:
        value = frame.f_globals.get(name)
    for attribute in attributes:
        if not isinstance(value, ModuleType):
            return False
        value = vars(value).get(attribute)
    return value is function


def assigns(frame: FrameType) -> bool:
    """Tell whether ``x[index] = value`` stands in the line that `frame` is at (or ``x.__setitem__``), and no other call."""
    if dis.opname[frame.f_code.co_code[frame.f_lasti]].startswith("STORE"):
        return True
    chain = _callee(frame.f_code, frame.f_lasti)
    return chain is not None and chain[-1] in ("__setitem__", "setitem")


def augments(frame: FrameType) -> bool:
    """Tell whether `frame` is at ``x += y`` with a name on the left: an attribute or an item may be set in its own way."""
    code, place = frame.f_code.co_code, frame.f_lasti
    if dis.opname[code[place]] != "BINARY_OP" or code[place + 1] < _FIRST_IN_PLACE:
        return False
    after = next((dis.opname[op] for op in code[place + 2 :: 2] if dis.opname[op] != "CACHE"), "")
    return after.startswith(("STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"))


_FIRST_IN_PLACE = 13  # of the operators of BINARY_OP: `NB_INPLACE_ADD` in CPython's opcode.h


@functools.lru_cache(maxsize=16384)
def _callee(code: CodeType, place: int) -> tuple | None:
    """Return the name and attributes that stand before the brackets of the call at a place of `code`.

    The loads of ``module.function(...)`` begin at the same line and column as the call itself; its arguments begin later.
    """
    before: list[dis.Instruction] = []
    call: dis.Instruction | None = None
    for instruction in dis.get_instructions(code):
        if instruction.offset > place:
            break
        if call is not None:
            before.append(call)
        call = instruction
    start = _start(call)
    if call is None or start is None or not call.opname.startswith("CALL"):
        return None
    chain: list | None = None
    for instruction in before:
        if _start(instruction) != start or instruction.opname in _SILENT:
            continue
        if instruction.opname == "LOAD_CONST" and isinstance(instruction.argval, tuple):
            continue  # the names of the keywords, from Python 3.13 on
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            if chain is not None:
                chain.append(instruction.argval)
        elif instruction.opname.startswith("LOAD_") and isinstance(instruction.argval, str):
            chain = [(instruction.opname != "LOAD_GLOBAL", instruction.argval)]
        else:
            chain = None
    return None if chain is None else tuple(chain)


def _start(instruction: dis.Instruction | None) -> tuple[int, int] | None:
    where = None if instruction is None else instruction.positions
    if where is None or where.lineno is None or where.col_offset is None:
        return None
    return where.lineno, where.col_offset
