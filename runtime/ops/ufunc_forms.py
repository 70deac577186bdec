"""The ways to call a ufunc: into an array, where a mask says, in a dtype, and by its methods.

`ufunc_form` answers every call of a ufunc on traced arrays that is more than ``ufunc(*inputs)``.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..array import Array, any_active, read
from ..dispatch import no_rule, plainly, write_out
from ..op import FUNCTIONS, HOOKS, UFUNCS
from ..python_numbers import cast_for, is_python_number, scalar_type
from ..spare import is_spare
from .axes import as_operand, is_mask
from .creation import vectorize
from .folds import accumulate, reduce, reduceat
from .updates import at
from .views import laid_out

_TEXT = "it works on text"
NOT_APPLICABLE: dict[str, str] = {
    "nextafter": "it steps to the neighbouring number of a dtype, which is no function of real numbers",
    "isnat": "it asks about dates",
    "_ones_like": "it makes ones: use np.ones_like",
} | dict.fromkeys(
    (
        "_center", "_expandtabs", "_expandtabs_length", "_ljust", "_lstrip_chars", "_lstrip_whitespace", "_partition",
        "_partition_index", "_replace", "_rjust", "_rpartition", "_rpartition_index", "_rstrip_chars", "_rstrip_whitespace",
        "_slice", "_strip_chars", "_strip_whitespace", "_zfill", "count", "endswith", "find", "index", "isalnum", "isalpha",
        "isdecimal", "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "rfind", "rindex", "startswith",
        "str_len",
    ),
    _TEXT,
)  # fmt: skip
if np.lib.NumpyVersion(np.__version__) >= "2.5.0":
    NOT_APPLICABLE |= dict.fromkeys(("real", "imag"), "NumPy offers a function of this name that is no ufunc")
_METHODS = {"reduce": reduce, "accumulate": accumulate, "reduceat": reduceat, "at": at}


def ufunc_form(ufunc: np.ufunc, method: str, inputs: tuple, keywords: dict) -> Any:
    """Return what ``ufunc.method(*inputs, **keywords)`` returns, recorded.

    Where a mask leaves elements out and no `out` is given, they are 0 (NumPy leaves them as memory happened to be). Raises
    `MissingRuleError` for a ufunc without a rule, `NotDifferentiableError` for an `out` that cannot hold a traced result.
    """
    keywords = dict(keywords)
    if ufunc not in UFUNCS and ufunc not in FUNCTIONS:
        return _without_rule(ufunc, method, inputs, keywords)
    if method == "outer":
        a, b = (as_operand(operand) for operand in inputs)
        inputs, method = (np.reshape(a, a.shape + (1,) * b.ndim), b), "__call__"
    out = keywords.pop("out", None)
    replaced = False
    if out is not None:
        if len(out) == 1 and method == "__call__":
            # A program's own tuple has the array's place on the stack: its references count too.
            replaced = is_spare(out[0], sys.getrefcount(out[0]) + sys.getrefcount(out), ufunc)
        inputs = tuple(_kept_apart(a, out) for a in inputs)
    casting = keywords.get("casting", "same_kind")
    order = keywords.pop("order", "K")
    if method == "__call__":
        result = _call(ufunc, inputs, out, keywords)
    else:
        result = _METHODS[method](ufunc, *inputs, **keywords)
    if out is None:
        if isinstance(result, tuple):
            return tuple(laid_out(part, order, inputs) for part in result)
        return result if order == "K" else laid_out(result, order, inputs)
    name = f"numpy.{ufunc.__name__}"
    if ufunc.nout == 1:
        return _written(out[0], result, casting, name, replaced)
    return tuple(_written(target, part, casting, name) for target, part in zip(out, result, strict=True))


HOOKS["ufunc_form"] = ufunc_form


def _without_rule(ufunc: np.ufunc, method: str, inputs: tuple, keywords: dict) -> Any:
    if method == "__call__" and not keywords and all(set(types) <= set("O->") for types in ufunc.types):
        return _of_objects(ufunc, inputs)
    if not any_active(inputs) and not any_active(keywords) and keywords.get("out") is None and method != "at":
        return getattr(ufunc, method)(*plainly(inputs), **plainly(keywords))
    raise no_rule(f"numpy.{ufunc.__name__}", NOT_APPLICABLE.get(ufunc.__name__))


def _of_objects(ufunc: np.ufunc, inputs: tuple) -> Any:
    """Return what a ufunc made by `numpy.frompyfunc` gives, with its function called on each traced element."""

    def call(*elements: Any) -> Any:
        boxes = [np.empty((), object) for _ in elements]
        for box, element in zip(boxes, elements, strict=True):
            box[()] = element
        return ufunc(*boxes)

    return vectorize(call)(*inputs)


def _kept_apart(a: Any, out: tuple) -> Any:
    """Return a copy of a plain operand that the result will be written over: the tape holds operands as they are."""
    is_target = type(a) is np.ndarray and any(type(t) is np.ndarray and np.may_share_memory(a, t) for t in out)
    return a.copy() if is_target else a


def _written(target: Any, result: Any, casting: str, name: str, is_spare: bool = False) -> Any:
    """Write a result where ``out=`` asks, as far as `casting` allows, and return that array; None takes no result.

    What stands in for a plain array that `is_spare` is returned in its place.
    """
    if target is None:
        return result
    if not np.can_cast(result.dtype, target.dtype, casting):  # pyright: ignore[reportArgumentType]
        raise TypeError(f"cannot write the {result.dtype} that {name} gives into {target.dtype} by the rule {casting!r}")
    if type(target) is not Array and not any_active(result):
        np.copyto(target, read(result, name) if type(result) is Array else result, casting=casting)  # pyright: ignore
        return target
    if casting == "unsafe" and result.dtype != target.dtype:
        result = result.astype(target.dtype)
    if result.shape != target.shape:
        result = np.copy(np.broadcast_to(result, target.shape))
    return write_out(target, result, name, is_spare=is_spare)


def _call(ufunc: np.ufunc, inputs: tuple, out: tuple | None, keywords: dict) -> Any:
    where = keywords.pop("where", True)
    keywords.pop("subok", None)
    if ufunc.signature is not None:
        return FUNCTIONS[ufunc](*inputs, **keywords)  # pyright: ignore[reportArgumentType]
    dtype, casting = keywords.pop("dtype", None), keywords.pop("casting", None)
    signature = keywords.pop("signature", None)
    if keywords:
        raise TypeError(f"{ufunc.__name__}() got an unexpected keyword argument '{next(iter(keywords))}'")
    if dtype is not None or casting is not None or signature is not None:
        inputs = _cast(ufunc, inputs, dtype, casting or "same_kind", signature)
    if not is_mask(where):
        return ufunc(*inputs)
    if any(type(a) is Array and is_python_number(a) for a in inputs):
        inputs = tuple(cast_for(ufunc, list(inputs)))
    where = as_operand(where)
    if where.dtype != np.bool_:
        raise TypeError(f"Cannot cast array data from dtype('{where.dtype}') to dtype('bool') according to the rule 'safe'")
    result = ufunc(*(_safe(ufunc, a, where) for a in inputs))
    if ufunc.nout == 1:
        return _chosen(where, result, out[0] if out else None)
    return tuple(_chosen(where, part, out[k] if out else None) for k, part in enumerate(result))


def _cast(ufunc: np.ufunc, inputs: tuple, dtype: Any, casting: Any, signature: Any) -> tuple:
    """Return the inputs in the dtypes of the loop that NumPy would run; raises `TypeError` where `casting` forbids it."""
    if dtype is not None:
        signature = (None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout
    elif isinstance(signature, str):
        signature = tuple(np.dtype(letter) for letter in signature.replace("->", ""))
        if len(signature) != ufunc.nargs:
            raise ValueError(f"a type tuple of length {ufunc.nargs} is wanted for {ufunc}")
    operands = [a if isinstance(a, (int, float, complex)) else as_operand(a) for a in inputs]
    kinds = tuple(scalar_type(a) for a in operands)
    options = {} if signature is None else {"signature": signature}
    wanted = ufunc.resolve_dtypes(kinds + (None,) * ufunc.nout, casting=casting, **options)
    return tuple(
        a if getattr(a, "dtype", None) == want else as_operand(a).astype(want)
        for a, want in zip(operands, wanted[: ufunc.nin], strict=True)
    )


def _safe(ufunc: np.ufunc, a: Any, where: Any) -> Any:
    """Return an operand with harmless numbers where the mask leaves elements out: NumPy does not compute there."""
    if isinstance(a, (int, float, complex)):
        return a
    a = as_operand(a)
    if a.dtype.kind == "b":
        return np.where(where, a, np.True_)
    if ufunc.nin > 1:
        return np.where(where, a, 1)
    if a.dtype.kind in "iu":
        return np.where(where, a, 0 if ufunc is np.arctanh else 1)
    return np.where(where, a, 2.0 if ufunc is np.arccosh else 0.5)


def _chosen(where: Any, result: Any, before: Any) -> Any:
    if before is None:
        return np.where(where, result, np.zeros((), result.dtype))
    if type(before) is Array and before.dtype != result.dtype:
        before = before.astype(result.dtype)
    if type(before) is not Array:
        before = np.array(before, result.dtype)
    return np.where(where, result, before)
