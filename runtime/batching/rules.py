"""Batching rules: what an op is on all examples at once, from the op and which of its operands differ among them.

A rule takes a `Call` and returns the array of all results, one for each example along its first axis. An op without a rule
is run on one example at a time, and the results are stacked: always right, and all that a function of a user's own needs.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..layouts import held
from ..op import Op
from ..ops.index_templates import Slot
from ..primitives import is_opaque
from . import indexing, products
from .call import Call, aligned, all_batched, lying_as, run

Rule = Callable[[Call], Any]


def one_by_one(call: Call) -> Any:
    """Run the op on one example at a time."""
    if not call.size:
        return _none(call)
    results = []
    for k in range(call.size):
        pairs = zip(call.operands, call.is_batched, strict=True)
        example = [a[k] if is_batched else a for a, is_batched in pairs]
        results.append(apply(call.op, example, call.parameters or None))
    return run("stack", *results, axis=0)


def _none(call: Call) -> Any:
    """Return the results of no examples, whose shape and dtype are inferred."""
    ones = [
        np.ones(a.shape[1:] if is_batched else a.shape, a.dtype) if hasattr(a, "dtype") else a
        for a, is_batched in zip(call.operands, call.is_batched, strict=True)
    ]
    made = call.op.infer(*ones, **call.parameters)
    made = made[0] if call.op.is_view else made
    return np.zeros((0, *made.shape), made.dtype)


def elementwise(call: Call) -> Any:
    """Run an op whose operands broadcast against each other."""
    return apply(call.op, aligned(call), call.parameters or None)


def stacked(call: Call) -> Any:
    """Run an op that takes stacks of what it takes along leading axes."""
    return apply(call.op, all_batched(call), call.parameters or None)


def along(call: Call) -> Any:
    """Run an op along axes that its operands share, or that the one with the most of them has."""
    axis = shifted(call.parameters["axis"], call.rank())
    return apply(call.op, all_batched(call), {**call.parameters, "axis": axis})


def shifted(axis: Any, rank: int) -> Any:
    """Return axes of one example, which has `rank` of them, as axes of all examples; None is all of them."""
    if axis is None:
        return tuple(range(1, rank + 1))
    if isinstance(axis, tuple):
        return tuple([k % rank + 1 for k in axis])
    return axis % rank + 1 if rank else ()


def with_parameters(change: Callable[[Call], dict]) -> Rule:
    """Return the rule of an op of one operand that has other parameters for all examples."""
    return lambda call: apply(call.op, call.operands, {**call.parameters, **change(call)})


def _joined(call: Call) -> Any:
    return apply(call.op, all_batched(call), {"axis": call.parameters["axis"] + 1})


def _pad(call: Call) -> Any:
    (x,) = call.operands
    widths, values = call.parameters["widths"], call.parameters["values"]
    values = ((0, 0), *values) if isinstance(values, tuple) else values
    y = run("pad", x, widths=((0, 0), *widths), values=values)
    return lying_as(y, call.op.infer(phantom.row(held(x)), **call.parameters))


def _place(call: Call) -> Any:
    """Run a search for a place; without an axis that is a number in the flattened example."""
    (x,) = call.operands
    axis, keepdims = call.parameters["axis"], call.parameters["keepdims"]
    rank = x.ndim - 1
    if axis is not None and rank:
        return apply(call.op, (x,), {"axis": axis % rank + 1, "keepdims": keepdims})
    flat = run("reshape", x, shape=(call.size, math.prod(x.shape[1:])))
    y = apply(call.op, (flat,), {"axis": 1, "keepdims": False})
    return run("reshape", y, shape=(call.size, *(1,) * rank)) if keepdims else y


def _broadcast(call: Call) -> Any:
    (x,), shape = call.operands, call.parameters["shape"]
    x = run("reshape", x, shape=(call.size, *(1,) * (len(shape) + 1 - x.ndim), *x.shape[1:]))
    return run("broadcast_to", x, shape=(call.size, *shape))


def _diagonal_matrix(call: Call) -> Any:
    (x,), offset = call.operands, call.parameters["offset"]
    n = x.shape[1]
    rows, columns = np.arange(n) + max(-offset, 0), np.arange(n) + max(offset, 0)
    zeros = np.zeros((call.size, *(n + abs(offset),) * 2), x.dtype)
    return run("setitem", zeros, x, rows, columns, index=(slice(None), Slot(0), Slot(1)))


def _sums_by_bin(call: Call) -> Any:
    """Run one sum over the bins of all examples, each of which has bins of its own."""
    values, indices = call.operands
    length = call.parameters["length"]
    if not call.is_batched[0] or call.is_batched[1] and type(indices) is not np.ndarray:
        return one_by_one(call)
    if not call.is_batched[1]:
        indices = np.broadcast_to(indices, (call.size, *indices.shape))
    count = math.prod(indices.shape[1:])
    places = np.arange(call.size)[:, None] * length + np.reshape(indices, (call.size, count))
    y = run("sums_by_bin", run("reshape", values, shape=(values.size,)), places.ravel(), length=call.size * length)
    return run("reshape", y, shape=(call.size, length))


def _at_all_places(call: Call) -> Any:
    """Run a function of places on a line that all examples share, be there one place or many."""
    return apply(call.op, call.operands) if call.is_batched[0] and True not in call.is_batched[1:] else one_by_one(call)


def _dropout(call: Call) -> Any:
    """Drop the same elements of each example."""
    x, place = call.operands
    if not call.is_batched[0] or call.is_batched[1]:
        return one_by_one(call)
    scale = run("dropout", np.ones(x.shape[1:], x.dtype), place, **call.parameters)
    return np.where(np.equal(scale, 0), np.zeros((), x.dtype), x * scale)


_FAMILIES: tuple[tuple[Rule, str], ...] = (
    (
        elementwise,
        "astype astype_integer copy stop_gradient masked_product masked_quotient open_quotient pulled_slope "
        "closed_quotient pulled_closed_slope power_of_root root_of_powers cosine_of_root real imag "
        "fixed_power round fraction exponent where sinc bessel_i",
    ),
    (
        along,
        "sum cumsum max min any all prod cumprod norm norm_slope softmax log_softmax logsumexp permute permute_back order "
        "partition_order unwrap fft.fft fft.ifft fft.rfft fft.irfft",
    ),
    (
        stacked,
        "combine inv pinv cholesky qr qr_complement cofactors cofactors_tangent det slogdet eigh eigvalsh eig svd svdvals",
    ),
    (_joined, "concatenate stack"),
    (_place, "argmax argmin"),
    (_at_all_places, "interp interval bin"),
)
_RULES: dict[str, Rule] = {name: rule for rule, names in _FAMILIES for name in names.split()} | {
    "reshape": with_parameters(lambda call: {"shape": (call.size, *call.parameters["shape"])}),
    "transpose": with_parameters(lambda call: {"axes": (0, *(k + 1 for k in call.parameters["axes"]))}),
    "diagonal": with_parameters(lambda call: {name: call.parameters[name] + 1 for name in ("axis1", "axis2")}),
    "sliding_window_view": with_parameters(lambda call: {"axes": tuple(k + 1 for k in call.parameters["axes"])}),
    "pad": _pad,
    "broadcast_to": _broadcast,
    "getitem": indexing.part,
    "gather": indexing.gather,
    "matmul": products.matmul,
    "solve": products.solve,
    "diagonal_matrix": _diagonal_matrix,
    "sums_by_bin": _sums_by_bin,
    "dropout": _dropout,
}


@functools.cache
def rule_of(op: Op) -> Rule:
    """Return the batching rule of an op."""
    if isinstance(op.run, np.ufunc) and op.run.signature is None:
        return elementwise
    return one_by_one if is_opaque(op) else _RULES.get(op.name, one_by_one)
