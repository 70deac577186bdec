"""The states of a loop that are on disk: written behind the computing, read ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from errno import ENOSPC
from typing import Any

import numpy as np

from ...checkpoint.disk import Disk
from ...checkpoint.loops.share import STATES_IN_FLIGHT
from ...runtime.phantom import memory_axes
from ..spill import SpillError, SpillFile, SpillFolder
from .parts import State

# Of an array on disk: the axes from the outermost in memory to the innermost, and its shape and dtype in that order.
_Layout = tuple[tuple[int, ...], tuple[int, ...], Any]


class Files:
    """The files of the loops of one call, all in one folder and together within the bytes that may be written there.

    `written_bytes` are those of all states that were written.
    """

    def __init__(self, folder: SpillFolder) -> None:
        self.written_bytes = 0
        self._folder = folder
        self._open: list[tuple[SpillFile, int]] = []

    def disk(self) -> Disk | None:
        """Return the disk as one loop may use it: half of it, for there may be other loops, and values to be spilled."""
        try:
            disk = self._folder.disk()
        except SpillError:
            return None
        return replace(disk, capacity_bytes=disk.capacity_bytes // 2)

    def open(self, nbytes: int) -> SpillFile:
        """Return a file with so many bytes of the disk taken for it. Raises `SpillError` where there is no room."""
        self._open = [(file, size) for file, size in self._open if not file.is_closed]
        most, taken = self._folder.most_bytes, sum(size for _, size in self._open)
        if most is not None and taken + nbytes > most:
            raise SpillError(ENOSPC, f"no room for {nbytes} bytes of states beside {taken} within a spill_budget of {most}")
        file = self._folder.open(nbytes)
        self._open.append((file, nbytes))
        return file

    def close(self) -> None:
        """Let go of all files."""
        while self._open:
            self._open.pop()[0].close()


class StatesOnDisk:
    """States by block, in a file of `nbytes` bytes. `reads` are the blocks whose states will be taken, in order.

    `let_go` is called with every state that is written; `take_buffer` returns memory for reuse, or None. Raises `SpillError`
    where there is no room.
    """

    def __init__(
        self,
        files: Files,
        nbytes: int,
        reads: Iterator[int],
        let_go: Callable[[State], None],
        take_buffer: Callable[[tuple[int, ...], Any, int], np.ndarray | None],
    ) -> None:
        self._files = files
        self._file = files.open(nbytes)
        self._reads = reads
        self._let_go = let_go
        self._take_buffer = take_buffer
        self._on_way: deque[tuple[int, State]] = deque()
        self._layouts: dict[int, tuple[list[_Layout | None], State]] = {}
        self._ahead: tuple[int, State] | None = None

    def write(self, block: int, state: State) -> None:
        """Begin to write a state; wait for the one before those that may be on their way. Raises `SpillError`."""
        while len(self._on_way) >= STATES_IN_FLIGHT:
            self._land()
        layouts = [_layout(value) for value in state.values]
        self._on_way.append((block, state))
        for k, (value, layout) in enumerate(zip(state.values, layouts, strict=True)):
            if layout is not None:
                self._file.write(self._key(block, k, state), value.transpose(layout[0]))
                self._files.written_bytes += value.nbytes
        # What is no array, or does not lie in one piece, stays in memory: numbers, and arrays of the user's own.
        left = [None if layout is not None else value for value, layout in zip(state.values, layouts, strict=True)]
        self._layouts[block] = layouts, State(left, state.kinds)

    def _key(self, block: int, number: int, state: State) -> int:
        return block * len(state.kinds) + number

    def _land(self) -> None:
        block, state = self._on_way[0]
        for k in range(len(state.kinds)):
            self._file.wait(self._key(block, k, state))
        self._on_way.popleft()
        self._let_go(state)

    def land_all(self) -> None:
        """Wait until everything is written. Raises `SpillError`."""
        while self._on_way:
            self._land()

    def read_ahead(self) -> None:
        """Begin to read the state that will be taken next, if there is one."""
        block = next(self._reads, None)
        if block is None or self._ahead is not None:
            return
        layouts, left = self._layouts[block]
        state = State([*left.values], left.kinds)
        for k, layout in enumerate(layouts):
            if layout is None:
                continue
            axes, shape, dtype = layout
            buffer = self._take_buffer(shape, dtype, int(np.prod(shape)) * dtype.itemsize)
            if buffer is None:
                buffer = np.empty(shape, dtype)
            self._file.read(self._key(block, k, state), buffer)
            state.values[k] = buffer if axes == (*range(len(axes)),) else buffer.transpose(np.argsort(axes))
        self._ahead = block, state

    def take(self, block: int) -> State:
        """Return the state of a block, and begin to read the next one. Raises `SpillError`."""
        if self._ahead is None:
            self.read_ahead()
        assert self._ahead is not None and self._ahead[0] == block
        state = self._ahead[1]
        for k in range(len(state.kinds)):
            self._file.wait(self._key(block, k, state))
        self._ahead = None
        self.read_ahead()
        return state

    def close(self) -> None:
        """Let go of the file and of every state."""
        self._file.close()
        self._on_way.clear()
        self._layouts.clear()
        self._ahead = None


def _layout(value: Any) -> _Layout | None:
    if not isinstance(value, np.ndarray) or not value.size or value.dtype.hasobject:
        return None
    axes = memory_axes(value.strides)
    moved = value.transpose(axes)
    return (axes, moved.shape, value.dtype) if moved.flags.c_contiguous else None
