"""The C library's allocator, made to give freed arrays back, its heap trimmed where they still lie in it, or to keep them."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

MMAP_THRESHOLD = 256 * 1024
_TRIM_THRESHOLD = 1024 * 1024
# The largest mmap threshold that glibc takes, and as good as no trimming: the figure is a C int.
_KEPT_MMAP_THRESHOLD, _KEPT_TRIM_THRESHOLD = 32 * 1024 * 1024, 2**31 - 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
MOST_LEFT = 8 * 1024 * 1024


@cache
def pin_allocator() -> bool:
    """Let freed arrays go back to the system at once, so that the resident set follows live bytes (glibc only).

    By default glibc raises its mmap threshold up to 32 MiB after large frees, and freed arrays stay in a fragmented
    heap. Pinned for the rest of the process, at the first call. Leaves everything alone, and returns False, where the
    user has set MALLOC_MMAP_THRESHOLD_, or RETAPE_MALLOPT=0, and where there is no such allocator.
    """
    return _set_thresholds(MMAP_THRESHOLD, _TRIM_THRESHOLD)


def keep_freed_memory() -> bool:
    """Let freed arrays below 32 MiB stay with this process for the next ones (glibc only), for a loop without a budget.

    By default they go back to the system or stay, as the order of allocations happens to have set glibc's thresholds:
    where they go back, every step of the loop takes their pages anew. `pin_allocator`, called later, undoes it. Leaves
    everything alone, and returns False, where that does.
    """
    return _set_thresholds(_KEPT_MMAP_THRESHOLD, _KEPT_TRIM_THRESHOLD)


def _set_thresholds(mmap: int, trim: int) -> bool:
    if os.environ.get("RETAPE_MALLOPT") == "0" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    mallopt = _c_function("mallopt", ctypes.c_int, ctypes.c_int, ctypes.c_int)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, mmap) and mallopt(_M_TRIM_THRESHOLD, trim))


def _c_function(name: str, result: Any, *arguments: Any) -> Callable[..., Any] | None:
    if sys.platform != "linux":
        return None
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    function.restype, function.argtypes = result, arguments
    return function


class Heap:
    """Gives back the pages of arrays that were freed into the heap, where they would stay resident.

    A pinned allocator still fills holes that were there before it was pinned, and an array freed into a hole is not
    unmapped: `left_bytes` are those of large arrays. Small ones always lie in the heap: `hole_bytes` are those of which no
    array of the same size has taken the place yet. `note` is told of every array that is about to be freed, `fill` of every
    size that is taken.
    """

    def __init__(self) -> None:
        self.left_bytes = 0
        self.hole_bytes = 0
        self._holes: dict[int, int] = {}  # by bytes: how many
        self._break = _c_function("sbrk", ctypes.c_void_p, ctypes.c_ssize_t)
        self._trim = _c_function("malloc_trim", ctypes.c_int, ctypes.c_size_t) if pin_allocator() else None

    def note(self, array: Any, nbytes: int) -> None:
        """Take note that `array`, of `nbytes` of its own, is about to be freed; only arrays are seen, not a loop's states."""
        if not isinstance(array, np.ndarray):
            return
        if nbytes < MMAP_THRESHOLD:
            self._holes[nbytes] = self._holes.get(nbytes, 0) + 1
            self.hole_bytes += nbytes
        elif self._trim is not None and self._break is not None:
            # The heap ends at the program break; what was mapped lies above it.
            if array.__array_interface__["data"][0] < self._break(0):
                self.left_bytes += nbytes

    def fill(self, nbytes: int) -> None:
        """Take note that an array of `nbytes` was made."""
        count = self._holes.get(nbytes)
        if count:
            self._holes[nbytes] = count - 1
            self.hole_bytes -= nbytes

    def trim(self) -> None:
        """Give free pages back to the system."""
        if self._trim is not None:
            self._trim(0)
        self.left_bytes = self.hole_bytes = 0
        self._holes.clear()
