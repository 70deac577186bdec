"""What NumPy's protocols hand over: functions without a handler, and the keyword forms and methods of ufuncs."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .array import NUMBER, Array, any_active, read
from .errors import BatchedValueError, MissingRuleError, NotDifferentiableError
from .lines import is_own, place, user_line
from .op import FUNCTIONS, HOOKS
from .python_numbers import as_array
from .recorders import recorder
from .views import as_memory, as_number


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple, keywords: dict) -> Any:
    """Carry out what `Array.__array_ufunc__` was asked for."""
    try:
        return _ufunc(ufunc, method, inputs, keywords)
    except BatchedValueError as error:
        if method == "at":
            raise
        return HOOKS["one_at_a_time"](getattr(ufunc, method), inputs, keywords, error)


def _ufunc(ufunc: np.ufunc, method: str, inputs: tuple, keywords: dict) -> Any:
    if method == "__call__" and not keywords:
        found = recorder(ufunc)
        if found is None and "scipy.special" in sys.modules and ufunc.__name__ in vars(sys.modules["scipy.special"]):
            importlib.import_module(".scipy", __package__)
            found = recorder(ufunc)
        if found is not None:
            return found(*inputs)
    form = HOOKS["ufunc_form"]
    return form(ufunc, method, inputs, keywords)


def call_function(function: Callable, args: tuple, keywords: dict) -> Any:
    """Carry out what `Array.__array_function__` was asked for."""
    handler = FUNCTIONS.get(function)
    try:
        result = handler(*args, **keywords) if handler is not None else _without_handler(function, args, keywords)
    except BatchedValueError as error:
        return HOOKS["one_at_a_time"](function, args, keywords, error)
    except TypeError:
        if handler is None:
            raise
        _require_form(function, handler, args, keywords)
        raise
    if handler is None:
        return result
    if type(result) is Array and result._kind is NUMBER:
        return as_array(result)  # an argument handed back: what a function returns is no Python number
    if type(result) is Array and not result.shape and function not in _GIVE_ARRAYS:
        if function is np.where and not is_own(sys._getframe(2)):  # called by the program, and not for a function made of it
            return as_memory(result)
        return result if any(result is a for a in args) else as_number(result)
    return result


# Of functions that handle more than this, a result without dimensions is a number in NumPy.
_GIVE_ARRAYS = frozenset(
    (
        np.array, np.asarray, np.asanyarray, np.asfortranarray, np.require, np.full, np.zeros, np.empty, np.ones,
        np.full_like, np.zeros_like, np.empty_like, np.ones_like, np.copy, np.reshape, np.squeeze, np.transpose,
        np.permute_dims, np.swapaxes, np.moveaxis, np.rollaxis, np.broadcast_to, np.real, np.imag, np.flip, np.select,
        np.piecewise, np.tensordot, np.linalg.tensordot, np.cov,
    )
)  # fmt: skip


def plainly(tree: Any) -> Any:
    """Return `tree` with inactive traced arrays read out."""
    if type(tree) is Array:
        return read(tree, "a NumPy function without a rule")
    if isinstance(tree, (list, tuple)):
        items = [plainly(item) for item in tree]
        return type(tree)(items) if type(tree) in (list, tuple) else type(tree)(*items)
    if isinstance(tree, dict):
        return {key: plainly(item) for key, item in tree.items()}
    return tree


def _name(function: Callable) -> str:
    return f"{getattr(function, '__module__', 'numpy')}.{getattr(function, '__name__', function)}"


def _require_form(function: Callable, handler: Callable, args: tuple, keywords: dict) -> None:
    """Raise `MissingRuleError` for arguments that NumPy's function takes and its handler does not."""
    try:
        inspect.signature(handler).bind(*args, **keywords)
    except TypeError as error:
        raise MissingRuleError(
            f"{_name(function)} of a traced array does not take these arguments here ({error}). Leave them out, or "
            "compose the same of functions that have a rule"
        ) from None


def _without_handler(function: Callable, args: tuple, keywords: dict) -> Any:
    """Run a function that has no handler: plainly where no gradient is at stake, else through NumPy's own source."""
    if not any_active(args) and not any_active(keywords):
        return function(*plainly(args), **plainly(keywords))
    implementation = getattr(function, "_implementation", None)
    try:
        if implementation is None or not hasattr(implementation, "__code__"):
            raise NotDifferentiableError("it is written in C")
        return implementation(*args, **keywords)
    except (NotDifferentiableError, AttributeError) as error:
        raise no_rule(_name(function), str(error)) from error


def no_rule(name: str, reason: str | None) -> MissingRuleError:
    """Return the error of a function that nothing is known of, called by the program's line."""
    why = f" ({reason})" if reason else ""
    return MissingRuleError(
        f"{name} has no derivative rule here{why}, at {place(user_line())}. Compose it of functions that have one, give it "
        f"one with retape.defvjp({name}, ...), or call it on retape.stop_gradient(x) if no gradient is wanted"
    )


def refuse_plain(name: str) -> NoReturn:
    """Raise `NotDifferentiableError` for a traced value that is to be written into a plain array."""
    raise NotDifferentiableError(
        f"{name} was asked to write a traced value into a plain array, which cannot hold it ({place(user_line())}): make "
        "that array with retape.numpy (zeros, full, array), np.zeros_like of a traced one, or np.zeros under `with "
        "retape.patched():`; or use the result of a function that returns one"
    )


def write_out(out: Any, result: Any, name: str, *, is_spare: bool = False) -> Any:
    """Write a result into an array, as ``out=`` asks, and return that array, or what stands in for a spare one.

    Raises `NotDifferentiableError` for a plain array and a result that has a gradient: it cannot hold a traced value.
    """
    target = out[0] if isinstance(out, tuple) else out
    if type(target) is not Array:
        if not any_active(result):
            if np.shape(target) != np.shape(result):
                raise ValueError(f"{name} has a result of shape {np.shape(result)}, and out= one of {np.shape(target)}")
            np.copyto(target, plainly(result))
            return target
        if is_spare:
            return HOOKS["stand_in"](target, result)
        refuse_plain(name)
    return HOOKS["repoint"](target, result)


HOOKS["ufunc"] = call_ufunc
HOOKS["function"] = call_function
HOOKS["write_out"] = write_out
