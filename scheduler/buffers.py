"""Real memory: the ledger of every buffer a call creates, free lists that recycle them, and the allocator's settings."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import numpy as np

SMALLEST = 32 * 1024
_MMAP_THRESHOLD = 256 * 1024
_TRIM_THRESHOLD = 1024 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_pinned = False


def pin_allocator() -> None:
    """Let freed arrays go back to the system at once, so that the resident set follows live bytes (glibc only).

    By default glibc raises its mmap threshold up to 32 MiB after large frees, and freed arrays stay in a fragmented
    heap. Leaves everything alone where the user has set MALLOC_MMAP_THRESHOLD_ or MALLOC_ARENA_MAX, or RETAPE_MALLOPT=0.
    """
    global _pinned
    if _pinned:
        return
    _pinned = True
    if os.environ.get("RETAPE_MALLOPT") == "0" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    if sys.platform == "linux":
        try:
            mallopt = ctypes.CDLL(None).mallopt
        except (OSError, AttributeError):
            return
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)


def _references(value: Any) -> tuple[int, int]:
    """Return the reference counts of an array and of its owner, as seen from here."""
    owner = value.base
    return sys.getrefcount(value), 0 if owner is None else sys.getrefcount(owner)


def _unshared() -> tuple[int, int]:
    """Return the counts that `_references` gives for an array (and an owner) that nobody else holds.

    Measured, because interpreters differ in how many references a call itself takes.
    """

    def release(value: Any) -> tuple[int, int]:
        return _references(value)

    value = np.empty(8).reshape(2, 4)
    return release(value)


_UNSHARED = _unshared()


class Ledger:
    """Counts the bytes of every buffer that a call creates, and recycles buffers of equal size.

    `live` counts values in use, `idle` buffers that wait for reuse, `peak` the most of both together. Idle buffers are
    given back first under pressure, and never kept beyond the limit that `admit` was last told.
    """

    def __init__(self) -> None:
        self.live = 0
        self.idle = 0
        self.peak = 0
        self._limit = 0
        self._free: dict[int, list[np.ndarray]] = {}

    def admit(self, limit: int, extra: int) -> None:
        """Give idle buffers back until `extra` more bytes stay within `limit`, and note the peak with them."""
        self._limit = limit
        if self.idle and self.live + self.idle + extra > limit:
            self._give_back(self.live + self.idle + extra - limit)
        self.peak = max(self.peak, self.live + self.idle + extra)

    def _give_back(self, count: int) -> None:
        for size in sorted(self._free, reverse=True):
            pile = self._free[size]
            while pile and count > 0:
                pile.pop()
                self.idle -= size
                count -= size
            if not pile:
                del self._free[size]
            if count <= 0:
                return

    def take(self, shape: tuple[int, ...], dtype: np.dtype, nbytes: int) -> np.ndarray | None:
        """Return an idle buffer of exactly `nbytes` as an uninitialised C-contiguous array, or None."""
        pile = self._free.get(nbytes)
        if pile is None:
            return None
        owner = pile.pop()
        if not pile:
            del self._free[nbytes]
        self.idle -= nbytes
        return owner.reshape(-1).view(dtype).reshape(shape)

    def count(self, nbytes: int) -> None:
        """Note that `nbytes` are live from now on."""
        self.live += nbytes
        self.peak = max(self.peak, self.live + self.idle)

    def release(self, value: Any, nbytes: int) -> None:
        """Note that `value` is no longer live; keep its buffer for reuse when nobody else can see it."""
        self.live -= nbytes
        if nbytes < SMALLEST or type(value) is not np.ndarray or not value.flags.c_contiguous:
            return
        array, owner = _references(value)
        if array > _UNSHARED[0] or owner > _UNSHARED[1] or self.live + self.idle + nbytes > self._limit:
            return
        buffer = value if value.base is None else value.base
        if type(buffer) is np.ndarray and buffer.nbytes == nbytes and buffer.flags.owndata:
            self._free.setdefault(nbytes, []).append(buffer)
            self.idle += nbytes

    def is_own(self, value: Any) -> bool:
        """Tell whether nobody but the caller, by one name, can see the memory of `value`, so that it may be overwritten."""
        if type(value) is not np.ndarray or not value.flags.writeable:
            return False
        array, owner = _references(value)
        return array <= _UNSHARED[0] and owner <= _UNSHARED[1]

    def clear(self) -> None:
        """Give all idle buffers back."""
        self._free.clear()
        self.idle = 0
