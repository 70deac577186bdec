"""Views and rearrangements: reshape, transpose, broadcast, concatenate, stack, split, flip, roll, pad, triangles."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply, record
from ..errors import MissingRuleError
from ..op import Op, define, implements
from ..views import as_view
from .indexing import ONES, ZEROS


def _infer_reshape(x: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, bool]:
    try:
        return np.reshape(x, shape, copy=False), True
    except ValueError:
        return phantom.contiguous(shape, x.dtype), False


RESHAPE = define(
    "reshape",
    lambda x, shape: np.reshape(x, shape),
    inputs="x",
    parameters=("shape",),
    rules=lambda g, x_shape: np.reshape(g, x_shape),
    infer=_infer_reshape,
    is_view=True,
)
TRANSPOSE = define(
    "transpose",
    lambda x, axes: np.transpose(x, axes),
    inputs="x",
    parameters=("axes",),
    rules=lambda g, axes: np.transpose(g, _inverse(axes)),
    infer=lambda x, axes: (np.transpose(x, axes), True),
    is_view=True,
)
BROADCAST = define(
    "broadcast_to",
    lambda x, shape: np.broadcast_to(x, shape),
    inputs="x",
    parameters=("shape",),
    rules=lambda g: g,  # the sweep sums over broadcast axes after every rule
    infer=lambda x, shape: (np.broadcast_to(x, shape), True),
    is_view=True,
)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    inverse = [0] * len(axes)
    for position, axis in enumerate(axes):
        inverse[axis] = position
    return tuple(inverse)


@implements(np.reshape)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    """Record a reshape (C order)."""
    if order != "C":
        raise MissingRuleError("reshape of a traced array is in C order only: transpose before and after")
    shape = newshape if shape is None else shape
    wanted = (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    size = math.prod(a.shape)
    if -1 in wanted:
        rest = -math.prod(wanted)
        if wanted.count(-1) > 1 or rest == 0 or size % rest:
            raise ValueError(f"cannot reshape array of size {size} into shape {wanted}")
        wanted = tuple(size // rest if n == -1 else n for n in wanted)
    if math.prod(wanted) != size:
        raise ValueError(f"cannot reshape array of size {size} into shape {wanted}")
    if copy:
        return np.copy(np.reshape(a, wanted))
    if wanted == a.shape:
        return a
    before = a.shape
    result = apply(RESHAPE, (a,), {"shape": wanted})
    if not _reshapes_to_view(a, wanted):
        if copy is False:
            raise ValueError("unable to avoid creating a copy while reshaping")
        return result
    return as_view(a, result, lambda base: reshape(base, wanted), lambda base, value: reshape(value, before))


def _reshapes_to_view(a: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether NumPy's reshape of `a` shares its memory: a copy is not carried along when `a` is written."""
    while type(a) is Array and a._tape.keeper is None:
        a = a._value
    layout = a._tape.phantoms[a._slot] if type(a) is Array else a
    return isinstance(layout, np.ndarray) and (layout.flags.c_contiguous or _infer_reshape(layout, shape)[1])


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    """Record a permutation of the axes."""
    ndim = a.ndim
    if axes is None:
        order = tuple(reversed(range(ndim)))
    else:
        order = tuple(int(axis) % ndim for axis in axes)
    if sorted(order) != list(range(ndim)):
        raise ValueError(f"axes {axes} don't match an array of {ndim} dimensions")
    inverse = _inverse(order)
    return as_view(
        a,
        apply(TRANSPOSE, (a,), {"axes": order}),
        lambda base: transpose(base, order),
        lambda base, value: transpose(value, inverse),
    )


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Record an exchange of two axes."""
    order = list(range(a.ndim))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return transpose(a, order)


@implements(np.matrix_transpose)
def matrix_transpose(x: Any) -> Any:
    """Exchange the last two axes."""
    return swapaxes(x, -1, -2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Record a move of axes."""
    dummy = np.empty((1,) * a.ndim)
    sources = np.atleast_1d(source) % max(a.ndim, 1)
    targets = np.atleast_1d(destination) % max(a.ndim, 1)
    order = [axis for axis in range(dummy.ndim) if axis not in sources]
    for target, axis in sorted(zip(targets.tolist(), sources.tolist(), strict=True)):
        order.insert(target, axis)
    return transpose(a, order)


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """Record a move of one axis to before `start`."""
    axis, start = axis % a.ndim, start + a.ndim if start < 0 else start
    return moveaxis(a, axis, start - 1 if axis < start else start)


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    """Record new axes of length one."""
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    ndim = a.ndim + len(axes)
    places = {int(k) % ndim for k in axes}
    rest = iter(a.shape)
    return reshape(a, tuple(1 if k in places else next(rest) for k in range(ndim)))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    """Record the removal of axes of length one."""
    if axis is None:
        return reshape(a, tuple(n for n in a.shape if n != 1))
    axes = {int(k) % a.ndim for k in (axis if isinstance(axis, tuple) else (axis,))}
    if any(a.shape[k] != 1 for k in axes):
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return reshape(a, tuple(n for k, n in enumerate(a.shape) if k not in axes))


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """Record a flattening."""
    return reshape(a, (-1,), order) if a.size else reshape(a, (0,))


