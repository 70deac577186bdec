"""Spare arrays: plain arrays to be written into that nothing else refers to, so that the traced result can stand in for them.

A plain array cannot hold a traced value. But the buffer of ``np.exp(x, out=np.empty(5))`` is never looked at again, and
``z += x`` lets z stand for what the addition returns: where nothing but that call, and that name, refers to the buffer, no
program can tell it from the array that is returned. The interpreter's reference counts say so; what a call itself adds to
them is measured once. Where there are none to go by, no array is spare.
"""

from __future__ import annotations

import functools
import sys
from types import FrameType
from typing import Any

import numpy as np

from .array import Array
from .callers import augments, names
from .layouts import in_order_of
from .op import HOOKS
from .python_numbers import as_array
from .trail import HAS_COUNTS, Trail
from .views import alias, as_memory

# From 3.14 on, a name's value may be on the stack without being counted there: it would look like one that has no name.
_CAN_TELL = HAS_COUNTS and sys.version_info < (3, 14)
_measured: list[int] = []


def is_spare(target: Any, references: int, called: Any) -> bool:
    """Tell whether the array that `called` is to write into can be replaced by the result.

    `references` is its count of references where the call came in. The program must be at ``called(...)`` by its name, or at
    ``target += ...``: then the one further reference is that on the left.
    """
    if not _CAN_TELL or type(target) is not np.ndarray or target.base is not None or not target.flags.writeable:
        return False
    frame = _program()
    if frame is None:
        return False
    if frame.f_globals is globals():
        _measured.append(references)
        return True
    by_ufunc, by_operator, by_function = _usual_references()
    if augments(frame):
        return references == by_operator
    return references == (by_ufunc if isinstance(called, np.ufunc) else by_function) and names(frame, called)


def _program() -> FrameType | None:
    """Return the frame that NumPy handed the call under way on from."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code not in _PROTOCOLS:
        frame = frame.f_back
    return None if frame is None else frame.f_back


_PROTOCOLS = (Array.__array_ufunc__.__code__, Array.__array_function__.__code__)


def _usual_references() -> tuple[int, int, int]:
    """Return the counts of references to a spare array in a call of a ufunc, in an operator and in a call of a function."""
    if sys.gettrace() is not None or sys.getprofile() is not None:
        return -1, -1, -1  # a debugger may refer to anything
    return _measure()


@functools.cache
def _measure() -> tuple[int, int, int]:
    _measured.clear()
    with Trail() as trail:
        x = trail.input(np.ones(1))
        np.exp(x, out=np.empty(1))  # pyright: ignore
        z: Any = np.empty(1)
        z += x
        np.sum(x, axis=0, out=np.empty(()))  # pyright: ignore
    by_ufunc, by_operator, by_function = _measured
    return by_ufunc, by_operator, by_function


def stand_in(target: np.ndarray, result: Array) -> Any:
    """Return the traced array that stands in for a spare one in which `result` is to be written.

    Raises `ValueError` and `TypeError` for another shape and for a dtype that NumPy does not cast, as NumPy does.
    """
    result = as_array(result)
    if result.shape != target.shape:
        raise ValueError(f"a result of shape {result.shape} is to be written into an array of shape {target.shape}")
    if result.dtype != target.dtype:
        if not np.can_cast(result.dtype, target.dtype, "same_kind"):
            raise TypeError(f"a result of dtype {result.dtype} is to be written into an array of dtype {target.dtype}")
        result = result.astype(target.dtype)
    return as_memory(in_order_of(alias(result), target))


HOOKS["is_spare"] = is_spare
HOOKS["stand_in"] = stand_in
