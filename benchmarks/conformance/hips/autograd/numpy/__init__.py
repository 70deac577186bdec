"""NumPy itself, and the few functions that autograd adds or reads otherwise."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as _np

import retape as _rt

__all__ = ["append", "array", "c_", "int64", "make_diagonal", "mean", "r_", "row_stack", "std", "var", "where"]


def __getattr__(name: str) -> Any:
    return getattr(_np, name)


def array(value: Any, *args: Any, **keywords: Any) -> Any:
    """Make an array of numbers and traced scalars or arrays."""
    return _rt.numpy.array(value, *args, **keywords)


def _of_list(function: Callable) -> Callable:
    """NumPy's function, which never sees a list of traced arrays as such."""
    return lambda a, *args, **keywords: function(array(a) if isinstance(a, (list, tuple)) else a, *args, **keywords)


mean, std, var = _of_list(_np.mean), _of_list(_np.std), _of_list(_np.var)


def append(a: Any, values: Any, axis: int | None = None) -> Any:
    """Append to lists of traced numbers too."""
    return _np.append(array(a), array(values), axis)


class int64(_np.int64):
    """The dtype, which also rounds traced arrays."""

    def __new__(cls, value: Any) -> Any:
        return value.astype(_np.int64) if hasattr(value, "astype") else _np.int64(value)


class _Linalg(ModuleType):
    norm = staticmethod(_of_list(_np.linalg.norm))
    _dot = staticmethod(_np.matmul)
    T = staticmethod(_np.matrix_transpose)

    def __getattr__(self, name: str) -> Any:
        return getattr(_np.linalg, name)


linalg = _Linalg(f"{__name__}.linalg")
for _name, _module in {"fft": _np.fft, "linalg": linalg, "random": _np.random}.items():
    sys.modules[f"{__name__}.{_name}"] = _module


def where(condition: Any, *args: Any, **keywords: Any) -> Any:
    """Choose between two values of any kind on a Python truth; NumPy's where on an array of them."""
    if type(condition) is bool and len(args) == 2 and not any(hasattr(choice, "dtype") for choice in args):
        return args[not condition]
    return _np.where(*_where_arguments(condition, *args, **keywords))


def _where_arguments(condition: Any, x: Any = None, y: Any = None) -> tuple:
    return (condition,) if x is None else (condition, x, y)


def row_stack(arrays: Any) -> Any:
    """Do what vstack does."""
    return _np.vstack(arrays)


def make_diagonal(values: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Put the last axis on the diagonal of new matrices."""
    if (offset, axis1, axis2) != (0, -1, -2):
        raise NotImplementedError("make_diagonal takes offset=0, axis1=-1, axis2=-2")
    return values[..., None] * _np.eye(values.shape[-1], dtype=values.dtype)


class _Joined:
    """np.r_ and np.c_ with traced pieces."""

    def __init__(self, plain: Any, axis: int, dimensions: int) -> None:
        self.plain, self.axis, self.dimensions = plain, axis, dimensions

    def __getitem__(self, pieces: Any) -> Any:
        pieces = pieces if isinstance(pieces, tuple) else (pieces,)
        arrays = [self.plain[piece] if isinstance(piece, slice) else array(piece) for piece in pieces]
        if self.dimensions == 2:
            arrays = [piece[:, None] if piece.ndim == 1 else piece for piece in arrays]
        return _np.concatenate([_np.atleast_1d(piece) for piece in arrays], self.axis)


r_ = _Joined(_np.r_, 0, 1)
c_ = _Joined(_np.c_, -1, 2)
