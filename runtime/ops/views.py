"""Views of one array: reshapes, axes permuted, added or removed, broadcasts; and copies in an order of memory."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from .. import phantom
from ..array import Array, apply
from ..layouts import layout
from ..op import OPS, define, implements
from ..views import as_memory, as_view, is_number
from .conversion import asarray


def _infer_reshape(x: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    try:
        return np.reshape(x, shape, copy=False), True
    except ValueError:
        return phantom.contiguous(shape, x.dtype), False


def _reshape_into(out: np.ndarray, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where it has to copy."""
    out.reshape(x.shape)[...] = x
    return out


RESHAPE = define(
    "reshape",
    lambda x, shape: np.reshape(x, shape),
    inputs="x",
    parameters=("shape",),
    rules=lambda g, x_shape: np.reshape(g, x_shape),
    infer=_infer_reshape,
    is_view=True,
    run_into=_reshape_into,
    jvp="linear",
)
TRANSPOSE = define(
    "transpose",
    lambda x, axes: np.transpose(x, axes),
    inputs="x",
    parameters=("axes",),
    rules=lambda g, axes: np.transpose(g, _inverse(axes)),
    infer=lambda x, axes: (np.transpose(x, axes), True),
    is_view=True,
    jvp="linear",
)
BROADCAST = define(
    "broadcast_to",
    lambda x, shape: np.broadcast_to(x, shape),
    inputs="x",
    parameters=("shape",),
    rules=lambda g: g,  # the sweep sums over broadcast axes after every rule
    infer=lambda x, shape: (np.broadcast_to(x, shape), True),
    is_view=True,
    jvp="linear",
)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    inverse = [0] * len(axes)
    for position, axis in enumerate(axes):
        inverse[axis] = position
    return tuple(inverse)


def resolved_order(a: Any, order: Any) -> str:
    """Return "C", "F" or "K" for an order as NumPy takes it: "A" is "F" for what lies in Fortran order alone."""
    order = str(order).upper() if order is not None else "K"
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    if order == "A":
        return "F" if layout(a).flags.fnc else "C"
    return order


def laid_out(y: Any, order: Any, inputs: Any) -> Any:
    """Return a result in the order of memory that is asked for; "A" is "F" where all inputs lie in Fortran order alone."""
    orders = {resolved_order(a, order) for a in inputs if np.ndim(a)} or {"C"}
    wanted = orders.pop() if len(orders) == 1 else "C"
    if wanted == "K":
        return y
    flags = layout(y).flags
    return y if (flags.f_contiguous if wanted == "F" else flags.c_contiguous) else np.copy(y, wanted)  # pyright: ignore


def memory_axes(a: Any) -> tuple[int, ...]:
    """Return the axes of `a` from the outermost in memory to the innermost; of equal strides the first comes first."""
    return phantom.memory_axes(layout(a).strides)


@implements(np.reshape)
def reshape(a: Any, /, shape: Any, order: str = "C", *, copy: bool | None = None) -> Any:
    """Record a reshape; Fortran order is a reshape of the transpose."""
    if order != "C":
        if str(order).upper() == "K":
            raise ValueError("order 'K' is not permitted for reshaping")
        if resolved_order(a, order) == "F":
            wanted = _wanted_shape(a.shape, shape)
            return np.transpose(reshape(np.transpose(a), wanted[::-1], copy=copy))
    wanted = _wanted_shape(a.shape, shape)
    if copy:
        return a.copy() if wanted == a.shape else np.copy(reshape(a, wanted))
    if wanted == a.shape:
        return a
    before = a.shape
    result = apply(RESHAPE, (a,), {"shape": wanted})
    if not _reshapes_to_view(a, wanted):
        if copy is False:
            raise ValueError("Unable to avoid creating a copy while reshaping.")
        return result
    return as_view(
        a,
        result,
        lambda base: reshape(base, wanted),
        lambda base, value: reshape(value, before),
        part=lambda whole: np.reshape(whole, wanted, copy=False),
    )


