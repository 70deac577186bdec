"""The ledger of every buffer that a call creates, and the free lists that recycle them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ..runtime.op import Op
from .memory import MOST_LEFT, Heap

SMALLEST = 32 * 1024


def owner_of(array: Any) -> Any:
    """Return the array whose memory `array` shows: itself, or the end of its chain of views."""
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array


def takes_buffer(op: Op, made: Any) -> bool:
    """Tell whether `op` may be given an idle buffer for its result, laid out like `made`."""
    return op.run_into is not None and not op.reads_target and made.nbytes >= SMALLEST and made.flags.c_contiguous


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
        self._heap = Heap()

    def admit(self, limit: int, extra: int) -> None:
        """Give idle buffers back until `extra` more bytes stay within `limit`, and note the peak with them."""
        self._limit = limit
        if self.idle and self.live + self.idle + extra > limit:
            self._give_back(self.live + self.idle + extra - limit)
        heap = self._heap
        if heap.left_bytes > MOST_LEFT or heap.hole_bytes > MOST_LEFT + limit - self.live - self.idle - extra:
            heap.trim()
        self.peak = max(self.peak, self.live + self.idle + extra)

    def _give_back(self, count: int) -> None:
        for size in sorted(self._free, reverse=True):
            pile = self._free[size]
            while pile and count > 0:
                self._heap.note(pile[-1], size)
                del pile[-1]
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
        """Note that an array of `nbytes` is live from now on."""
        self.live += nbytes
        self.peak = max(self.peak, self.live + self.idle)
        self._heap.fill(nbytes)

    def hold(self, nbytes: int) -> None:
        """Note that `nbytes` of other memory are live from now on."""
        self.live += nbytes
        self.peak = max(self.peak, self.live + self.idle)

    def release(self, value: Any, nbytes: int) -> None:
        """Note that `value` is no longer live; keep its buffer for reuse when nobody else can see it."""
        self.live -= nbytes
        if nbytes < SMALLEST or type(value) is not np.ndarray:
            self._heap.note(value, nbytes)
            return
        array, owner = _references(value)
        buffer = value if value.base is None else value.base
        if array > _UNSHARED[0] or owner > _UNSHARED[1] or type(buffer) is not np.ndarray or buffer.nbytes != nbytes:
            return
        fits = self.live + self.idle + nbytes <= self._limit
        if fits and value.flags.c_contiguous and buffer.flags.owndata:
            self._free.setdefault(nbytes, []).append(buffer)
            self.idle += nbytes
        else:
            self._heap.note(buffer, nbytes)

    def is_own(self, value: Any) -> bool:
        """Tell whether nobody but the caller, by one name, can see the memory of `value`, so that it may be overwritten."""
        if type(value) is not np.ndarray or not value.flags.writeable:
            return False
        array, owner = _references(value)
        return array <= _UNSHARED[0] and owner <= _UNSHARED[1]

    def clear(self) -> None:
        """Give all idle buffers back."""
        for size, pile in self._free.items():
            while pile:
                self._heap.note(pile.pop(), size)
        self._free.clear()
        self.idle = 0
        if self._heap.left_bytes:
            self._heap.trim()

    def forget(self, value: Any) -> None:
        """Note that `value` is about to be freed, and not kept for reuse."""
        self.live -= value.nbytes
        self._heap.note(value, value.nbytes)

    def trim(self) -> None:
        """Give the pages of arrays that were freed into the heap back to the system, where that is worth the call."""
        if self._heap.left_bytes + self._heap.hole_bytes > MOST_LEFT:
            self._heap.trim()
