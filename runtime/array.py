"""The traced array: what user code computes with while a transform runs; and `apply`, through which every op goes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .levels import Level
from .op import HOOKS, OPS, RECORDERS, Op


def apply(op: Op, args: Any, parameters: dict | None = None) -> Any:
    """Run `op` on `args`; where one of them is traced, the innermost of their levels records the call."""
    level: Level | None = None
    for a in args:
        if type(a) is Array:
            if a._level.inner is not None:
                return apply(op, [entered(a) for a in args], parameters)
            if level is None or a._level.level > level.level:
                level = a._level
    if level is None:
        return op.run(*args, **parameters) if parameters else op.run(*args)
    return level.record(op, args, parameters)


def entered(a: Any) -> Any:
    """Return what stands for an operand on the trail of a loop's step that is running, if it belongs to a trail around it."""
    while type(a) is Array and a._level.inner is not None:
        a = a._level.inner.enter(a)
    return a


def apply_over(op: Op, args: tuple, parameters: dict | None = None) -> Any:
    """Do as `apply`, and give up the argument that `op` may overwrite: the caller uses it no more."""
    level: Level | None = None
    for a in args:
        if type(a) is Array:
            if a._level.inner is not None:
                return apply(op, args, parameters)
            if level is None or a._level.level > level.level:
                level = a._level
    if level is None:
        return op.run_into(args[op.overwrites], *args, **(parameters or {}))  # pyright: ignore
    return level.record(op, args, parameters, gives_up=True)


def record(level: Level, op: Op, args: tuple, parameters: dict | None = None) -> Any:
    """Record one call on `level` and return its output. Raises `EscapedError` when the level is closed."""
    return level.record(op, args, parameters)


def is_active(array: Any) -> bool:
    """Tell whether a traced array depends on an input that is differentiated, at its own level or at an outer one."""
    while type(array) is Array:
        if array._level.is_active(array):
            return True
        array = array._value
    return False


def any_active(tree: Any) -> bool:
    """Tell whether an array in nested lists, tuples and dicts is active."""
    if type(tree) is Array:
        return is_active(tree)
    if isinstance(tree, (list, tuple)):
        return any(any_active(item) for item in tree)
    return isinstance(tree, dict) and any(any_active(item) for item in tree.values())


def read(array: Any, purpose: str) -> Any:
    """Return the plain value behind `array` for Python's own use (a branch, an index).

    Raises `NotDifferentiableError` when that would lose a gradient, `BatchedValueError` where it differs among examples.
    """
    found = settled(array, purpose)
    if type(found) is Array:
        found._level.check_read(found, purpose)
    return found


def settled(array: Any, purpose: str) -> Any:
    """Do as `read`, and return a value that differs among examples as the array that it is for a batch of them."""
    if type(array) is Array and array._level.keeper is not None:
        array = entered(array)
    while type(array) is Array:
        level = array._level
        level.require_open()
        if level.is_batch:
            return array
        level.check_read(array, purpose)
        if level.keeper is None:
            array = array._value
        else:
            level.record(OPS["read"], (array,))
            array = level.keeper.value(array._slot)
    return array


def plain(array: Any) -> Any:
    """Return the plain value of a traced array, whatever becomes of its gradient (for printing and for outputs)."""
    while type(array) is Array:
        level = array._level
        if level.keeper is not None and level.inner is not None:
            array = entered(array)
            continue
        array = array._value if level.keeper is None else level.keeper.value(array._slot)
    return array


NUMBER = ("a Python number", None)


class Ties:
    """What ties an array to others, each None where there is nothing: its views or its root, and what it was written by.

    `family` and `link` are those of `views`. `written` tells that it has been written to. `memory` is a phantom: NumPy's
    array lies as that does, and the value otherwise. `square` tells of a root what it is the root of.
    """

    __slots__ = ("family", "link", "written", "memory", "square")

    def __init__(self) -> None:
        self.family: Any = None
        self.link: Any = None
        self.written = False
        self.memory: Any = None
        self.square: Any = None


def ties_of(array: Array) -> Ties:
    """Return the ties of an array, to be changed."""
    if array._ties is None:
        array._ties = Ties()
    return array._ties


def tied(array: Any) -> Ties:
    """Return the ties of any object, to be looked at."""
    return (array._ties if type(array) is Array else None) or _NO_TIES


