"""Checksums: from an array, a number that tells whether it is still what it was."""

from __future__ import annotations

import gc
import zlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from . import trees
from .errors import ChangedError

_COPIED = 64 * 1024
_SUMMED = 256 * 1024
_WORDS_A_ROW = 1021  # odd: one change of all words, as of a sign or an exponent, cannot add up to 0 in 64 bits


def checksum(array: np.ndarray, before: int = 0) -> int:
    """Return a checksum of an array's bytes in their order; nothing larger than 64 KiB is copied for it."""
    if array.flags.f_contiguous and array.ndim > 1:
        array = array.T
    if array.flags.c_contiguous or array.nbytes <= _COPIED:
        return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, before)
    for part in array:
        before = checksum(part, before)
    return before


def fingerprint(array: np.ndarray) -> int:
    """Return what tells whether an array was written to: its checksum; of a large one that of sums, in a fourth of the time.

    The bytes of a large array in one piece, laid out as a table of 64-bit words, are added up by rows and by columns, without
    carry beyond 64 bits. Another value in any one place changes both; so do other values in an order that is shifted, turned
    round or shuffled. Only what is made to keep every row's and every column's sum would not be noticed.

    >>> large = np.arange(100_000.0)
    >>> before = fingerprint(large)
    >>> large[0], large[1] = large[1], large[0]
    >>> fingerprint(large) == before
    False
    """
    if array.flags.f_contiguous and array.ndim > 1:
        array = array.T
    if array.nbytes <= _SUMMED or not array.flags.c_contiguous:
        return checksum(array)
    whole = array.nbytes // (8 * _WORDS_A_ROW) * 8 * _WORDS_A_ROW
    everything = array.reshape(-1).view(np.uint8)
    table = everything[:whole].view(np.uint64).reshape(-1, _WORDS_A_ROW)
    return checksum(table.sum(axis=0), checksum(table.sum(axis=1), checksum(everything[whole:])))


def while_unchanged(function: Callable, trail: Any, captured: list[np.ndarray], results: dict[str, Any]) -> Callable:
    """Return `function`, which reads what `trail` holds, refusing to run once any of it has been written to.

    While a program is recorded its arrays are read-only. Afterwards the user may have good reason to write to them, so those
    within reach, the `captured` ones and those in the containers `results`, by their roles, are compared at each call.
    """
    arrays = [(array, "an array that the function used") for array in captured]
    known = {id(array) for array in captured}
    for role, tree in results.items():
        for leaf in trees.flatten(tree)[0]:
            if type(leaf) is np.ndarray and leaf.dtype.kind != "O" and id(leaf) not in known:
                arrays.append((leaf, role))
    before = [checksum(array) for array, _ in arrays]

    def guarded(*args: Any) -> Any:
        for (array, role), was in zip(arrays, before, strict=True):
            if checksum(array) != was and _holds(trail.calls, array):
                raise ChangedError(
                    f"{role}, of shape {array.shape} and dtype {array.dtype}, was written to after the function had run, and "
                    "its derivatives are computed from it: write to a copy, or call the transform again"
                )
        return function(*args)

    return guarded


def _holds(root: Any, array: np.ndarray) -> bool:
    """Tell whether `array`, or one that shares memory with it, can be reached from `root`."""
    seen = {id(root)}
    frontier = [root]
    while frontier:
        found = []
        for item in gc.get_referents(*frontier):
            if isinstance(item, np.ndarray) and np.may_share_memory(item, array):
                return True
            if id(item) in seen or isinstance(item, (type, ModuleType)) or type(item) is dict and "__builtins__" in item:
                continue
            seen.add(id(item))
            found.append(item)
        frontier = found
    return False
