"""Arrays made of traced ones, or of nested lists that hold them, in a dtype and an order: what NumPy cannot dispatch."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Array, tied
from ..op import HOOKS
from ..python_numbers import as_array


def holds_traced(value: Any) -> bool:
    """Tell whether `value` is a traced array, or a list or tuple that holds one."""
    if type(value) is Array:
        return True
    return isinstance(value, (list, tuple)) and any(holds_traced(item) for item in value)


def _leaves(value: Any) -> tuple[Any, list]:
    """Return the lengths of nested lists, and what stands at the ends; None for lists that are not alike."""
    if not isinstance(value, (list, tuple)):
        return (), [value]
    parts = [_leaves(item) for item in value]
    shapes = {shape for shape, _ in parts}
    leaves = [leaf for _, leaves in parts for leaf in leaves]
    if len(shapes) != 1 or None in shapes:
        return None, leaves
    return (len(value), *shapes.pop()), leaves


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    like: Any = None,
) -> Any:
    """Return an array of nested lists of numbers and traced scalars or arrays, as `numpy.array` does of numbers."""
    if not holds_traced(object):
        return np.array(object, dtype, copy=copy, order=order, subok=subok, ndmin=ndmin)  # pyright: ignore
    if type(object) is Array:
        made = object if dtype is None or object.dtype == np.dtype(dtype) else object.astype(dtype)
        if copy is False and made is not object:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        if copy and made is object:
            made = np.copy(object, order)  # pyright: ignore
    else:
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        made = _of_lists(object, dtype)
        if order == "F":
            made = np.copy(made, "F")
    return np.reshape(made, (1,) * (ndmin - made.ndim) + made.shape) if made.ndim < ndmin else made


def _of_lists(value: Any, dtype: Any) -> Any:
    shape, leaves = _leaves(value)
    if shape is None:  # arrays beside lists of numbers
        leaves = [asarray(item) for item in value]
        shape = (len(leaves),)
    arrays = [leaf if type(leaf) is Array else np.asarray(leaf) for leaf in leaves]
    made = np.stack(arrays, dtype=dtype, casting="unsafe")
    return made if len(shape) == 1 else np.reshape(made, shape + made.shape[1:])


def asarray(
    a: Any,
    dtype: Any = None,
    order: str | None = None,
    *,
    device: Any = None,
    copy: bool | None = None,
    like: Any = None,
) -> Any:
    """Return `a` as an array, itself where it is one already (see `array`)."""
    if type(a) is Array and dtype is None and order is None and copy is None:
        return as_array(a)
    if not holds_traced(a):
        return np.asarray(a, dtype, order, copy=copy)  # pyright: ignore
    made = array(a, dtype, copy=copy)
    return made if order in (None, "K", "A") else _in_order(made, order)


asanyarray = asarray
HOOKS["asarray"] = asarray


def _in_order(a: Any, order: str) -> Any:
    """Return `a` where it lies in "C" or "F" order already, else a copy that does."""
    flags = a.flags
    return a if (flags.f_contiguous if order == "F" else flags.c_contiguous) else np.copy(a, order)  # pyright: ignore


def ascontiguousarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """Return `a` as an array of at least one dimension in C order (see `array`)."""
    return np.atleast_1d(asarray(a, dtype, "C"))


def asfortranarray(a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    """Return `a` as an array in Fortran order (see `array`)."""
    return asarray(a, dtype, "F")


def require(a: Any, dtype: Any = None, requirements: Any = None, *, like: Any = None) -> Any:
    """Return `a` as an array that meets the requirements of `numpy.require`; traced ones are always aligned and writable."""
    if not holds_traced(a):
        return np.require(a, dtype, requirements)
    letters = {str(word).upper()[0] for word in requirements or ()}
    if not letters <= set("CFAWOE"):
        raise KeyError(f"{sorted(letters - set('CFAWOE'))} are no requirements")
    if {"C", "F"} <= letters:
        raise ValueError("Cannot specify both 'C' and 'F' order")
    made = asarray(a, dtype, "F" if "F" in letters else "C" if "C" in letters else None)
    return np.copy(made) if "O" in letters and tied(made).link is not None else made