@implements(np.atleast_1d)
def atleast_1d(*arrays: Any) -> Any:
    """Return arrays of at least one dimension."""
    made = tuple(reshape(a, (1,)) if np.ndim(a) == 0 else a for a in arrays)
    return made[0] if len(made) == 1 else made


@implements(np.atleast_2d)
def atleast_2d(*arrays: Any) -> Any:
    """Return arrays of at least two dimensions."""
    made = tuple(a if np.ndim(a) >= 2 else reshape(a, (1, -1)) for a in arrays)
    return made[0] if len(made) == 1 else made


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """Record a broadcast view."""
    shape = (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
    if array.shape == shape:
        return array
    return as_view(array, apply(BROADCAST, (array,), {"shape": shape}), lambda base: np.broadcast_to(base, shape), None)


@implements(np.broadcast_arrays)
def broadcast_arrays(*arrays: Any, subok: bool = False) -> tuple:
    """Record broadcast views of all arrays to one shape."""
    shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
    return tuple(np.broadcast_to(a, shape) for a in arrays)


def _concatenate_rule(g: Any, position: int, shapes: tuple, axis: int) -> Any:
    start = 0
    for shape in shapes[:position]:
        start += shape[axis]
    index = (slice(None),) * axis + (slice(start, start + shapes[position][axis]),)
    return g[index]


def _infer_concatenate(*arrays: np.ndarray, axis: int) -> np.ndarray:
    shape = list(arrays[0].shape)
    shape[axis] = sum(a.shape[axis] for a in arrays)
    return phantom.contiguous(tuple(shape), np.result_type(*arrays))


CONCATENATE = define(
    "concatenate",
    lambda *arrays, axis: np.concatenate(arrays, axis=axis),
    inputs="arrays*",
    parameters=("axis",),
    rules=_concatenate_rule,
    infer=_infer_concatenate,
)


def _as_arrays(arrays: Any) -> list:
    return [a if type(a) is Array else np.asarray(a) for a in arrays]


@implements(np.concatenate, np.concat)
def concatenate(arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Record a concatenation."""
    arrays = _as_arrays(arrays)
    if axis is None:
        arrays, axis = [np.ravel(a) for a in arrays], 0
    ndim = arrays[0].ndim
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    shapes = {(*a.shape[: axis % ndim], *a.shape[axis % ndim + 1 :]) for a in arrays}
    if len(shapes) != 1 or any(a.ndim != ndim for a in arrays):
        raise ValueError(f"cannot concatenate shapes {[a.shape for a in arrays]} along axis {axis}")
    y = apply(CONCATENATE, tuple(arrays), {"axis": axis % ndim})
    return y if dtype is None else y.astype(dtype, casting=casting)


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Compose a stack of a concatenation."""
    arrays = _as_arrays(arrays)
    return concatenate([np.expand_dims(a, axis) for a in arrays], axis % (arrays[0].ndim + 1), dtype=dtype, casting=casting)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Compose a stack of rows."""
    return concatenate([np.atleast_2d(a) for a in _as_arrays(tup)], 0, dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """Compose a stack of columns."""
    arrays = [np.atleast_1d(a) for a in _as_arrays(tup)]
    return concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Compose a stack of vectors as columns."""
    return concatenate([np.reshape(a, (-1, 1)) if a.ndim < 2 else a for a in _as_arrays(tup)], 1)


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list:
    """Return views of consecutive pieces."""
    extent = ary.shape[axis]
    if np.ndim(indices_or_sections):
        cuts = [0, *(int(k) for k in indices_or_sections), extent]
    else:
        count = int(indices_or_sections)
        size, extra = divmod(extent, count)
        cuts = [0]
        for k in range(count):
            cuts.append(cuts[-1] + size + (k < extra))
    lead = (slice(None),) * (axis % ary.ndim)
    return [ary[(*lead, slice(a, b))] for a, b in zip(cuts[:-1], cuts[1:], strict=True)]


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list:
    """Return views of equal consecutive pieces."""
    if not np.ndim(indices_or_sections) and ary.shape[axis] % int(indices_or_sections):
        raise ValueError("array split does not result in an equal division")
    return array_split(ary, indices_or_sections, axis)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> list:
    """Split along the second axis (the first of a vector)."""
    return split(ary, indices_or_sections, 1 if ary.ndim > 1 else 0)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> list:
    """Split along the first axis."""
    return split(ary, indices_or_sections, 0)


@implements(np.unstack)
def unstack(x: Any, /, *, axis: int = 0) -> tuple:
    """Return the slices along an axis."""
    moved = np.moveaxis(x, axis, 0)
    return tuple(moved[k] for k in range(moved.shape[0]))


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """Return a reversed view."""
    axes = range(m.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    places = {int(k) % m.ndim for k in axes}
    return m[tuple(slice(None, None, -1) if k in places else slice(None) for k in range(m.ndim))]


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    """Reverse the second axis."""
    return flip(m, 1)


@implements(np.flipud)
def flipud(m: Any) -> Any:
    """Reverse the first axis."""
    return flip(m, 0)


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Compose a roll of slices and a concatenation."""
    if axis is None:
        return np.reshape(roll(np.ravel(a), shift, 0), a.shape)
    if isinstance(axis, tuple) or isinstance(shift, tuple):
        axes = axis if isinstance(axis, tuple) else (axis,)
        shifts = shift if isinstance(shift, tuple) else (shift,) * len(axes)
        for one, k in zip(shifts, axes if len(axes) > 1 else axes * len(shifts), strict=True):
            a = roll(a, one, k)
        return a
    axis = int(axis) % a.ndim
    extent = a.shape[axis]
    shift = int(shift) % extent if extent else 0
    if shift == 0:
        return np.copy(a)
    lead = (slice(None),) * axis
    return concatenate([a[(*lead, slice(extent - shift, None))], a[(*lead, slice(None, extent - shift))]], axis)


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: Any = None) -> Any:
    """Compose repetition of an integer index."""
    if axis is None:
        a, axis = np.ravel(a), 0
    index = np.repeat(np.arange(a.shape[axis]), repeats)
    return np.take(a, index, axis=axis)


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """Compose tiling of a broadcast and a reshape."""
    reps = (int(reps),) if np.ndim(reps) == 0 else tuple(int(r) for r in reps)
    shape = (1,) * (len(reps) - A.ndim) + A.shape
    reps = (1,) * (len(shape) - len(reps)) + reps
    spread = np.reshape(A, tuple(n for extent in shape for n in (1, extent)))
    spread = np.broadcast_to(spread, tuple(n for r, extent in zip(reps, shape, strict=True) for n in (r, extent)))
    return np.copy(np.reshape(spread, tuple(r * n for r, n in zip(reps, shape, strict=True))))


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **keywords: Any) -> Any:
    """Compose padding: constants by concatenation, the other modes by an integer index."""
    widths = np.broadcast_to(np.asarray(pad_width), (array.ndim, 2)).tolist()
    if set(keywords) - ({"constant_values"} if mode == "constant" else set()):
        raise MissingRuleError(f"numpy.pad of a traced array with mode {mode!r} takes no {', '.join(sorted(keywords))}= here")
    if not np.any(widths):
        return np.copy(array)
    if mode == "constant":
        fill = np.broadcast_to(np.asarray(keywords.get("constant_values", 0)), (array.ndim, 2)).tolist()
        for axis, ((before, after), (low, high)) in enumerate(zip(widths, fill, strict=True)):
            pieces = [array]
            if before:
                pieces.insert(0, np.full((*array.shape[:axis], before, *array.shape[axis + 1 :]), low, array.dtype))
            if after:
                pieces.append(np.full((*array.shape[:axis], after, *array.shape[axis + 1 :]), high, array.dtype))
            array = concatenate(pieces, axis) if len(pieces) > 1 else array
        return array
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise MissingRuleError(
            f"numpy.pad of a traced array: mode {mode!r} is not one of constant, edge, reflect, symmetric, wrap"
        )
    for axis, width in enumerate(widths):
        if any(width):
            array = np.take(array, np.pad(np.arange(array.shape[axis]), width, mode=mode), axis=axis)
    return array


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """Compose the lower triangle of where."""
    return np.where(np.tri(*m.shape[-2:], k=k, dtype=bool), m, 0)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """Compose the upper triangle of where."""
    return np.where(np.tri(*m.shape[-2:], k=k - 1, dtype=bool), 0, m)


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Compose a diagonal of an integer index."""
    rows, columns = a.shape[axis1], a.shape[axis2]
    start = max(-offset, 0)
    count = max(min(rows - start, columns - max(offset, 0)), 0)
    index = np.arange(count)

    def taken(base: Any) -> Any:
        return np.moveaxis(base, (axis1, axis2), (-2, -1))[..., index + start, index + max(offset, 0)]

    return as_view(a, taken(a), taken, None)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """Compose a diagonal matrix, or a matrix's diagonal."""
    if v.ndim == 2:
        return diagonal(v, k)
    size = v.shape[0] + abs(k)
    index = np.arange(v.shape[0])
    padded = np.concatenate([v, np.zeros(1, v.dtype)])
    where = np.full((size, size), v.shape[0])
    where[index + max(-k, 0), index + max(k, 0)] = index
    return padded[where]


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """Compose a trace of a diagonal and a sum."""
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    """Compose differences of slices."""
    axis = axis % a.ndim
    if prepend is not np._NoValue or append is not np._NoValue:
        edge = (*a.shape[:axis], 1, *a.shape[axis + 1 :])
        pieces = [a]
        if prepend is not np._NoValue:
            pieces.insert(0, np.broadcast_to(prepend, edge) if np.ndim(prepend) == 0 else prepend)
        if append is not np._NoValue:
            pieces.append(np.broadcast_to(append, edge) if np.ndim(append) == 0 else append)
        a = concatenate(pieces, axis)
    lead = (slice(None),) * axis
    for _ in range(n):
        a = a[(*lead, slice(1, None))] - a[(*lead, slice(None, -1))]
    return a


def _constant_like(op: Op) -> Callable:
    def like(
        a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
    ) -> Any:
        shape = a.shape if shape is None else (int(shape),) if np.ndim(shape) == 0 else tuple(int(n) for n in shape)
        return record(a._tape, op, (), {"shape": shape, "dtype": np.dtype(a.dtype if dtype is None else dtype)})

    return like


# Traced although they depend on nothing: traced values may be written into them.
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
    """Compose a filled array of a broadcast; its gradient reaches the fill value."""
    shape = np.shape(a) if shape is None else shape
    dtype = a.dtype if dtype is None else dtype
    if type(fill_value) is not Array:
        return zeros_like(a, dtype, shape=shape) + np.asarray(fill_value, dtype)
    return np.copy(np.broadcast_to(fill_value.astype(dtype), shape))


@implements(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    """Return the shape."""
    return a.shape


@implements(np.ndim)
def ndim(a: Any) -> int:
    """Return the number of dimensions."""
    return a.ndim


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    """Return the number of elements, or the extent of an axis."""
    return a.size if axis is None else a.shape[axis]


@implements(np.result_type)
def result_type(*operands: Any) -> np.dtype:
    """Return the promoted dtype."""
    return np.result_type(*[o.dtype if type(o) is Array else o for o in operands])


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Traced arrays are real."""
    return False


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Traced arrays are real."""
    return True
