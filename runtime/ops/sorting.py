"""Sorting and partitioning: an order that has no derivative, and the values carried along by it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..op import define, implements
from .axes import as_operand, checked_axis
from .taking import piecewise_constant


def _put(g: np.ndarray, order: np.ndarray, axis: int) -> np.ndarray:
    y = np.empty_like(g)
    np.put_along_axis(y, order, g, axis)
    return y


def _take(x: np.ndarray, order: np.ndarray, axis: int) -> np.ndarray:
    y = np.empty_like(x)
    y[...] = np.take_along_axis(x, order, axis)
    return y


def _buffers(out: np.ndarray, *_: Any, **__: Any) -> int:
    """Return the workspace of an indexed read or write: NumPy's iterator buffers one index for each axis."""
    return min(out.size, 8192) * 8 * (out.ndim + 1)


PERMUTE = define(
    "permute",
    _take,
    inputs="x order",
    parameters=("axis",),
    rules=(lambda g, order, axis: apply(PERMUTE_BACK, (g, order), {"axis": axis}), None),
    infer=lambda x, order, axis: phantom.copied(x),
    workspace=lambda out, x, order, axis: out.nbytes + _buffers(out),
    jvp=(lambda t, order, axis: permuted(t, order, axis), None),
)
PERMUTE_BACK = define(
    "permute_back",
    _put,
    inputs="x order",
    parameters=("axis",),
    rules=(lambda g, order, axis: permuted(g, order, axis), None),
    infer=lambda x, order, axis: phantom.copied(x),
    workspace=_buffers,
    jvp=(lambda t, order, axis: apply(PERMUTE_BACK, (t, order), {"axis": axis}), None),
)


def permuted(x: Any, order: Any, axis: int) -> Any:
    """Return `x` with the slices along `axis` each in its own `order`, which names every place once."""
    return apply(PERMUTE, (x, order), {"axis": axis})


def _order_of(name: str, run: Any, *parameters: str, workspace: Any = None) -> Any:
    return define(
        name,
        run,
        inputs="x",
        parameters=("axis", *parameters),
        infer=lambda x, axis, **_: phantom.contiguous(x.shape, np.intp),
        flops=lambda out, x, axis, **_: 20.0 * out.size,
        workspace=workspace,
        zero_gradient=True,
    )


def _partition_order(x: np.ndarray, axis: int, kth: Any, kind: str) -> np.ndarray:
    """Return an order that makes of `x` what `np.partition` makes of it.

    NumPy's argpartition does not: the two leave what is not in place differently. So both sides are ranked.
    """
    parted = np.partition(x, kth, axis=axis, kind=kind)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return _put(np.argsort(x, axis=axis, kind="stable"), np.argsort(parted, axis=axis, kind="stable"), axis)


def _order(x: np.ndarray, axis: int, kind: Any, descending: bool) -> np.ndarray:
    further: dict[str, Any] = {"descending": True} if descending else {}
    return np.ascontiguousarray(np.argsort(x, axis=axis, kind=kind, **further))


ORDER = _order_of("order", _order, "kind", "descending")
PARTITION_ORDER = _order_of(
    "partition_order",
    _partition_order,
    "kth",
    "kind",
    workspace=lambda out, x, **_: x.nbytes + 2 * out.nbytes + _buffers(out),
)


def _line(a: Any, axis: Any) -> tuple[Any, int]:
    a = as_operand(a)
    if axis is None:
        return np.reshape(a, (-1,)), 0
    if not a.ndim:
        raise np.exceptions.AxisError(axis, 0)
    return a, checked_axis(axis, a.ndim) % a.ndim


@implements(np.sort)
def sort(a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None, descending: Any = None) -> Any:
    """Compose sorting of an order and a permutation; of equal values each keeps its own gradient.

    NumPy takes `descending` from 2.5 on.
    """
    if order is not None:
        raise ValueError("Cannot specify order when the array has no fields.")
    further: dict[str, Any] = {} if descending is None else {"descending": descending}
    np.sort(np.empty(0), kind=kind, stable=stable, **further)  # raises as NumPy does for what it does not know
    a, axis = _line(a, axis)
    # Equal values look alike in any order, so the kind is only that of who is who among them.
    kind = "stable" if stable else kind
    return permuted(a, apply(ORDER, (a,), {"axis": axis, "kind": kind, "descending": bool(descending)}), axis)


@implements(np.partition)
def partition(a: Any, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> Any:
    """Compose partitioning of an order and a permutation; the order within the parts is NumPy's own."""
    if order is not None:
        raise ValueError("Cannot specify order when the array has no fields.")
    a, axis = _line(a, axis)
    places = np.asarray(kth)
    if places.dtype.kind not in "iu":
        raise TypeError("Partition index must be integer")
    extent = a.shape[axis]
    for place in places.ravel().tolist():
        if not -extent <= place < extent:
            raise ValueError(f"kth(={place}) out of bounds ({extent})")
    kth = int(places) if not places.ndim else tuple(places.tolist())
    return permuted(a, apply(PARTITION_ORDER, (a,), {"axis": axis, "kth": kth, "kind": kind}), axis)


@implements(np.sort_complex)
def sort_complex(a: Any) -> Any:
    """Compose sorting of complex numbers; real ones become complex, in NumPy's precision for it."""
    y = sort(a)
    return y if y.dtype.kind == "c" else y.astype(np.sort_complex(np.empty(0, y.dtype)).dtype)


piecewise_constant(np.lexsort, np.isin)
