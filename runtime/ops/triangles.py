"""Triangles, diagonals and traces of matrices, and matrices made of diagonals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .. import phantom
from ..array import apply
from ..op import define, implements
from ..views import as_view
from .index_templates import Slot
from .indexing import index_add


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """Compose the lower triangle of where."""
    return np.where(np.tri(*m.shape[-2:], k=k, dtype=bool), m, 0)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """Compose the upper triangle of where."""
    return np.where(np.tri(*m.shape[-2:], k=k - 1, dtype=bool), 0, m)


def _diagonal_rule(total: Any, g: Any, offset: int, axis1: int, axis2: int) -> Any:
    """Add the cotangent along the diagonal."""
    ndim = len(total.shape)
    along = np.arange(g.shape[-1])
    index: list = [slice(None)] * ndim
    index[axis1], index[axis2] = Slot(0), Slot(1)
    # Index arrays side by side leave their joint axis where they stood; those apart put it first.
    place = min(axis1, axis2) if abs(axis1 - axis2) == 1 else 0
    places = (along + max(-offset, 0), along + max(offset, 0))
    return index_add(total, np.moveaxis(g, -1, place), tuple(index), places)


DIAGONAL = define(
    "diagonal",
    lambda x, offset, axis1, axis2: np.diagonal(x, offset, axis1, axis2),
    inputs="x",
    parameters=("offset", "axis1", "axis2"),
    rules=_diagonal_rule,
    adds=True,
    infer=lambda x, offset, axis1, axis2: (np.diagonal(x, offset, axis1, axis2), True),
    flops=lambda out, x, **_: float(math.prod(out.shape)),
    is_view=True,
    jvp="linear",
)
DIAGONAL_MATRIX = define(
    "diagonal_matrix",
    lambda x, offset: np.diag(x, offset),
    inputs="x",
    parameters=("offset",),
    rules=lambda g, offset: np.diagonal(g, offset),
    infer=lambda x, offset: phantom.contiguous((x.shape[0] + abs(offset),) * 2, x.dtype),
    jvp="linear",
)


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Record a diagonal: a view that cannot be written."""
    if a.ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    axis1, axis2 = normalize_axis_index(axis1, a.ndim), normalize_axis_index(axis2, a.ndim)
    if axis1 == axis2:
        raise ValueError("axis1 and axis2 cannot be the same")
    parameters = {"offset": int(offset), "axis1": axis1, "axis2": axis2}
    return as_view(a, apply(DIAGONAL, (a,), parameters), lambda base: apply(DIAGONAL, (base,), parameters), None)


@implements(np.linalg.diagonal)
def matrix_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """Record the diagonals of stacked matrices."""
    return diagonal(x, offset, -2, -1)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """Record a diagonal matrix, or a matrix's diagonal."""
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    return apply(DIAGONAL_MATRIX, (v,), {"offset": int(k)})


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """Record a diagonal matrix of the flattened elements."""
    return apply(DIAGONAL_MATRIX, (np.ravel(v),), {"offset": int(k)})


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """Compose a trace of a diagonal and a sum."""
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)
