"""Sums and running sums, and the counts made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply
from ..op import define, implements
from ..rules import spread
from .axes import as_operand, checked_axis, expand, is_given, is_kept, is_mask, masked, reduced


def sum_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype in which NumPy adds and multiplies: small integers grow, the rest stay."""
    if dtype.kind in "biu" and dtype.itemsize < 8:
        return np.dtype(np.uint64 if dtype.kind == "u" else np.int64)
    return dtype


def _sum_bytes(out: Any, x: Any, axis: Any, keepdims: bool, dtype: Any = None) -> int:
    return 0 if dtype is None else min(x.size, 8192) * out.itemsize


SUM = define(
    "sum",
    lambda x, axis, keepdims, dtype=None: np.add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims),
    inputs="x",
    parameters=("axis", "keepdims", "dtype"),
    rules=lambda g, x_shape, axis, keepdims: spread(g if not g.shape else expand(g, x_shape, axis, keepdims), x_shape),
    infer=lambda x, axis, keepdims, dtype=None: reduced(x, axis, keepdims, dtype or sum_dtype(np.result_type(x))),
    flops=lambda out, x, axis, keepdims, dtype=None: float(x.size),
    workspace=_sum_bytes,
    jvp="linear",
)
CUMSUM = define(
    "cumsum",
    lambda x, axis, dtype=None: np.cumsum(x, axis=axis, dtype=dtype),
    inputs="x",
    parameters=("axis", "dtype"),
    rules=lambda g, axis: np.flip(np.cumsum(np.flip(g, axis), axis=axis), axis),
    infer=lambda x, axis, dtype=None: phantom.elementwise([x], dtype or sum_dtype(x.dtype)),
    workspace=lambda out, x, axis, dtype=None: 0 if x.dtype == out.dtype else out.nbytes,
    jvp="linear",
)


def in_accumulator(a: Any, dtype: Any) -> tuple[Any, dict]:
    """Return `a` and the parameters that let a linear op add in `dtype`: by a cast only where values are lost."""
    if not is_given(dtype) or np.dtype(dtype) == a.dtype:
        return a, {}
    dtype = np.dtype(dtype)
    if dtype.kind == "f" and a.dtype.kind in "fiub" or dtype.kind == "c":
        return a, {"dtype": dtype}
    return a.astype(dtype), {}


def with_initial(ufunc: np.ufunc, y: Any, initial: Any) -> Any:
    """Return a reduction's result with its starting value, in the dtype of the result."""
    if not is_given(initial):
        return y
    return ufunc(y, as_operand(initial).astype(y.dtype))


@implements(np.sum)
def total(a, axis=None, dtype=None, out=None, keepdims=False, initial=np._NoValue, where=True) -> Any:
    """Record a sum."""
    if type(a) is Array and axis is None and dtype is None and where is True and initial is np._NoValue:
        return apply(SUM, (a,), {"axis": None, "keepdims": is_kept(keepdims)})
    a = as_operand(a)
    if is_mask(where):
        a = masked(a, where, 0)
    a, parameters = in_accumulator(a, dtype)
    y = apply(SUM, (a,), {"axis": checked_axis(axis, a.ndim), "keepdims": is_kept(keepdims), **parameters})
    return with_initial(np.add, y, initial)


def running(a: Any, axis: Any) -> tuple[Any, int]:
    """Return `a` and its axis as a running sum or product takes them: flat without an axis, never 0-d."""
    a = as_operand(a)
    axis = checked_axis(axis, a.ndim)
    if axis is None or not a.ndim:
        return np.reshape(a, (-1,)), 0
    return a, axis % a.ndim


@implements(np.cumsum)
def cumsum(a, axis=None, dtype=None, out=None) -> Any:
    """Record running sums."""
    a, axis = running(a, axis)
    a, parameters = in_accumulator(a, dtype)
    return apply(CUMSUM, (a,), {"axis": axis, **parameters})


def cumulative(run: Any, x: Any, axis: Any, dtype: Any, start: int, include_initial: bool) -> Any:
    """Return running results as the array API has them: of one axis, that must be named where there are several."""
    x = np.atleast_1d(as_operand(x))
    if axis is None and x.ndim > 1:
        raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
    axis = checked_axis(0 if axis is None else axis, x.ndim) % x.ndim
    y = run(x, axis, dtype)
    if not include_initial:
        return y
    first = np.full((*y.shape[:axis], 1, *y.shape[axis + 1 :]), start, y.dtype)
    return np.concatenate([first, y], axis=axis)


@implements(np.cumulative_sum)
def cumulative_sum(x, /, *, axis=None, dtype=None, out=None, include_initial=False) -> Any:
    """Compose running sums, with a zero in front if asked."""
    return cumulative(cumsum, x, axis, dtype, 0, include_initial)


@implements(np.count_nonzero)
def count_nonzero(a, axis=None, *, keepdims=False) -> Any:
    """Record a count; `np.count_nonzero` takes its options by keyword."""
    return total(np.not_equal(a, 0), axis, np.intp, keepdims=keepdims)


def along_first(handler: Any, has_dtype: bool = True) -> Any:
    """Return a reduction as a ufunc's method has it: its axis is 0 unless one is given."""

    def method(array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, *args: Any, **keywords: Any) -> Any:
        if has_dtype:
            return handler(array, axis, dtype, None, *args, **keywords)
        return handler(array if dtype is None else array.astype(dtype), axis, None, *args, **keywords)

    return method


implements((np.add, "reduce"))(along_first(total))  # pyright: ignore[reportArgumentType]
implements((np.add, "accumulate"))(along_first(cumsum))  # pyright: ignore[reportArgumentType]
