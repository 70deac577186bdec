"""The C library's allocator, made to give freed arrays back: pinned once, its heap trimmed where arrays still lie in it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

MMAP_THRESHOLD = 256 * 1024
_TRIM_THRESHOLD = 1024 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LEFT_BEHIND = 8 * 1024 * 1024


@cache
def pin_allocator() -> bool:
    """Let freed arrays go back to the system at once, so that the resident set follows live bytes (glibc only).

    By default glibc raises its mmap threshold up to 32 MiB after large frees, and freed arrays stay in a fragmented
    heap. Pinned for the rest of the process, at the first call. Leaves everything alone, and returns False, where the
    user has set MALLOC_MMAP_THRESHOLD_, or RETAPE_MALLOPT=0, and where there is no such allocator.
    """
    if os.environ.get("RETAPE_MALLOPT") == "0" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    mallopt = _c_function("mallopt", ctypes.c_int, ctypes.c_int, ctypes.c_int)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD) and mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD))


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
    """Gives back the pages of large arrays that were freed into the heap, where they would stay resident.

    A pinned allocator still fills holes that were there before it was pinned, and an array freed into a hole is not
    unmapped. `note` is told of every large array that is about to be freed; from 8 MiB in the heap on, it is trimmed.
    """

    def __init__(self) -> None:
        self.left_bytes = 0
        self._break = _c_function("sbrk", ctypes.c_void_p, ctypes.c_ssize_t)
        self._trim = _c_function("malloc_trim", ctypes.c_int, ctypes.c_size_t) if pin_allocator() else None

    def note(self, array: Any, nbytes: int) -> None:
        """Take note that `array`, of `nbytes` of its own, is about to be freed."""
        if nbytes >= MMAP_THRESHOLD and self._trim is not None and self._break is not None:
            # The heap ends at the program break; what was mapped lies above it.
            if array.__array_interface__["data"][0] < self._break(0):
                self.left_bytes += nbytes

    def trim(self, *, at_least: int = _LEFT_BEHIND) -> None:
        """Give free pages back to the system, if arrays of so many bytes were freed into the heap since the last time."""
        if self.left_bytes >= at_least and self._trim is not None:
            self._trim(0)
            self.left_bytes = 0
