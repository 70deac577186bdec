"""How an array lies in memory, and how NumPy's would: by this it is decided what is a view and what a copy."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import phantom
from .array import Array, tied, ties_of


def held(array: Any) -> np.ndarray:
    """Return an array that lies in memory as the value of `array` does: that, or its phantom where values come and go."""
    while type(array) is Array and array._level.keeper is None:
        array = array._value
    return np.asarray(array._level.phantoms[array._slot] if type(array) is Array else array)


def layout(array: Any) -> np.ndarray:
    """Return an array that lies in memory as NumPy's would: by this it is decided what is a view and what a copy."""
    while type(array) is Array:
        memory = tied(array).memory
        if memory is not None:
            return memory
        if array._level.keeper is not None:
            return array._level.phantoms[array._slot]
        array = array._value
    return np.asarray(array)


def lies_as(array: Any, memory: np.ndarray) -> Any:
    """Note of a traced array that NumPy's lies in memory as `memory` does, in which order its value does too."""
    if type(array) is Array and array.shape and held(array).strides != memory.strides:
        ties_of(array).memory = phantom.like(memory)
    return array


def in_order_of(array: Any, memory: np.ndarray) -> Any:
    """Return `array`, or a copy of it, with its axes in memory in the order in which they lie in `memory`."""
    found = held(array)
    if not found.shape or found.flags.c_contiguous and memory.flags.c_contiguous:
        return array
    axes = phantom.memory_axes(memory.strides)
    if np.transpose(found, axes).flags.c_contiguous:
        return array
    return np.transpose(np.copy(np.transpose(array, axes), "C"), np.argsort(axes))  # pyright: ignore


def in_c_order(array: Any) -> Any:
    """Return `array`, or a copy of it, in C order, as NumPy has a result whatever its operands' order is."""
    return array if held(array).flags.c_contiguous else in_order_of(array, phantom.contiguous(array.shape, array.dtype))


def in_same_order(array: Any, other: Any) -> Any:
    """Return `array`, or a copy of it, in C or in Fortran order, as `other` is: Fortran order must be its only one."""
    if not layout(other).flags.fnc:
        return in_c_order(array)
    return in_order_of(array, phantom.in_axes(array.shape, array.dtype, tuple(reversed(range(array.ndim)))))
