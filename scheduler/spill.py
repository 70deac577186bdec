"""The spill file: values written to disk and read back by a thread of their own, while the computing goes on.

There are no buffers in between: what is written is the value's own memory, which stays counted until the write is done;
what is read goes into the value's new memory, which is counted from the moment the reading begins.
"""

from __future__ import annotations

import os
import queue
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint.disk import Disk
from ..checkpoint.units import format_bytes

_SAMPLE_BYTES, _SAMPLE_PIECE = 32 * 1024 * 1024, 1024 * 1024
_PIECE = 8 * 1024 * 1024
_SHARE_OF_FREE = 0.5


class SpillError(OSError):
    """Values cannot be spilled: the folder cannot be written to, the disk is full, or it fails."""


@dataclass(frozen=True, slots=True)
class SpillFolder:
    """Where values may be spilled, and how many bytes of them; None is half of what is free there when it is asked."""

    path: Path
    most_bytes: int | None = None

    def disk(self) -> Disk:
        """Return the folder's capacity now, and the rates measured there. Raises `SpillError`."""
        measured = _measured(self.path)
        free = _free_bytes(self.path)
        most = int(free * _SHARE_OF_FREE) if self.most_bytes is None else min(self.most_bytes, free)
        return replace(measured, capacity_bytes=most)

    def open(self, nbytes: int) -> SpillFile:
        """Return a file with `nbytes` of the disk taken for it. Raises `SpillError` where there is not so much."""
        return SpillFile(self.path, nbytes)


def spill_folder(path: Any, most_bytes: int | None) -> SpillFolder:
    """Return a folder to spill into, once a file could be made in it. Raises `SpillError` at once if none can."""
    folder = SpillFolder(Path(path).absolute(), most_bytes)
    _make_file(folder.path).close()
    return folder


def _make_file(folder: Path) -> Any:
    """Return an open file that has no name: it is gone as soon as the process is, however that ends."""
    try:
        return tempfile.TemporaryFile(dir=folder, prefix="retape-spill-", buffering=0)
    except OSError as error:
        raise SpillError(
            error.errno, f"cannot spill into {folder}: {error.strerror}. Name a folder that exists and can be written to"
        ) from error


def _free_bytes(folder: Path) -> int:
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise SpillError(error.errno, f"cannot spill into {folder}: {error.strerror}") from error
    return found.f_bavail * found.f_frsize


@lru_cache(maxsize=16)
def _measured(folder: Path) -> Disk:
    """Measure, once, how fast the disk itself writes and reads: what the system keeps in memory is not waited for."""
    # One piece again and again: this is asked for while a budget is full of values.
    room = max(_free_bytes(folder) // 4, 1)
    sample = np.zeros(min(_SAMPLE_PIECE, room), np.uint8)
    offsets = range(0, min(_SAMPLE_BYTES, room - sample.nbytes + 1), sample.nbytes)
    with _make_file(folder) as file:
        descriptor = file.fileno()
        try:
            start = time.perf_counter()
            for offset in offsets:
                _move(os.pwritev, descriptor, sample, offset)
            os.fsync(descriptor)
            written = time.perf_counter()
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            for offset in offsets:
                _move(os.preadv, descriptor, sample, offset)
            read = time.perf_counter()
        except OSError as error:
            raise SpillError(error.errno, f"cannot spill into {folder}: {error.strerror}") from error
    moved = len(offsets) * sample.nbytes
    return Disk(0, moved / max(written - start, 1e-6), moved / max(read - written, 1e-6))


def _bytes_of(array: np.ndarray) -> np.ndarray:
    """Return the bytes of an array that lies in C or Fortran order, in the order in which they lie."""
    flat = array.reshape(-1) if array.flags.c_contiguous else array.T.reshape(-1)
    return flat.view(np.uint8)


def _move(call: Any, descriptor: int, flat: np.ndarray, offset: int) -> None:
    """Write or read all of `flat` at `offset`, in pieces, so that the end of a run need not wait long."""
    done = 0
    while done < flat.size:
        moved = call(descriptor, [flat[done : done + _PIECE]], offset + done)
        if not moved:
            raise OSError(5, "the file ends too early")
        done += moved


class SpillFile:
    """Holds values by key until it is closed. Every write and read is begun here and waited for with `wait`."""

    def __init__(self, folder: Path, nbytes: int) -> None:
        self.folder = folder
        self._file = _make_file(folder)
        self._places: dict[int, tuple[int, int]] = {}
        self._end = 0
        self._pending: dict[int, threading.Event] = {}
        self._failure: OSError | None = None
        self._jobs: queue.SimpleQueue[tuple | None] = queue.SimpleQueue()
        self._is_closing = False
        try:
            if nbytes and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, nbytes)
        except OSError as error:
            self._file.close()
            raise SpillError(
                error.errno, f"cannot take {format_bytes(nbytes)} in {folder} to spill into: {error.strerror}"
            ) from error
        # It holds this object: it is started when there is something to do, and somebody who closes the file.
        self._thread = threading.Thread(target=self._run, name="retape-spill", daemon=True)

    def write(self, key: int, array: np.ndarray) -> None:
        """Begin to write an array, which must not change before it was waited for."""
        self._places[key] = self._end, array.nbytes
        self._end += array.nbytes
        self._begin(key, os.pwritev, array)

    def read(self, key: int, array: np.ndarray) -> None:
        """Begin to read what was written under `key` into an array of the same layout."""
        self._begin(key, os.preadv, array)

    def _begin(self, key: int, call: Any, array: np.ndarray) -> None:
        done = self._pending[key] = threading.Event()
        if self._thread.ident is None:
            self._thread.start()
        self._jobs.put((call, self._places[key][0], _bytes_of(array), done))

    def wait(self, key: int) -> None:
        """Wait for the last write or read under `key`. Raises `SpillError` if the disk failed since the file was opened."""
        done = self._pending.pop(key, None)
        if done is not None:
            done.wait()
        if self._failure is not None:
            raise SpillError(
                self._failure.errno,
                f"a spilled value could not be written to or read from {self.folder}: {self._failure.strerror}. Nothing was "
                "returned; leave spill= out, or name another folder",
            ) from self._failure

    def wait_all(self) -> None:
        """Wait for everything that was begun. Raises `SpillError` as `wait` does."""
        for key in list(self._pending):
            self.wait(key)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, offset, flat, done = job
            try:
                if not self._is_closing and self._failure is None:
                    _move(call, self._file.fileno(), flat, offset)
            except OSError as error:
                self._failure = error
            finally:
                del job, flat  # a buffer that somebody else holds is not recycled
                done.set()

    @property
    def is_closed(self) -> bool:
        """Whether the file is gone."""
        return self._is_closing

    def close(self) -> None:
        """Let go of the file and of every array; what has not been written yet never is."""
        self._is_closing = True
        self._jobs.put(None)
        if self._thread.is_alive():  # or it ends at once, where an interrupt came while it was started
            self._thread.join()
        self._file.close()
