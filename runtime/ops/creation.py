"""Arrays into which traced values may be written, and of traced values: offered on the face as ``retape.numpy``.

NumPy's own creators make plain arrays, which cannot hold a traced value. These make an array that belongs to the
innermost transform that runs, and a plain one outside of all; so do NumPy's with ``like=`` a traced array.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..array import Array
from ..levels import innermost
from ..op import OPS, Op, implements
from ..views import as_memory
from .conversion import array as converted
from .conversion import asanyarray, asarray, ascontiguousarray, asfortranarray, holds_traced, require
from .fills import ONES, ZEROS
from .views import transposed_fresh

__all__ = [
    "array", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray", "empty", "eye", "full", "identity", "ones",
    "require", "vectorize", "zeros",
]  # fmt: skip


def writable(plain: Any) -> Any:
    """Return a copy of `plain` that belongs to the innermost transform; integers and truths stay plain."""
    level = innermost()
    if level is None or type(plain) is Array or plain.dtype.kind not in "fc":
        return plain
    return as_memory(level.record(OPS["copy"], (plain,)))


def _constant(op: Op, shape: Any, dtype: Any, order: str) -> Any:
    level = innermost()
    wanted = tuple(operator.index(n) for n in shape) if np.iterable(shape) else (operator.index(shape),)
    dtype = np.dtype(dtype)
    axes = tuple(range(len(wanted)))[:: -1 if order == "F" else 1]
    parameters = {"shape": tuple(wanted[k] for k in axes), "dtype": dtype}
    if level is None or dtype.kind not in "fc":
        return transposed_fresh(op.run(**parameters), axes)
    return as_memory(transposed_fresh(level.record(op, (), parameters), axes))


def zeros(shape: Any, dtype: Any = float, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
    """Return zeros, into which traced values may be written.

    >>> import numpy as np, retape as rt
    >>> def f(x):
    ...     z = rt.numpy.zeros(3)
    ...     z[0] = x
    ...     return np.sum(z * z)
    >>> float(rt.grad(f)(1.5))
    3.0
    """
    return _constant(ZEROS, shape, dtype, order)


def empty(shape: Any, dtype: Any = float, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
    """Return an array to be written; until then its elements are zero."""
    return _constant(ZEROS, shape, dtype, order)


def ones(shape: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
    """Return ones, into which traced values may be written."""
    return _constant(ONES, shape, float if dtype is None else dtype, order)


def eye(
    N: int,
    M: int | None = None,
    k: int = 0,
    dtype: Any = float,
    order: str = "C",
    *,
    device: Any = None,
    like: Any = None,
) -> Any:
    """Return ones on a diagonal of zeros, into which traced values may be written."""
    return writable(np.eye(N, M, k, dtype, order))  # pyright: ignore


def identity(n: int, dtype: Any = None, *, like: Any = None) -> Any:
    """Return the identity matrix, into which traced values may be written."""
    return writable(np.identity(n, dtype))


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None) -> Any:
    """Return an array of `shape` filled with a plain or traced value, which is broadcast to it."""
    value = asarray(fill_value, dtype)
    if type(value) is not Array:
        value = writable(value)
    if type(value) is not Array:
        return np.full(shape, value, dtype, order)  # pyright: ignore
    return np.copy(np.broadcast_to(value, shape), "F" if order == "F" else "C")


def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    like: Any = None,
) -> Any:
    """Return an array of nested lists of numbers and traced scalars or arrays; gradients reach the traced ones.

    It takes what `numpy.array` takes. A plain copy of plain numbers may be written with traced values too.

    >>> import numpy as np, retape as rt
    >>> rt.grad(lambda x: rt.numpy.array([x, 2.0 * x]).sum())(1.0).item()
    3.0
    """
    made = converted(object, dtype, copy=copy, order=order, subok=subok, ndmin=ndmin)
    return writable(made) if copy and not holds_traced(object) else made


def vectorize(pyfunc: Callable, otypes: Any = None, doc: str | None = None, excluded: Any = None) -> Callable:
    """Return a function that calls `pyfunc` on every element of its broadcast arguments, as `numpy.vectorize` does.

    Unlike that it takes traced arguments and returns traced results: one call of Python and a few of the tape for each
    element. `pyfunc` may return a tuple. Raises `ValueError` for arguments without elements, unless `otypes` are given.

    >>> import numpy as np, retape as rt
    >>> relu = rt.numpy.vectorize(lambda x: x if x > 0 else 0.0 * x)
    >>> rt.grad(lambda x: np.sum(relu(x)))(np.array([-1.0, 2.0]))
    array([0., 1.])
    """
    left_out = set(excluded or ())

    def vectorized(*args: Any, **keywords: Any) -> Any:
        named = {**dict(enumerate(args)), **keywords}
        if not any(holds_traced(value) for value in named.values()):
            return np.vectorize(pyfunc, otypes, doc, excluded)(*args, **keywords)
        spread = {key: asarray(value) for key, value in named.items() if key not in left_out}
        shape = np.broadcast_shapes(*(value.shape for value in spread.values()))
        flat = {key: np.ravel(np.broadcast_to(value, shape)) for key, value in spread.items()}
        results = []
        for number in range(int(np.prod(shape))):
            given = {**named, **{key: value[number] for key, value in flat.items()}}
            results.append(pyfunc(*(given[k] for k in range(len(args))), **{k: given[k] for k in keywords}))
        if not results:
            raise ValueError("cannot call `vectorize` on size 0 inputs unless `otypes` is set")
        is_tuple = isinstance(results[0], tuple)
        columns = zip(*results, strict=True) if is_tuple else [results]
        made = []
        for number, column in enumerate(columns):
            dtype = np.dtype(otypes[number]) if otypes is not None else asarray(column[0]).dtype
            made.append(np.reshape(asarray([asarray(value).astype(dtype) for value in column]), shape))
        return tuple(made) if is_tuple else made[0]

    vectorized.__doc__ = doc if doc is not None else pyfunc.__doc__
    return vectorized


# Reached through ``like=``, which NumPy takes off the arguments.
implements(np.array)(array)
implements(np.asarray, np.asanyarray)(asarray)
implements(np.ascontiguousarray)(ascontiguousarray)
implements(np.asfortranarray)(asfortranarray)
implements(np.require)(require)
implements(np.full)(full)
implements(np.zeros)(zeros)
implements(np.empty)(empty)
implements(np.ones)(ones)
implements(np.eye)(eye)
implements(np.identity)(identity)
