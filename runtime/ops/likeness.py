"""Arrays of the shape of another: zeros, ones, unset and filled ones, into which traced values may be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..array import Array, record
from ..levels import Level, innermost
from ..op import OPS, Op, implements
from ..views import as_memory
from .conversion import asarray
from .fills import ONES, ZEROS
from .views import memory_axes, resolved_order, transposed_fresh


def _shape_and_axes(a: Any, order: str, shape: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape to make, and its axes from the outermost in memory to the innermost."""
    order = resolved_order(a, order)
    wanted = a.shape if shape is None else (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    axes = tuple(range(len(wanted)))
    if order == "F":
        axes = axes[::-1]
    elif order == "K" and len(wanted) == a.ndim:
        axes = memory_axes(a)
    return wanted, axes


def _level_of(a: Any) -> Level | None:
    """Return the level of a traced array, the innermost one for a plain one (which comes here from patched NumPy only)."""
    return a._level if type(a) is Array else innermost()


# Traced although they depend on nothing: traced values may be written into them.
def _constant_like(op: Op) -> Callable:
    def like(
        a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
    ) -> Any:
        a = asarray(a)
        wanted, axes = _shape_and_axes(a, order, shape)
        parameters = {"shape": tuple(wanted[k] for k in axes), "dtype": np.dtype(a.dtype if dtype is None else dtype)}
        level = _level_of(a)
        if level is None or parameters["dtype"].kind not in "fc" and type(a) is not Array:
            return transposed_fresh(op.run(**parameters), axes)
        return as_memory(transposed_fresh(record(level, op, (), parameters), axes))

    return like


zeros_like = implements(np.zeros_like, np.empty_like)(_constant_like(ZEROS))
ones_like = implements(np.ones_like)(_constant_like(ONES))


@implements(np.full_like)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Any:
    """Compose a filled array of a broadcast and a copy; its gradient reaches the fill value."""
    a, fill = asarray(a), asarray(fill_value)
    wanted, axes = _shape_and_axes(a, order, shape)
    dtype = np.dtype(a.dtype if dtype is None else dtype)
    fill = fill if fill.dtype == dtype else fill.astype(dtype)
    level = _level_of(a)
    if type(fill) is not Array and level is not None and (dtype.kind in "fc" or type(a) is Array):
        fill = record(level, OPS["copy"], (fill,))
    spread = np.broadcast_to(fill, wanted)
    return as_memory(transposed_fresh(np.copy(np.transpose(spread, axes), "C"), axes))
