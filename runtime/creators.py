"""NumPy's creators given traced values: while a transform runs, they answer where they could only raise.

``np.array([x, y])``, ``np.full(3, x)`` and ``np.r_[x, 1.0]`` do not dispatch: NumPy asks each value for memory, and a traced
one refuses. So that programs work as they stand, these functions are replaced in `numpy` while at least one transform runs.
Each calls the one that was there, and only where a traced value has refused makes a traced array in its stead: what works
without this is not changed by it. Calls that do not stand in a program by the function's name (those of NumPy and SciPy, of
compiled code, of ``map``) raise as before.

(`__array__` cannot help: NumPy takes nothing but plain memory from it. An array of traced objects would do for sums and
products, and be wrong without a word for ``np.any``, for maxima of NaN and for the imaginary part.)
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np

from .array import Array
from .callers import names
from .errors import BatchedValueError, NotDifferentiableError
from .op import FUNCTIONS, HOOKS
from .ops import creation, likeness
from .ops.conversion import array, asarray, holds_traced
from .python_numbers import of_promotion

_LIBRARIES = frozenset([__name__.split(".")[0], "numpy", "scipy"])
_lock = Lock()
_running = 0


def is_library(frame: Any) -> bool:
    """Tell whether a frame is of NumPy, SciPy or retape, which ask creators for memory."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in _LIBRARIES


def takes_traced(frame: Any) -> bool:
    """Tell whether a frame is of the part of NumPy that computes with whatever its arrays are made of."""
    return frame.f_globals.get("__name__", "").startswith("numpy.polynomial.")


def _may_answer(frame: Any, function: Callable) -> bool:
    return (not is_library(frame) or takes_traced(frame)) and names(frame, function)


def has_refused(error: Exception) -> bool:
    """Tell whether an error is that of a traced value asked for memory, which NumPy may have covered by one of its own."""
    refusals = (NotDifferentiableError, BatchedValueError)
    return isinstance(error, refusals) or isinstance(error.__cause__, refusals)


def _answering(creator: Callable, before: Callable) -> Callable:
    """Return a function that calls `before`, and `creator` for a program where a traced value has refused."""

    @functools.wraps(before)
    def entry(*args: Any, **keywords: Any) -> Any:
        try:
            return before(*args, **keywords)
        except (NotDifferentiableError, BatchedValueError, ValueError) as error:
            if not has_refused(error) or not _may_answer(sys._getframe(1), entry):
                raise
        return creator(*args, **keywords)

    return entry


def _of_items(before: Callable) -> Callable:
    """Return `numpy.fromiter` for traced items too; they are taken out first, for an iterator gives them once."""

    @functools.wraps(before)
    def entry(iter: Any, dtype: Any, count: int = -1, **keywords: Any) -> Any:
        if not _may_answer(sys._getframe(1), entry):
            return before(iter, dtype, count, **keywords)
        items = list(iter if count < 0 else itertools.islice(iter, count))
        if len(items) < count or not any(type(item) is Array for item in items):
            return before(items, dtype, count, **keywords)
        return array(items, dtype)

    return entry


def _vectorized(before: Callable) -> Callable:
    """Return the call of `numpy.vectorize` for traced arguments too."""

    @functools.wraps(before)
    def call(self: Any, *args: Any, **keywords: Any) -> Any:
        if self.signature is None and any(holds_traced(a) for a in (*args, *keywords.values())):
            return creation.vectorize(self.pyfunc, self.otypes, None, self.excluded)(*args, **keywords)
        return before(self, *args, **keywords)

    return call


def _joined(before: Callable) -> Callable:
    """Return the ``[...]`` of `numpy.r_` and `numpy.c_` for traced items too."""

    @functools.wraps(before)
    def getitem(self: Any, key: Any) -> Any:
        items = key if isinstance(key, tuple) else (key,)
        if not any(type(item) is Array for item in items):
            return before(self, key)
        is_plain = all(not isinstance(item, str) for item in items)
        if not is_plain or self.matrix or (self.axis, self.ndmin, self.trans1d) not in ((0, 1, -1), (-1, 2, 0)):
            return before(self, key)
        parts = [before(self, item) if isinstance(item, slice) else item for item in items]
        dtype = np.result_type(*(of_promotion(part) for part in parts))
        parts = [asarray(part, dtype) for part in parts]
        if self.ndmin == 1:
            return np.concatenate([np.atleast_1d(part) for part in parts], axis=0)
        return np.concatenate([part if part.ndim > 1 else np.reshape(part, (-1, 1)) for part in parts], axis=-1)

    return getitem


_CREATORS: dict[str, Callable] = {
    "array": array,
    "asarray": asarray,
    "asanyarray": asarray,
    "ascontiguousarray": creation.ascontiguousarray,
    "asfortranarray": creation.asfortranarray,
    "require": creation.require,
    "full": creation.full,
    "full_like": likeness.full_like,
    "copy": lambda a, order="K", subok=False: array(a, order=order),
}
_joins = type(np.r_).__mro__[1]
# Owner, attribute, what is there without a transform, what is there within one.
_REPLACED: list[tuple[Any, str, Any, Any]] = [
    *((np, name, getattr(np, name), _answering(creator, getattr(np, name))) for name, creator in _CREATORS.items()),
    (np, "fromiter", np.fromiter, _of_items(np.fromiter)),
    (np.vectorize, "__call__", np.vectorize.__call__, _vectorized(np.vectorize.__call__)),
    (_joins, "__getitem__", _joins.__getitem__, _joined(_joins.__getitem__)),
]
for _, _, _before, _now in _REPLACED:
    if _before in FUNCTIONS:
        FUNCTIONS[_now] = FUNCTIONS[_before]  # of ``like=``, NumPy looks the function up in its module
# The same in the order in which they are exchanged; every transform waits for that.
_ON_THE_WAY = [(vars(owner), owner, name, before, now) for owner, name, before, now in _REPLACED]
_ON_THE_WAY_BACK = [(space, owner, name, now, before) for space, owner, name, before, now in _ON_THE_WAY]


def begin() -> None:
    """Replace the creators, for a transform that begins; what somebody else has put in their place stays."""
    global _running
    with _lock:
        _running += 1
        if _running == 1:
            _exchange(_ON_THE_WAY)


def end() -> None:
    """Put the creators back, for a transform that has ended, where it is the last one of all threads."""
    global _running
    with _lock:
        _running -= 1
        if not _running:
            _exchange(_ON_THE_WAY_BACK)


def put_again() -> None:
    """Replace the creators that are back in their place while a transform runs."""
    with _lock:
        if _running:
            _exchange(_ON_THE_WAY)


def plain(owner: Any, name: str) -> Any:
    """Return what stands in `owner` by a name, or would stand there if no transform ran."""
    there = getattr(owner, name)
    return next((before for _, _, before, now in _REPLACED if now is there), there)


def _exchange(entries: list) -> None:
    for space, owner, name, there, instead in entries:
        if space[name] is there:
            setattr(owner, name, instead)


HOOKS["begin"] = begin
HOOKS["end"] = end
