"""What random draws make of their arguments: shapes, dtypes and constants, as NumPy reads them; and the recorded draw."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Array, any_active, apply, read
from ..errors import NotDifferentiableError
from ..levels import innermost
from ..op import Op

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def recorded(op: Op, args: tuple, parameters: dict) -> Any:
    """Run a draw. Inside a transform it is recorded where no argument is traced, too: what it makes can be dropped then."""
    level = None if any(type(a) is Array for a in args) else innermost()
    return apply(op, args, parameters) if level is None else level.record(op, args, parameters)


def operand(value: Any) -> Any:
    """Return an argument as an array, unless it is one, or a number (whose dtype then gives way to that of arrays)."""
    return value if type(value) in (Array, float, int) or isinstance(value, np.generic) else np.asarray(value)


def is_number(value: Any, number: int) -> bool:
    """Tell whether `value` is this Python number, so that adding or multiplying it would change nothing."""
    return type(value) in (float, int) and value == number


def plain_value(value: Any, purpose: str = "a random draw's argument") -> Any:
    """Return the plain value of an argument. Raises `NotDifferentiableError` where that would lose a gradient."""
    return read(value, purpose) if type(value) is Array else value


def require_constant(value: Any, message: str) -> None:
    """Raise `NotDifferentiableError` with `message` for a value that is differentiated."""
    if any_active(value):
        raise NotDifferentiableError(message)


def check_scale(scale: Any) -> None:
    """Raise NumPy's `ValueError` for a negative plain scale; a traced one is not read for it."""
    if is_number(scale, 1) or type(scale) is Array:
        return
    if np.any(np.signbit(scale)):
        raise ValueError("scale < 0")


def size_of(size: Any, broadcast: tuple[int, ...]) -> tuple[int, ...]:
    """Return `size` as a shape; None stands for `broadcast`, which must fit into it. Raises `ValueError` as NumPy does."""
    if size is None:
        return broadcast
    extents = tuple(int(n) for n in size) if np.iterable(size) else (int(size),)
    if any(n < 0 for n in extents):
        raise ValueError("negative dimensions are not allowed")
    if broadcast and broadcast != extents and np.broadcast_shapes(extents, broadcast) != extents:
        raise ValueError(f"Output size {extents} is not compatible with broadcast dimensions of inputs {broadcast}.")
    return extents


def shape_of(size: Any, *values: Any) -> tuple[int, ...]:
    """Return `size` as a shape; None stands for that to which `values` broadcast."""
    # Python numbers are left out, for NumPy is slow to tell that they change nothing.
    shapes = [v.shape for v in values if type(v) not in (float, int)]
    return size_of(size, np.broadcast_shapes(*shapes) if shapes else ())


def dtypes_of(dtype: Any, *values: Any) -> tuple[np.dtype, np.dtype]:
    """Return the result's dtype and that of its noise. Raises `TypeError` for what has no draws."""
    arrays = [value.dtype for value in values if type(value) not in (float, int)]
    found = np.result_type(*arrays) if arrays else _DOUBLE
    found = _DOUBLE if found.kind in "biu" else found
    if dtype is not None and found.kind == "f":
        found = np.dtype(dtype)
    if found.kind != "f":
        raise TypeError(f"random numbers are of a floating-point dtype, not {found}")
    return found, _SINGLE if found.itemsize <= 4 else _DOUBLE


def in_dtype(made: Any, dtype: np.dtype) -> Any:
    """Return `made` in `dtype`, itself where it has it."""
    return made if made.dtype == dtype else made.astype(dtype)


def unpacked(made: Any) -> Any:
    """Return a plain array without dimensions as the scalar that NumPy would return."""
    return made[()] if isinstance(made, np.ndarray) and made.ndim == 0 else made
