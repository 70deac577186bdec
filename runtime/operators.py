"""Python's operators on traced arrays: each goes straight to its op's recorder, past NumPy's dispatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import dispatch  # noqa: F401  (what NumPy hands over goes there)
from .array import Array
from .op import HOOKS
from .python_numbers import as_python_number, is_python_number
from .recorders import operators
from .views import is_number

_ARITHMETIC = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
}  # fmt: skip
_COMPARISONS = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
_UNARY = {"neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert}


def install() -> None:
    """Attach the operators to `Array`; called once the table of ops is full, and again when a rule changes."""
    for name, ufunc in (_ARITHMETIC | _COMPARISONS | _UNARY).items():
        found, reflected = operators(ufunc)
        setattr(Array, f"__{name}__", found)
        if name in _ARITHMETIC:
            setattr(Array, f"__r{name}__", reflected)
            setattr(Array, f"__i{name}__", _in_place(found))
    Array.__divmod__ = lambda self, other: (self // other, self % other)  # pyright: ignore
    Array.__rdivmod__ = lambda self, other: (other // self, other % self)  # pyright: ignore
    Array.__round__ = _rounded  # pyright: ignore


def _rounded(a: Array, digits: int | None = None) -> Any:
    y = np.round(a, digits or 0)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return as_python_number(y) if is_python_number(a) else y


def _in_place(found: Callable) -> Callable:
    def update(self: Array, other: Any) -> Array:
        if is_number(self):  # as in NumPy, the name on the left stands for another number from now on
            return found(self, other)
        result = found(self, other)
        if result is NotImplemented:
            return result
        return HOOKS["repoint"](self, result)

    return update
