"""The ndarray methods of a traced array: each is the NumPy function of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..array import Array
from ..views import repoint
from .elementwise import cast


def _method(function: Callable) -> Callable:
    return lambda self, *args, **keywords: function(self, *args, **keywords)


def _reshape(self: Array, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
    return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order, copy=copy)  # pyright: ignore


def _transpose(self: Array, *given: Any) -> Any:
    axes: Any = given
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    return np.transpose(self, axes or None)  # pyright: ignore


def _flatten(self: Array, order: str = "C") -> Any:
    return np.copy(np.ravel(self, order))  # pyright: ignore


def _fill(self: Array, value: Any) -> None:
    self[...] = value


def _sort(self: Array, axis: int = -1) -> None:
    repoint(self, np.sort(self, axis=axis))  # pyright: ignore


for _name in (
    "sum", "prod", "max", "min", "mean", "var", "std", "cumsum", "cumprod", "argmax", "argmin", "any", "all", "ptp",
    "dot", "trace", "diagonal", "squeeze", "swapaxes", "ravel", "take", "repeat", "clip", "copy", "round", "argsort",
    "nonzero", "compress", "searchsorted", "conj", "conjugate",
):  # fmt: skip
    setattr(Array, _name, _method(getattr(np, _name)))

Array.reshape = _reshape  # pyright: ignore
Array.transpose = _transpose  # pyright: ignore
Array.flatten = _flatten  # pyright: ignore
Array.astype = cast  # pyright: ignore
Array.fill = _fill  # pyright: ignore
Array.sort = _sort  # pyright: ignore
