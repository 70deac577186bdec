"""Python numbers under a transform: what NumPy makes of them beside arrays, and when they stay numbers.

In NumPy 2 a Python number takes on the dtype of what it meets (NEP 50), where a NumPy scalar has one of its own. A leaf that
was a Python number is a traced array of the kind `NUMBER`: operators between such and plain numbers give such again, ufuncs
cast them to the dtype that they compute in, and to everything else they are float64 (complex128), as in NumPy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .array import NUMBER, Array, apply, traced
from .op import OPS

_PLAIN = frozenset((float, int, bool, complex))


def is_python_number(a: Any) -> bool:
    """Tell whether an operand is a Python number, traced or not."""
    return a._kind is NUMBER if type(a) is Array else type(a) in _PLAIN


def as_python_number(a: Any) -> Any:
    """Return a result as a Python number: noted to be one if it is traced."""
    if type(a) is Array:
        a._kind = NUMBER
    return a.item() if isinstance(a, np.generic) else a


def as_array(a: Any) -> Any:
    """Return what NumPy's `asarray` makes of a traced Python number, an array with a dtype of its own; others as they are."""
    if type(a) is not Array or a._kind is not NUMBER:
        return a
    made = traced(a._level, a._slot, as_array(a._value))
    if made._level.keeper is not None:
        made._level.keeper.watch(made)
    return made


def value_of(array: Array) -> Any:
    """Return the value of a traced array, a Python number where that is what it stands for."""
    value = array._value
    return value.item() if array._kind is NUMBER and isinstance(value, np.generic) else value


def scalar_type(a: Any) -> Any:
    """Return what an operand is to NumPy's promotion: a dtype, or the type of a Python number."""
    if type(a) is Array:
        if a._kind is not NUMBER:
            return a.dtype
        return complex if a.dtype.kind == "c" else float
    if type(a) is bool:
        return np.dtype(bool)
    return type(a) if type(a) in _PLAIN else np.asarray(a).dtype


def of_promotion(a: Any) -> Any:
    """Return what stands for an operand in `numpy.result_type`: a dtype, or a Python number."""
    kind = scalar_type(a)
    return kind(0) if isinstance(kind, type) else kind


def cast_for(ufunc: np.ufunc, operands: list) -> list:
    """Return a ufunc's operands, Python numbers among them in the dtypes that it computes in."""
    if all(is_python_number(a) for a in operands):
        return operands
    loop = _loop(ufunc, tuple([scalar_type(a) for a in operands]))
    return [
        _cast(a, dtype) if type(a) is Array and a._kind is NUMBER else a for a, dtype in zip(operands, loop, strict=False)
    ]


def cast_together(operands: list) -> list:
    """Return operands of one function that picks from them all, Python numbers among them in the dtype of the result."""
    if not any([type(a) is Array and a._kind is NUMBER for a in operands]) or all([is_python_number(a) for a in operands]):
        return operands
    dtype = np.result_type(*[of_promotion(a) for a in operands])
    return [_cast(a, dtype) if type(a) is Array and a._kind is NUMBER else a for a in operands]


@lru_cache(maxsize=4096)
def _loop(ufunc: np.ufunc, kinds: tuple) -> tuple:
    return ufunc.resolve_dtypes(kinds + (None,) * ufunc.nout)


def _cast(a: Array, dtype: np.dtype) -> Any:
    return a if a.dtype == dtype else apply(OPS["astype"], (a,), {"dtype": dtype})
