"""Phantoms: arrays with a true shape, dtype and strides and no memory, from which layouts are known before they exist.

A phantom is an ndarray over a single cell that nobody reads. View functions work on it as on any array; for the
others, the layout of NumPy's fresh output is asked of NumPy's own iterator.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

_CELL = np.zeros(1, np.longdouble)


@lru_cache(maxsize=16384)
def _make(shape: tuple[int, ...], dtype: np.dtype, strides: tuple[int, ...]) -> np.ndarray:
    cell = _CELL.view(np.uint8)[: dtype.itemsize].view(dtype) if dtype.itemsize <= 16 else np.zeros(1, dtype)
    made = np.lib.stride_tricks.as_strided(cell, shape, strides)
    made.flags.writeable = False
    return made


def contiguous(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return the phantom of a fresh C-contiguous array."""
    dtype = np.dtype(dtype)
    strides = []
    step = dtype.itemsize
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return _make(tuple(shape), dtype, tuple(reversed(strides)))


def memory_axes(strides: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes from the outermost in memory to the innermost; of equal strides the first comes first."""
    return tuple(sorted(range(len(strides)), key=lambda k: -abs(strides[k])))


def in_axes(shape: tuple[int, ...], dtype: Any, axes: tuple[int, ...]) -> np.ndarray:
    """Return the phantom of a fresh array whose `axes` lie one within the other in memory, the first outermost."""
    places = [0] * len(axes)
    for place, axis in enumerate(axes):
        places[axis] = place
    return contiguous(tuple(shape[k] for k in axes), dtype).transpose(places)


def copied(x: np.ndarray) -> np.ndarray:
    """Return the phantom of a copy that keeps the order of the axes in memory (order 'K')."""
    return contiguous(x.shape, x.dtype) if x.flags.c_contiguous else in_axes(x.shape, x.dtype, memory_axes(x.strides))


def reduced(x: Any, axes: tuple[int, ...], keepdims: bool, dtype: Any) -> np.ndarray:
    """Return the phantom of a reduction over `axes`: what is left lies in memory as it does in `x`."""
    shape = np.shape(x)
    kept = tuple(k for k in range(len(shape)) if keepdims or k not in axes)
    extents = tuple(1 if k in axes else shape[k] for k in kept)
    if len(kept) < 2 or x.flags.c_contiguous:
        return contiguous(extents, dtype)
    return in_axes(extents, dtype, tuple(kept.index(k) for k in memory_axes(x.strides) if k in kept))


def like(value: Any) -> Any:
    """Return the phantom of `value`: an ndarray's layout, a scalar array for a NumPy scalar, a Python scalar itself.

    Of a loop's runner it is what the runner says.
    """
    if isinstance(value, np.ndarray):
        return _make(value.shape, value.dtype, value.strides)
    if isinstance(value, np.generic):
        return contiguous((), value.dtype)
    return getattr(value, "phantom", value)


@lru_cache(maxsize=4096)
def result_dtypes(ufunc: np.ufunc, operands: tuple) -> tuple[np.dtype, ...]:
    """Return the output dtypes of `ufunc`; `operands` are dtypes, or the types int and float for Python scalars."""
    return ufunc.resolve_dtypes(operands + (None,) * ufunc.nout)[ufunc.nin :]


def _kind(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype
    return np.dtype(bool) if isinstance(value, bool) else type(value)


def of_ufunc(ufunc: np.ufunc, operands: tuple) -> np.ndarray:
    """Return the phantom of ``ufunc(*operands)``, with the layout that NumPy would choose (order 'K')."""
    dtype = result_dtypes(ufunc, tuple(_kind(operand) for operand in operands))[0]
    arrays = [operand for operand in operands if isinstance(operand, np.ndarray) and operand.ndim]
    return elementwise(arrays, dtype)


def elementwise(arrays: list[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Return the phantom of a fresh result of broadcasting `arrays` together."""
    if len(arrays) == 1:
        shape = arrays[0].shape
    else:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    if len(shape) < 2 or all(array.flags.c_contiguous for array in arrays):
        return contiguous(shape, dtype)
    # The iterator allocates the output (untouched, so it costs no resident memory) and tells its layout.
    iterator = np.nditer(
        [*arrays, None],
        flags=["zerosize_ok", "refs_ok", "multi_index"],
        op_flags=[["readonly"]] * len(arrays) + [["writeonly", "allocate"]],  # pyright: ignore
        op_dtypes=[None] * len(arrays) + [dtype],  # pyright: ignore
        order="K",
    )
    return _make(shape, np.dtype(dtype), iterator.operands[-1].strides)


def row(x: np.ndarray) -> np.ndarray:
    """Return the phantom of a row of `x`."""
    return _make(x.shape[1:], x.dtype, x.strides[1:])


def nbytes(value: Any) -> int:
    """Return the bytes of memory that a fresh array with this phantom's shape and dtype takes."""
    return value.nbytes if isinstance(value, np.ndarray) else 0
