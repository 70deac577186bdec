"""The opt-in mode in which plain NumPy, SciPy and math take traced values where they cannot dispatch: `patched`.

NumPy's own creators then make, while a transform runs, arrays that traced values can be written into, so that
``z = np.zeros(n); z[i] = x`` works as it stands. Functions are replaced in their modules (``numpy.zeros``), so a name
that another module took from there before (``from numpy import zeros``) keeps the old one. Code of NumPy, SciPy and
retape and compiled code always get the old ones, which they may ask for memory: only calls that stand in a program see
the mode, by the function's name or as a module's attribute (not through ``map`` or ``functools.partial``), and those of
`numpy.polynomial` that hand over traced values.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np

from .array import Array
from .callers import names
from .creators import is_library, plain, put_again, takes_traced
from .levels import innermost
from .op import HOOKS
from .ops import creation, likeness
from .ops.conversion import asarray, holds_traced

_lock = RLock()
_count = 0
_replaced: list[tuple[Any, str, Any, Any]] = []  # owner, attribute, what was there, what is there now


@contextmanager
def patched() -> Iterator[None]:
    """Let NumPy's creators make writable traced arrays, and SciPy and `math` take traced ones, within a ``with`` block.

    Blocks nest, and threads may each have theirs; the functions are put back when the last one ends. Arrays of integers
    and truths stay plain, and outside of transforms nothing changes at all. SciPy's functions are replaced where SciPy has
    been imported before.

    >>> import numpy as np, retape as rt
    >>> def f(x):
    ...     z = np.zeros(3)
    ...     z[0] = x
    ...     return np.sum(z * z)
    >>> with rt.patched():
    ...     float(rt.grad(f)(1.5))
    3.0
    """
    patch()
    try:
        yield
    finally:
        unpatch()


def patch() -> None:
    """Turn the mode of `patched` on until `unpatch` is called as often."""
    global _count
    with _lock:
        _count += 1
        there = {(id(owner), name) for owner, name, _, _ in _replaced}
        for owner, name, make in _table():
            if (id(owner), name) not in there:
                before = plain(owner, name)
                now = make(before)
                setattr(owner, name, now)
                _replaced.append((owner, name, before, now))


def unpatch() -> None:
    """Undo one `patch`. Raises `RuntimeError` where there is none."""
    global _count
    with _lock:
        if not _count:
            raise RuntimeError("retape.unpatch() without a retape.patch() before it")
        _count -= 1
        if _count:
            return
        while _replaced:
            owner, name, before, now = _replaced.pop()
            if getattr(owner, name) is now:  # else somebody else has replaced it since: theirs stays
                setattr(owner, name, before)
    put_again()


def _table() -> Iterator[tuple[Any, str, Callable]]:
    """Yield owner, attribute, and what makes the function in its place of the one that is there."""
    for name, creator in _CREATORS.items():
        yield np, name, functools.partial(_within_programs, creator)
    for name, function in _MATH.items():
        yield math, name, functools.partial(_of_traced, function)
    if "scipy" in sys.modules:
        from .scipy import PATCHES
        from .scipy.replace import owner_of

        for module, entries in PATCHES.items():
            if module in sys.modules:
                for name, entry in entries.items():
                    yield *owner_of(module, name), functools.partial(_given, entry)


def _cure_for_scipy(function: str) -> str:
    """Return what to do about a function of SciPy's, ``scipy.linalg.expm``, that was given a traced array."""
    from .scipy import PATCHES

    module, _, name = function.rpartition(".")
    if name in PATCHES.get(module, ()):
        return f"call retape.{function} in its place, or it under `with retape.patched():`"
    return "compose it of functions that have a rule, or make it one that has with retape.primitive"


def _given(entry: Any, before: Any) -> Any:
    return entry


def _within_programs(creator: Callable, before: Callable) -> Callable:
    """Return the function that calls `creator` for a program under a transform, and what was there before for all else."""

    @functools.wraps(before)
    def entry(*args: Any, **keywords: Any) -> Any:
        if innermost() is not None:
            frame = sys._getframe(1)
            if (args and holds_traced(args[0]) if takes_traced(frame) else not is_library(frame)) and names(frame, entry):
                return creator(*args, **keywords)
        return before(*args, **keywords)

    return entry


def _of_traced(function: Callable, before: Callable) -> Callable:
    @functools.wraps(before)
    def entry(*args: Any) -> Any:
        return function(*args) if any(type(a) is Array for a in args) else before(*args)

    return entry


def _fresh(creator: Callable) -> Callable:
    """Return a creator whose plain results, being new, can be written with traced values too."""
    return lambda *args, **keywords: creation.writable(creator(*args, **keywords))


def _as_array(a: Any, *args: Any, **keywords: Any) -> Any:
    if isinstance(a, (Array, np.ndarray, np.generic, int, float, complex)):
        return asarray(a, *args, **keywords)
    return creation.writable(asarray(a, *args, **keywords))


def _from_iterable(iter: Any, dtype: Any, count: int = -1, *, like: Any = None) -> Any:
    values = []
    for value in iter:
        if len(values) == count:
            break
        values.append(value)
    if count > len(values):
        raise ValueError(f"iterator too short: Expected {count} but iterator had only {len(values)} items.")
    return creation.array(values, dtype)


_CREATORS: dict[str, Callable] = {
    "array": creation.array,
    "asarray": _as_array,
    "asanyarray": _as_array,
    "zeros": creation.zeros,
    "empty": creation.empty,
    "ones": creation.ones,
    "full": creation.full,
    "eye": creation.eye,
    "identity": creation.identity,
    "fromiter": _from_iterable,
    "zeros_like": likeness.zeros_like,
    "empty_like": likeness.zeros_like,
    "ones_like": likeness.ones_like,
    "full_like": likeness.full_like,
    "copy": _fresh(np.copy),
}


def _log(x: Any, base: Any = math.e) -> Any:
    return np.log(x) if base is math.e else np.log(x) / np.log(base)


def _truth(function: Callable) -> Callable:
    return lambda x: bool(function(x))


_MATH: dict[str, Callable] = {
    name: getattr(np, numpy_name)
    for name, numpy_name in {
        "exp": "exp", "exp2": "exp2", "expm1": "expm1", "log2": "log2", "log10": "log10", "log1p": "log1p", "sqrt": "sqrt",
        "cbrt": "cbrt", "pow": "power", "sin": "sin", "cos": "cos", "tan": "tan", "asin": "arcsin", "acos": "arccos",
        "atan": "arctan", "atan2": "arctan2", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "asinh": "arcsinh",
        "acosh": "arccosh", "atanh": "arctanh", "hypot": "hypot", "fabs": "fabs", "degrees": "degrees", "radians": "radians",
        "copysign": "copysign", "fmod": "fmod",
    }.items()
} | {
    "log": _log, "isnan": _truth(np.isnan), "isinf": _truth(np.isinf), "isfinite": _truth(np.isfinite),
}  # fmt: skip

HOOKS["cure_for_scipy"] = _cure_for_scipy