def _wanted_shape(shape: tuple[int, ...], wanted: Any) -> tuple[int, ...]:
    """Return `wanted` with its -1 worked out. What is not plainly right goes to NumPy, for its meaning or its error."""
    if type(wanted) is int and wanted == -1:
        return (math.prod(shape),)
    given = (wanted,) if type(wanted) is int else wanted
    if type(given) is tuple and all(type(n) is int and n >= -1 for n in given):
        size, product = math.prod(shape), math.prod(given)
        if product == size and -1 not in given:
            return given
        if product < 0 and given.count(-1) == 1 and size % product == 0:
            return tuple(size // -product if n == -1 else n for n in given)
    return np.reshape(phantom.contiguous(shape, np.bool_), wanted).shape


def _reshapes_to_view(a: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether NumPy's reshape of `a` shares its memory: a copy is not carried along when `a` is written."""
    where = layout(a)
    return where.flags.c_contiguous or _infer_reshape(where, shape)[1]


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """Record a flattening: a view of what is contiguous in that order, else a copy."""
    if order != "C":
        order = resolved_order(a, order)
    if order == "F" and a.ndim > 1:
        a = transpose(a)
    elif order == "K" and not layout(a).flags.c_contiguous:
        a = transpose(a, memory_axes(a))
    if layout(a).flags.c_contiguous:
        return reshape(a, (a.size,))
    return copy(a, "C") if a.ndim == 1 else apply(RESHAPE, (copy(a, "C"),), {"shape": (a.size,)})


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """Record a copy that lies in memory in the given order."""
    order = resolved_order(a, order)
    if a.ndim < 2 or order == "C" or (order == "K" and layout(a).flags.c_contiguous):
        return as_memory(apply(OPS["copy"], (a,)))
    axes = memory_axes(a) if order == "K" else tuple(reversed(range(a.ndim)))
    return transposed_fresh(apply(OPS["copy"], (apply(TRANSPOSE, (a,), {"axes": axes}),)), axes)


def transposed_fresh(made: Any, axes: tuple[int, ...]) -> Any:
    """Return an array made a moment ago, whose axes are `axes` in memory order, with its axes in their own order."""
    return apply(TRANSPOSE, (made,), {"axes": _inverse(axes)}) if axes != tuple(range(len(axes))) else made


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    """Record a permutation of the axes."""
    ndim = a.ndim
    if axes is None:
        order = tuple(reversed(range(ndim)))
    else:
        axes = (axes,) if np.ndim(axes) == 0 else axes
        order = tuple(normalize_axis_index(operator.index(axis), ndim) for axis in axes)
        if len(order) != ndim:
            raise ValueError("axes don't match array")
        if len(set(order)) != ndim:
            raise ValueError("repeated axis in transpose")
    if ndim < 2:
        return a if not ndim and type(a) is Array and is_number(a) else a[...]
    inverse = _inverse(order)
    return as_view(
        a,
        apply(TRANSPOSE, (a,), {"axes": order}),
        lambda base: transpose(base, order),
        lambda base, value: transpose(value, inverse),
        part=lambda whole: np.transpose(whole, order),
    )


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Record an exchange of two axes."""
    axis1, axis2 = normalize_axis_index(axis1, a.ndim), normalize_axis_index(axis2, a.ndim)
    order = list(range(a.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(a, order)


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """Exchange the last two axes."""
    if x.ndim < 2:
        raise ValueError("matrix transpose with ndim < 2 is undefined")
    return swapaxes(x, -1, -2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Record a move of axes."""
    sources = normalize_axis_tuple(source, a.ndim, "source")
    targets = normalize_axis_tuple(destination, a.ndim, "destination")
    if len(sources) != len(targets):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    order = [axis for axis in range(a.ndim) if axis not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return transpose(a, order)


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """Record a move of one axis to before `start`."""
    axis = normalize_axis_index(axis, a.ndim)
    place = start + a.ndim if start < 0 else start
    if not 0 <= place <= a.ndim:
        raise np.exceptions.AxisError(f"'start' arg requires {-a.ndim} <= start < {a.ndim + 1}, but {start} was passed in")
    return moveaxis(a, axis, place - 1 if axis < place else place)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    """Record new axes of length one."""
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    places = normalize_axis_tuple(axes, a.ndim + len(axes))
    extents = iter(a.shape)
    return reshape(a, tuple(1 if k in places else next(extents) for k in range(a.ndim + len(axes))))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    """Record the removal of axes of length one."""
    return reshape(a, np.squeeze(phantom.contiguous(a.shape, np.bool_), axis).shape)


def _at_least(arrays: tuple, shape_of: Any) -> Any:
    made = tuple(
        reshape(a, shape_of(a.shape)) if type(a) is Array else a.reshape(shape_of(a.shape)) for a in map(asarray, arrays)
    )
    return made[0] if len(made) == 1 else made


@implements(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """Return arrays of at least one dimension."""
    return _at_least(arys, lambda shape: shape or (1,))


@implements(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """Return arrays of at least two dimensions; a vector becomes a row."""
    return _at_least(arys, lambda shape: (1,) * (2 - len(shape)) + shape)


@implements(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """Return arrays of at least three dimensions; a vector becomes (1, n, 1), a matrix (m, n, 1)."""
    return _at_least(
        arys, lambda shape: (1,) + (shape or (1,)) + (1,) if len(shape) < 2 else (*shape, 1)[: max(3, len(shape))]
    )


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """Record a broadcast view."""
    wanted = (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    if array.shape == wanted:
        return array
    lead = len(wanted) - array.ndim
    if (
        lead < 0
        or min(wanted, default=0) < 0
        or any(n not in (1, m) for n, m in zip(array.shape, wanted[lead:], strict=True))
    ):
        np.broadcast_to(phantom.contiguous(array.shape, np.bool_), wanted)  # for NumPy's own error
    return as_view(array, apply(BROADCAST, (array,), {"shape": wanted}), lambda base: np.broadcast_to(base, wanted), None)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple:
    """Record broadcast views of all arrays to one shape."""
    arrays = [asarray(a) for a in args]
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    return tuple(np.broadcast_to(a, shape) for a in arrays)