_NO_TIES = Ties()
_TOLD_THE_TRUTH = frozenset((__name__.partition(".")[0], "numpy", "scipy", "copyreg"))


class Array:
    """A traced array: stands for a value at one level, and behaves like an ndarray. Made by `traced`.

    `_level` is its level. On a `Trail`, `_value` is the value and `_slot` the place of the call that made it; on a `Forward`
    level `_slot` is its tangent; both are None where no derivative goes through. On a `Tape` `_slot` is its slot, and the
    value is the keeper's. `_kind` is `NUMBER` for what is a Python number in the plain program; else, once it is known, the
    trail's token of its shape and dtype. `_ties` holds what few arrays have: see `Ties`.
    """

    __slots__ = ("_level", "_slot", "_value", "_kind", "_ties", "__weakref__")
    __array_priority__ = 1000.0

    if TYPE_CHECKING:  # the methods that `ops.methods` and `operators` attach
        astype: Any
        reshape: Any
        sum: Any

        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __neg__(self) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...

    # Without an __init__, making one costs two thirds.
    _level: Any
    _slot: Any
    _value: Any
    _kind: Any
    _ties: Any

    @property
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        # A program that asks ``isinstance(x, np.ndarray)`` must take the path that it takes without a transform. NumPy and
        # SciPy ask before they reach into an ndarray's memory, and are told the truth, but for numpy.polynomial, which
        # lines up coefficients for ndarrays only, and gives a wrong value for anything else without a word.
        caller = sys._getframe(1).f_globals.get("__name__", "")
        if caller.partition(".")[0] in _TOLD_THE_TRUTH and not caller.startswith("numpy.polynomial."):
            return Array
        if self._kind is NUMBER:
            return complex if self.dtype.kind == "c" else float
        is_number = not self.shape and tied(self).family is None
        return self.dtype.type if is_number else np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        value = self._value
        return value.shape if value is not None else self._level.shapes[self._slot]

    @property
    def dtype(self) -> Any:
        """The type of the elements."""
        value = self._value
        return value.dtype if value is not None else self._level.dtypes[self._slot]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without dimensions")
        return self.shape[0]

    def __iter__(self) -> Iterator:
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        return bool(read(self, "bool"))

    def __float__(self) -> float:
        return float(read(self, "float()"))

    def __int__(self) -> int:
        return int(read(self, "int()"))

    def __index__(self) -> int:
        return read(self, "an index").__index__()

    def __complex__(self) -> complex:
        return complex(read(self, "complex()"))

    def item(self, *args: Any) -> Any:
        """Return one element as a Python number; only where no gradient is lost."""
        return read(self, ".item()").item(*args)

    def tolist(self) -> Any:
        """Return nested Python numbers; only where no gradient is lost."""
        return read(self, ".tolist()").tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        value = np.asarray(read(self, "conversion to a plain array"))
        return value if dtype is None else value.astype(dtype)

    def __repr__(self) -> str:
        if self._level.closed:
            return f"Array(shape={self.shape}, dtype={self.dtype}, escaped)"
        return f"Array({self.dtype}{list(self.shape)}, slot {self._slot})"

    def __format__(self, spec: str) -> str:
        return format(plain(self), spec)

    def __hash__(self) -> int:
        return id(self)

    def __getitem__(self, index: Any) -> Any:
        return HOOKS["getitem"](self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        HOOKS["setitem"](self, index, value)

    def __copy__(self) -> Any:
        return np.copy(self)  # pyright: ignore

    def __deepcopy__(self, memo: dict) -> Any:
        return np.copy(self)  # pyright: ignore

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, first: Any, /, *others: Any, **keywords: Any) -> Any:
        if method == "__call__" and not keywords:
            recorder = RECORDERS.get(ufunc)
            if recorder is not None:
                return recorder(first, *others) if others else recorder(first)
        return HOOKS["ufunc"](ufunc, method, (first, *others), keywords)

    def __array_function__(self, function: Callable, types: Any, args: tuple, keywords: dict) -> Any:
        return HOOKS["function"](function, args, keywords)


def traced(level: Level, slot: Any, value: Any) -> Array:
    """Return a traced array (see `Array`)."""
    array = Array()
    array._level = level
    array._slot = slot
    array._value = value
    array._kind = None
    array._ties = None
    return array
