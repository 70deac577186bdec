"""What can be asked of an array without its numbers: shape, size, dtypes, shared memory; and its text."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, plain, tied
from ..op import FUNCTIONS, implements
from ..views import Link, family_of
from .elementwise import stop_gradient


@implements(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    """Return the shape."""
    return a.shape


@implements(np.ndim)
def ndim(a: Any) -> int:
    """Return the number of dimensions."""
    return a.ndim


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    """Return the number of elements, or that along some axes."""
    return a.size if axis is None else np.size(phantom.contiguous(a.shape, np.bool_), axis)


def _dtype_of(operand: Any) -> Any:
    return operand.dtype if type(operand) is Array else operand


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype:
    """Return the promoted dtype."""
    return np.result_type(*map(_dtype_of, arrays_and_dtypes))


@implements(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Tell whether one dtype can be cast to another."""
    return np.can_cast(_dtype_of(from_), _dtype_of(to), casting)


@implements(np.common_type)
def common_type(*arrays: Any) -> Any:
    """Return the inexact scalar type that all arrays can be cast to."""
    return np.common_type(*(np.zeros(0, a.dtype) if type(a) is Array else a for a in arrays))


@implements(np.min_scalar_type)
def min_scalar_type(a: Any, /) -> np.dtype:
    """Return the smallest dtype that holds a scalar's value; that of an array is its own."""
    return a.dtype if a.ndim else np.min_scalar_type(stop_gradient(a).item())


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Tell whether the dtype is complex."""
    return x.dtype.kind == "c"


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Tell whether the dtype is real."""
    return x.dtype.kind != "c"


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """Return where the imaginary part is not zero."""
    return np.not_equal(np.imag(x), 0)


@implements(np.isreal)
def isreal(x: Any) -> Any:
    """Return where the imaginary part is zero."""
    return np.equal(np.imag(x), 0)


def _may_share(a: Any, b: Any) -> bool:
    if type(a) is not Array or type(b) is not Array:
        return False
    family = family_of(a)
    return a is b or (family is not None and family is family_of(b))


@implements(np.may_share_memory)
def may_share_memory(a: Any, b: Any, /, max_work: int | None = 0) -> bool:
    """Tell whether two arrays may share memory, as views of one array do; traced and plain ones never do."""
    return _may_share(a, b)


@implements(np.shares_memory)
def shares_memory(a: Any, b: Any, /, max_work: int | None = -1) -> bool:
    """Tell whether two arrays share an element."""
    if not _may_share(a, b):
        return False
    if a is b:
        return a.size > 0
    family = family_of(a)
    assert family is not None
    root = family.root
    numbers = np.arange(root.size).reshape(root.shape)

    def places(view: Array) -> np.ndarray:
        link: Link | None = tied(view).link
        return numbers if link is None else link.derive(numbers)

    return bool(np.isin(places(a), places(b)).any())


def _of_values(*functions: Any) -> None:
    """Register functions that make text of the numbers: no gradient is lost by printing."""
    for function in functions:
        FUNCTIONS[function] = lambda a, *args, _function=function, **keywords: _function(plain(a), *args, **keywords)


def _of_shapes(*functions: Any) -> None:
    """Register functions that look at an array's shape only."""
    for function in functions:
        FUNCTIONS[function] = lambda arr, *args, _function=function, **keywords: _function(
            phantom.contiguous(arr.shape, np.bool_), *args, **keywords
        )


_of_values(np.array2string, np.array_repr, np.array_str)
_of_shapes(np.tril_indices_from, np.triu_indices_from, np.diag_indices_from)
