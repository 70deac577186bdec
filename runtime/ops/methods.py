"""The methods and attributes of a traced array: each is that of ndarray, or raises an error that names the way round."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from ..array import Array, apply, read, tied
from ..errors import MissingRuleError, NotDifferentiableError
from ..layouts import layout
from ..op import OPS
from ..python_numbers import as_python_number, is_python_number
from ..views import as_view, is_number
from ..writes import repoint
from .elementwise import cast
from .views import ravel, reshape, squeeze, swapaxes, transpose


def _method(function: Callable) -> Callable:
    return lambda self, *args, **keywords: function(self, *args, **keywords)


def _reshape(self: Array, *shape: Any, order: str = "C", copy: bool | None = None) -> Any:
    if not shape:
        raise TypeError("reshape() takes exactly 1 argument (0 given)")
    return reshape(self, shape[0] if len(shape) == 1 else shape, order, copy=copy)


def _transpose(self: Array, *given: Any) -> Any:
    axes: Any = given
    if len(axes) == 1 and (axes[0] is None or isinstance(axes[0], (tuple, list))):
        axes = axes[0]
    return transpose(self, None if given in ((), (None,)) else axes)


def _flatten(self: Array, order: str = "C") -> Any:
    flat = ravel(self, order)
    return np.copy(flat) if flat is self or tied(flat).link is not None else flat


def _astype(self: Array, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True) -> Any:
    made = cast(self, dtype, casting=casting, copy=copy)
    if order in ("K", "A") or made.ndim < 2:
        return made
    flags = layout(made).flags
    return made if (flags.f_contiguous if order == "F" else flags.c_contiguous) else np.copy(made, order)  # pyright: ignore


def _copy(self: Array, order: str = "C") -> Any:
    return apply(OPS["copy"], (self,)) if is_number(self) else np.copy(self, order)  # pyright: ignore


def _compress(self: Array, condition: Any, axis: Any = None, out: Any = None) -> Any:
    return np.compress(condition, self, axis, out)  # pyright: ignore


def _fill(self: Array, value: Any) -> None:
    if not is_number(self):  # NumPy's numbers fill an array that nobody sees
        self[...] = value


def _sort(self: Array, axis: int = -1, kind: Any = None, order: Any = None, **keywords: Any) -> None:
    repoint(self, np.sort(self, operator.index(axis), kind, order, **keywords))  # pyright: ignore


def _partition(self: Array, kth: Any, axis: int = -1, kind: str = "introselect", order: Any = None) -> None:
    repoint(self, np.partition(self, kth, operator.index(axis), kind, order))  # pyright: ignore


def _view(self: Array, dtype: Any = None, type: Any = None) -> Any:
    """Return a view; of complex numbers as pairs of real ones, and back, it can be written like any other."""
    if inspect.isclass(dtype) and issubclass(dtype, np.ndarray):
        dtype, type = None, dtype
    if type not in (None, np.ndarray):
        raise MissingRuleError(f"a traced array has no view as {type.__name__}: it is always like an ndarray")
    wanted = self.dtype if dtype is None else np.dtype(dtype)
    if wanted == self.dtype:
        return self[...]
    if self.dtype.kind == "c" and wanted == np.real(np.zeros(0, self.dtype)).dtype:
        _require_last_axis(self, 1)
        return as_view(self, _as_pairs(self), _as_pairs, lambda base, value: _of_pairs(value))
    if wanted.kind == "c" and self.dtype == np.real(np.zeros(0, wanted)).dtype:
        _require_last_axis(self, 2)
        return as_view(self, _of_pairs(self), _of_pairs, lambda base, value: _as_pairs(value))
    raise MissingRuleError(
        f"a traced array of {self.dtype} has no view as {wanted}: only complex numbers are seen as pairs of real ones, and "
        "back; x.astype converts the values"
    )


def _require_last_axis(x: Array, multiple: int) -> None:
    """Raise `ValueError` where NumPy cannot change the size of the elements: the last axis must be contiguous and even."""
    if x.ndim == 0:
        raise ValueError("Changing the dtype of a 0d array is only supported if the itemsize is unchanged")
    if x.shape[-1] != 1 and layout(x).strides[-1] != x.dtype.itemsize:
        raise ValueError("To change to a dtype of a different size, the last axis must be contiguous")
    if x.shape[-1] % multiple:
        raise ValueError(
            "When changing to a larger dtype, its size must be a divisor of the total size in bytes of the last axis"
        )


def _as_pairs(x: Any) -> Any:
    pairs = np.stack([np.real(x), np.imag(x)], -1)
    return np.reshape(pairs, (*x.shape[:-1], 2 * x.shape[-1]))


def _of_pairs(x: Any) -> Any:
    return x[..., 0::2] + 1j * x[..., 1::2]


def _part(name: str, function: Callable) -> property:
    """Return the attribute for one part of the numbers: a view, so that it can be written through."""

    def put(base: Any, value: Any) -> Any:
        return value + 1j * np.imag(base) if function is np.real else np.real(base) + 1j * value

    def get(self: Array) -> Any:
        part = function(self)
        if is_python_number(self):
            return as_python_number(part)
        return as_view(self, part, function, put) if self.dtype.kind == "c" else part

    def set_part(self: Array, value: Any) -> None:
        if self.dtype.kind == "c":
            get(self)[...] = value
        elif function is np.real:
            self[...] = value
        else:
            raise TypeError("array does not have imaginary part to set")

    return property(get, set_part, doc=f"The {name} part.")


class Flat:
    """The elements in C order, as ``x.flat``: to be read, written by index and iterated over."""

    __slots__ = ("base", "_next")

    def __init__(self, base: Array) -> None:
        self.base = base
        self._next = 0

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator:
        return self

    def __next__(self) -> Any:
        if self._next >= len(self):
            raise StopIteration
        self._next += 1
        return self[self._next - 1]

    @property
    def index(self) -> int:
        """The number of the element that comes next."""
        return self._next

    @property
    def coords(self) -> tuple:
        """The index of the element that comes next."""
        return tuple(int(k) for k in np.unravel_index(self._next, self.base.shape))

    def _places(self, index: Any) -> tuple:
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            number = range(len(self))[index]  # for the error of one that is not there
            return tuple(int(k) for k in np.unravel_index(number, self.base.shape))
        return np.unravel_index(np.arange(len(self))[index], self.base.shape)

    def __getitem__(self, index: Any) -> Any:
        if self.base.ndim == 0:
            return np.reshape(self.base, (1,))[index]
        return self.base[self._places(index)]

    def __setitem__(self, index: Any, value: Any) -> None:
        places = self._places(index)
        count = math.prod(np.shape(places[0])) if places else len(np.atleast_1d(np.arange(1)[index]))
        values = np.resize(value, count) if np.size(value) > 1 else value
        if self.base.ndim == 0:
            self.base[...] = np.reshape(values, ())
        else:
            self.base[places] = np.reshape(values, np.shape(places[0])) if np.size(values) > 1 else np.reshape(values, ())

    def _compared(self, compare: Callable, other: Any) -> Any:
        return compare(self.copy(), other)

    __lt__ = functools.partialmethod(_compared, operator.lt)
    __le__ = functools.partialmethod(_compared, operator.le)
    __gt__ = functools.partialmethod(_compared, operator.gt)
    __ge__ = functools.partialmethod(_compared, operator.ge)
    __eq__ = functools.partialmethod(_compared, operator.eq)  # pyright: ignore[reportAssignmentType]
    __ne__ = functools.partialmethod(_compared, operator.ne)  # pyright: ignore[reportAssignmentType]
    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def copy(self) -> Any:
        """Return the elements in an array of one dimension."""
        return _flatten(self.base)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.copy(), dtype)


def _set_flat(self: Array, value: Any) -> None:
    Flat(self)[...] = value


def _base(self: Array) -> Any:
    """The array that this one is a view of, or None."""
    return None if tied(self).link is None else self._ties.family.root


def _flags(self: Array) -> Any:
    """How the elements lie in memory."""
    where = layout(self)
    return np.lib.stride_tricks.as_strided(np.zeros(1, self.dtype), where.shape, where.strides).flags


def _memory(name: str) -> Callable:
    def get(self: Array) -> Any:
        try:
            return getattr(np.asarray(read(self, f".{name}")), name)
        except NotDifferentiableError as error:
            raise AttributeError(str(error)) from None  # so that hasattr says no, as of any array that is no ndarray

    return get


def _to_device(self: Array, device: str, /, *, stream: Any = None) -> Any:
    if device != "cpu":
        raise ValueError(f'Unsupported device: {device}. Only "cpu" is accepted.')
    return self


def _contains(self: Array, value: Any) -> bool:
    return bool(np.any(np.equal(self, value)))


def _refused(name: str, cure: str) -> Callable:
    def refuse(self: Array, *args: Any, **keywords: Any) -> NoReturn:
        raise MissingRuleError(f"a traced array has no {name} here: {cure}")

    return refuse


def _plain_method(name: str) -> Callable:
    return lambda self, *args, **keywords: getattr(np.asarray(read(self, f".{name}()")), name)(*args, **keywords)


def _conjugate(self: Array) -> Any:
    y = np.conjugate(self)  # pyright: ignore[reportCallIssue, reportArgumentType]
    return as_python_number(y) if is_python_number(self) else y


for _name in (
    "sum", "prod", "max", "min", "mean", "var", "std", "cumsum", "cumprod", "argmax", "argmin", "any", "all", "dot", "trace",
    "diagonal", "take", "repeat", "clip", "round", "argsort", "argpartition", "nonzero",
    "searchsorted", "conj", "choose", "put",
):  # fmt: skip
    setattr(Array, _name, _method(getattr(np, _name)))
for _name, _function in {
    "reshape": _reshape, "transpose": _transpose, "flatten": _flatten, "astype": _astype, "copy": _copy, "fill": _fill,
    "compress": _compress, "ravel": ravel, "squeeze": squeeze, "swapaxes": swapaxes, "sort": _sort, "partition": _partition,
    "view": _view, "conjugate": _conjugate, "to_device": _to_device, "__contains__": _contains,
}.items():  # fmt: skip
    setattr(Array, _name, _function)
for _name in ("tobytes", "tofile", "dump", "dumps"):
    setattr(Array, _name, _plain_method(_name))
for _name, _cure in {
    "resize": "np.resize and np.pad return an array of another size",
    "byteswap": "retape.stop_gradient(x) as a plain array has it",
    "getfield": "x.real and x.imag give the parts of complex numbers, x.astype converts",
    "setfield": "write to x.real, x.imag or x by index",
    "setflags": "a traced array is always writable",
    "__reduce__": "return it from the function that is differentiated, and pickle the result",
}.items():
    setattr(Array, _name, _refused(_name, _cure))


def _set_shape(self: Array, shape: Any) -> NoReturn:
    raise MissingRuleError("the shape of a traced array is not changed in place here: say x = x.reshape(...)")


def _set_dtype(self: Array, dtype: Any) -> NoReturn:
    raise MissingRuleError("the dtype of a traced array is not changed in place here: say x = x.astype(...)")


Array.shape = property(Array.shape.fget, _set_shape)  # pyright: ignore
Array.dtype = property(Array.dtype.fget, _set_dtype)  # pyright: ignore
Array.T = property(transpose)  # pyright: ignore
Array.mT = property(lambda self: np.matrix_transpose(self))  # pyright: ignore
Array.real = _part("real", np.real)  # pyright: ignore
Array.imag = _part("imaginary", np.imag)  # pyright: ignore
Array.flat = property(Flat, _set_flat)  # pyright: ignore
Array.base = property(_base)  # pyright: ignore
Array.flags = property(_flags)  # pyright: ignore
Array.strides = property(lambda self: layout(self).strides)  # pyright: ignore
Array.device = property(lambda self: "cpu")  # pyright: ignore
Array.data = property(_memory("data"))  # pyright: ignore
Array.ctypes = property(_memory("ctypes"))  # pyright: ignore
Array.__array_namespace__ = lambda self, *, api_version=None: np  # pyright: ignore
