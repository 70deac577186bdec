"""ufunc.at on a traced array: an update of the places that an index names, again for each time it names one."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..array import Array, any_active, read
from ..dispatch import plainly
from ..op import FUNCTIONS, HOOKS, UFUNCS
from ..writes import repoint
from .axes import as_operand, plain_value
from .folds import ASSOCIATIVE
from .subscripts import updated


def at(ufunc: np.ufunc, a: Any, indices: Any, *operands: Any) -> None:
    """Carry out ``ufunc.at(a, indices, *operands)``. Raises `NotDifferentiableError` where `a` cannot hold the result."""
    if type(a) is not Array:
        if ufunc in UFUNCS and UFUNCS[ufunc].zero_gradient:
            operands = tuple(plain_value(b) for b in operands)
        elif any_active(operands):
            HOOKS["write_out"](a, operands[0], f"numpy.{ufunc.__name__}.at")
        ufunc.at(a, plainly(indices), *plainly(operands))
        return
    if ufunc is np.subtract:
        ufunc, operands = np.add, (np.negative(as_operand(operands[0])),)
    handler = FUNCTIONS.get((ufunc, "at"))  # pyright: ignore[reportArgumentType]
    if handler is not None:
        handler(a, indices, *operands)
        return
    places = np.arange(a.size).reshape(a.shape)[_index(indices)]
    spread = tuple(np.ravel(np.broadcast_to(as_operand(b), np.shape(places))) for b in operands)
    places = np.ravel(places)
    order = np.argsort(places, kind="stable")
    places, spread = places[order], tuple(b[order] for b in spread)
    y = np.ravel(a)
    grouped = np.multiply if ufunc is np.true_divide else ufunc
    if grouped in ASSOCIATIVE:
        (b,) = spread
        places, b = _combined(grouped, places, b)
        y = _put(ufunc, y, places, (b,))
    else:
        rank = _ranks(places)
        for turn in range(int(rank.max(initial=-1)) + 1):
            now = np.flatnonzero(rank == turn)
            y = _put(ufunc, y, places[now], tuple(b[now] for b in spread))
    repoint(a, np.reshape(y, a.shape))


def _index(indices: Any) -> Any:
    if isinstance(indices, tuple):
        return tuple(_index(item) for item in indices)
    return read(indices, "an index") if type(indices) is Array else indices


def _ranks(places: np.ndarray) -> np.ndarray:
    """Return for each of the sorted `places` how many equal ones stand before it."""
    number = np.arange(places.size)
    is_first = np.concatenate([[True], places[1:] != places[:-1]]) if places.size else np.zeros(0, bool)
    return number - np.maximum.accumulate(np.where(is_first, number, 0)) if places.size else number


def _put(ufunc: np.ufunc, y: Any, places: np.ndarray, operands: tuple) -> Any:
    value = ufunc(y[places], *operands)
    if not np.can_cast(value.dtype, y.dtype, "same_kind"):
        raise TypeError(
            f"Cannot cast ufunc '{ufunc.__name__}' output from {value.dtype!r} to {y.dtype!r} with casting rule 'same_kind'"
        )
    return updated(y, places, value)


def _combined(ufunc: np.ufunc, places: np.ndarray, b: Any) -> tuple[np.ndarray, Any]:
    """Return each of the sorted `places` once, with its operands combined: neighbours in pairs, until there are none."""
    rank = _ranks(places)
    while rank.size and rank.max() > 0:
        left = np.flatnonzero((rank % 2 == 0) & (np.append(rank[1:], 0) % 2 == 1))
        alone = np.flatnonzero((rank % 2 == 0) & (np.append(rank[1:], 0) % 2 == 0))
        merged = np.argsort(np.concatenate([left, alone]))
        b = np.concatenate([ufunc(b[left], b[left + 1]), b[alone]])[merged]
        places = places[np.concatenate([left, alone])[merged]]
        rank = _ranks(places)
    return places, b
