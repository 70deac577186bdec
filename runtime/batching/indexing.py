"""Reads and writes by index of all examples at once: the batch is one more axis, and one more index where indices differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import phantom
from ..layouts import held
from ..ops.index_templates import Slot, gathered_phantom
from ..views import Window
from .call import Call, lying_as, owned, run, spread


@dataclass(frozen=True, slots=True)
class _Index:
    """An index of all examples: the template and its arrays; `lead` axes of what it names stand before the `joint` axes of
    its arrays, among them the batch, where that is not the first axis (`batch_axis`)."""

    template: tuple
    arrays: list
    lead: int
    joint: int
    batch_axis: int


def part(call: Call) -> Any:
    """Read by an index without arrays: a view of all examples."""
    (x,) = call.operands
    return run("getitem", x, index=_of_all(call.parameters["index"], x.shape))


def _of_all(index: Any, shape: tuple[int, ...]) -> Any:
    """Return an index without arrays for all examples, which are of `shape` together."""
    if type(index) is not Window:
        return (slice(None), *index)
    axes = None if index.axes is None else (0, *(k + 1 for k in index.axes))
    return Window(index.offset, (shape[0], *index.shape), (math.prod(shape[1:]), *index.strides), axes)


def gather(call: Call) -> Any:
    """Read by an index with arrays."""
    x, *_ = call.operands
    shape = x.shape[1:] if call.is_batched[0] else x.shape
    index = _index(call, 1, len(shape))
    y = _in_front(run("gather", x, *index.arrays, index=index.template), index)
    arrays = [np.empty(a.shape[1:] if b else a.shape, bool) for a, b in _pairs(call, 1)]
    wanted = gathered_phantom(phantom.row(held(x)) if call.is_batched[0] else held(x), *arrays, **call.parameters)
    return lying_as(y, wanted)


def written(call: Call) -> tuple[list, dict]:
    """Return operands and parameters of a write by index: into x, of a value if there is one, at the places of the arrays."""
    arrays_from = {"erase": 1}.get(call.op.name, 2)
    index = call.parameters["index"]
    x = call.operands[0] if call.is_batched[0] else owned(call.operands[0], call.size)
    shape = x.shape[1:]
    value = [a if b else spread(a, call.size) for a, b in list(_pairs(call, 0))[1:arrays_from]]
    if len(call.operands) == arrays_from:
        return [x, *value], {"index": _of_all(index, x.shape)}
    found = _index(call, arrays_from, len(shape), is_batched=True)
    return [x, *(_from_front(v, found) for v in value), *found.arrays], {"index": found.template}


def _pairs(call: Call, first: int) -> Any:
    return zip(call.operands[first:], call.is_batched[first:], strict=True)


def _index(call: Call, first: int, rank: int, *, is_batched: bool | None = None) -> _Index:
    """Return the index that the operands from number `first` on make, of an array that has `rank` axes in one example."""
    has_batch = call.is_batched[0] if is_batched is None else is_batched
    template = call.parameters["index"]
    pairs = list(_pairs(call, first))
    joint = max(a.ndim - b for a, b in pairs)
    lead = _axes_before(template, rank)
    if True not in call.is_batched[first:]:
        # As the first axis of x the batch is that of the result too, unless the arrays' axes go in front of all others.
        return _Index((slice(None), *template), [a for a, _ in pairs], 0, 0, joint if lead is None else 0)
    arrays = [_widened(a, joint) if b else a for a, b in pairs]
    if not has_batch:
        return _Index(template, arrays, 0, 0, lead or 0)
    numbered = tuple(Slot(item.number + 1) if type(item) is Slot else item for item in template)
    every = np.arange(call.size).reshape(-1, *(1,) * joint)
    if not _is_split((Slot(0), *numbered)):
        return _Index((Slot(0), *numbered), [every, *arrays], 0, 0, 0)
    # The arrays' axes go in front, and the batch with them; the rest goes back to where it stands in one example.
    return _Index((Slot(0), *numbered), [every, *arrays], lead or 0, joint, 0)


def _widened(a: Any, rank: int) -> Any:
    """Return indices of all examples with as many axes for each as the other arrays have at most."""
    return run("reshape", a, shape=(a.shape[0], *(1,) * (rank + 1 - a.ndim), *a.shape[1:]))


def _is_split(template: tuple) -> bool:
    """Tell whether something stands between the arrays of an index, so that their axes go in front of all others."""
    places = [k for k, item in enumerate(template) if type(item) is Slot or isinstance(item, int)]
    return places[-1] - places[0] + 1 != len(places)


def _axes_before(template: tuple, rank: int) -> int | None:
    """Return how many axes of the result stand before those of the index arrays; None where these go in front."""
    if _is_split(template):
        return None
    named = sum(1 for item in template if item is not None and item is not Ellipsis)
    lead = 0
    for item in template:
        if type(item) is Slot or isinstance(item, int):
            break
        lead += rank - named if item is Ellipsis else 1
    return lead


def _in_front(y: Any, index: _Index) -> Any:
    """Return what an index names with the batch first and all else where it stands in one example."""
    return run("transpose", y, axes=_order(y.ndim, index)) if index.batch_axis or index.lead else y


def _from_front(value: Any, index: _Index) -> Any:
    """Return a value, the batch first, as it stands at the places that an index names."""
    if not index.batch_axis and not index.lead:
        return value
    order = _order(value.ndim, index)
    return run("transpose", value, axes=tuple(order.index(k) for k in range(value.ndim)))


def _order(rank: int, index: _Index) -> tuple[int, ...]:
    """Return which axis of what an index names is which with the batch first."""
    if index.batch_axis:
        return (index.batch_axis, *(k for k in range(rank) if k != index.batch_axis))
    joint, rest = range(1, 1 + index.joint), range(1 + index.joint, rank)
    return (0, *rest[: index.lead], *joint, *rest[index.lead :])


WRITES = {"setitem": written, "index_add": written, "erase": written}
