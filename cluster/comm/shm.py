"""Makes one node's memory for an all-reduce from a file in shared memory: slots for each rank, and one result.

Every rank has its gradients in slots of its own, where they are born; then rank r adds up its own share of the elements
over all slots, in the order of an expression that all ranks know, into the result: a direct reduce-scatter and all-gather
in shared memory, where nobody copies in or out. Ranks meet at barriers made of one counter word for each rank; no wait is
without a deadline and an abort check.

The file holds control pages, then the slots, rank by rank, then further slots. It is unlinked once every rank has opened
it, so that the kernel frees it with the last process, however that ends.

Who sees another rank's counter must see what that rank wrote before it. x86 keeps the order of stores and of loads; on other
processors a rank counts while it holds the file's lock, and takes the lock once more before it reads.
"""

import fcntl
import mmap
import os
import platform
import shutil
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..errors import AbortedError, DeadlineError, RunError
from .arena_files import create
from .layout import PAGE, Layout, Span

_MAGIC = 0x5245544150450002  # "RETAPE", layout 2
# Words of the control pages, 8 bytes each: one block for all, then one block for each rank (its own cache lines), then two
# tables of figures.
_WORD_MAGIC, _WORD_GENERATION, _WORD_WORLD, _WORD_BYTES, _WORD_ABORT = range(5)
_SHARED_WORDS = 64
_WORD_ARRIVED, _WORD_BEAT = 0, 8
_RANK_WORDS = 16
_KEEPS_ORDER = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
# A rank that waits yields the processor this often before it begins to sleep.
_YIELDS = 50


class Arena:
    """One rank's view of the shared memory of a node.

    ``path`` is a file that rank 0 creates and the others open, in ``/dev/shm`` where there is one (see ``arena_path``);
    ``generation`` tells one formation of workers from the next, so that a rank of an older one is refused. There are
    ``slots`` for each rank, ``extra`` ones behind them, and a table of ``figures`` (rows, columns). Methods that wait raise
    ``DeadlineError`` after ``deadline_seconds`` and ``AbortedError`` once any rank has called :meth:`abort`, or when
    ``is_called_off()``.
    """

    def __init__(
        self,
        path: str | Path,
        rank: int,
        world: int,
        layout: Layout,
        *,
        slots: int = 1,
        extra: int = 1,
        figures: tuple[int, int] = (0, 0),
        generation: int = 0,
        deadline_seconds: float = 300.0,
        is_called_off: Callable[[], bool] = lambda: False,
    ) -> None:
        """Creates (rank 0) or opens (other ranks) the arena, waits for all ranks, then unlinks the file."""
        self.path, self.rank, self.world, self.layout = Path(path), rank, world, layout
        self.generation, self.deadline_seconds = generation, deadline_seconds
        self._slots, self._is_called_off = slots, is_called_off
        figure_words = 2 * figures[0] * figures[1]
        words = _SHARED_WORDS + world * _RANK_WORDS + figure_words
        self._control_bytes = -(-8 * words // PAGE) * PAGE
        self.total_bytes = self._control_bytes + (world * slots + extra) * layout.slot_bytes
        self._lock: int | None = None
        self._give_back = lambda: None
        self._map = self._create() if rank == 0 else self._open()
        self._words = np.frombuffer(self._map, np.int64, words)
        self._ranks = self._words[_SHARED_WORDS : _SHARED_WORDS + world * _RANK_WORDS].reshape(world, _RANK_WORDS)
        self._arrived = self._ranks[:, _WORD_ARRIVED]
        self._figures = self._words[words - figure_words :].view(np.float64).reshape(2, *figures)
        self._arrivals = 0
        if rank == 0:
            header = {
                _WORD_GENERATION: generation,
                _WORD_WORLD: world,
                _WORD_BYTES: self.total_bytes,
                _WORD_MAGIC: _MAGIC,  # last: whoever sees it sees the rest
            }
            self._acquire()
            for word, value in header.items():
                self._words[word] = value
            self._release()
        else:
            self._acquire()
            self._release()
            self._check_header()
        self.barrier("open the arena")
        self._unlink()

    def slot(self, rank: int, number: int = 0) -> int:
        """The number of a rank's slot, counted over all slots."""
        return rank * self._slots + number

    def leaves(self, slot: int) -> list[np.ndarray]:
        """The leaves in a slot, as arrays in shared memory (no copy)."""
        base = self._control_bytes + slot * self.layout.slot_bytes
        return [
            np.frombuffer(self._map, dtype, int(np.prod(shape)), base + offset).reshape(shape)
            for offset, shape, dtype in self.layout.places
        ]

    def view(self, slot: int, span: Span) -> np.ndarray:
        """The elements of a span in a slot, flat, in shared memory (no copy)."""
        return np.frombuffer(
            self._map, span.dtype, span.count, self._control_bytes + slot * self.layout.slot_bytes + span.offset
        )

    def figures(self, table: int) -> np.ndarray:
        """One of the two tables of figures, float64, in shared memory; a rank writes its rows, and reads after a barrier.

        With the tables used in turn, one barrier is enough: who writes a table again has met the others since they read it.
        """
        return self._figures[table % 2]

    def barrier(self, errand: str = "arrive") -> None:
        """Waits until every rank has called this as often as this one has. ``errand`` goes into the error texts."""
        self._arrivals += 1
        self._acquire()
        self._ranks[self.rank, _WORD_ARRIVED] = self._arrivals
        self._release()
        deadline = time.monotonic() + self.deadline_seconds
        polls = 0
        while int(self._arrived.min()) < self._arrivals:
            self.check_abort()
            if polls < _YIELDS:
                os.sched_yield()
            else:
                self.beat()
                if time.monotonic() > deadline:
                    raise self._too_late(errand)
                time.sleep(min(1e-3, 2e-5 * (polls - _YIELDS + 1)))
            polls += 1
        self._acquire()
        self._release()
        self.check_abort()

    def beat(self) -> None:
        """Says that this rank is alive; a deadline error tells how long each missing rank has been silent."""
        self._ranks[self.rank, _WORD_BEAT] = time.monotonic_ns()

    def abort(self) -> None:
        """Makes every rank's present and future waits raise ``AbortedError``. Safe from any thread."""
        self._words[_WORD_ABORT] = self.rank + 1

    def check_abort(self) -> None:
        """Raises ``AbortedError`` once any rank has aborted."""
        rank = int(self._words[_WORD_ABORT])
        if rank:
            raise AbortedError(f"rank {rank - 1} called the run off")
        if self._is_called_off():
            raise AbortedError(f"rank {self.rank} was called off")

    def close(self) -> None:
        """Removes the file if it is still there; the memory itself goes with the last array that views it."""
        self._unlink()
        self._give_back()

    def _unlink(self) -> None:
        if self.rank == 0:
            self.path.unlink(missing_ok=True)

    def _acquire(self) -> None:
        """Takes the file's lock, where the processor does not keep the order by itself."""
        if self._lock is None:
            return
        deadline = time.monotonic() + self.deadline_seconds
        while True:
            try:
                return fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.check_abort()  # a rank that holds it may have been stopped
                if time.monotonic() > deadline:
                    raise DeadlineError(
                        f"rank {self.rank} waited {self.deadline_seconds:g} s for the lock of {self.path}: the rank that has "
                        "it stands still"
                    ) from None
                os.sched_yield()

    def _release(self) -> None:
        if self._lock is not None:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _keep_lock(self, descriptor: int) -> None:
        if not _KEEPS_ORDER:
            self._lock = os.dup(descriptor)
            self._give_back = weakref.finalize(self, os.close, self._lock)

    def _create(self) -> mmap.mmap:
        free = shutil.disk_usage(self.path.parent).free
        if free < self.total_bytes:
            raise RunError(
                f"the gradients of {self.world} workers need {self.total_bytes} bytes of shared memory "
                f"({(self.total_bytes - self._control_bytes) // self.layout.slot_bytes} slots of {self.layout.slot_bytes}), "
                f"and {self.path.parent} has {free} free; free some, or use fewer workers"
            )
        descriptor = create(self.path)
        try:
            # A sparse file would kill the process (SIGBUS) at the first write that finds the memory gone.
            os.posix_fallocate(descriptor, 0, self.total_bytes)
            self._keep_lock(descriptor)
            return mmap.mmap(descriptor, self.total_bytes)
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def _open(self) -> mmap.mmap:
        deadline = time.monotonic() + self.deadline_seconds
        while True:
            try:
                descriptor = os.open(self.path, os.O_RDWR)
            except FileNotFoundError:
                descriptor = -1
            if descriptor >= 0:
                try:
                    size = os.fstat(descriptor).st_size
                    if size:
                        shared = mmap.mmap(descriptor, size)
                        if int(np.frombuffer(shared, np.int64, 1)[0]) == _MAGIC:
                            self._keep_lock(descriptor)
                            return shared
                finally:
                    os.close(descriptor)
            if self._is_called_off():
                raise AbortedError(f"rank {self.rank} was called off")
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"rank {self.rank} waited {self.deadline_seconds:g} s for rank 0 to create {self.path}; "
                    "rank 0 did not start, or it runs on another node"
                )
            time.sleep(2e-3)

    def _check_header(self) -> None:
        found = {
            "generation": int(self._words[_WORD_GENERATION]),
            "workers": int(self._words[_WORD_WORLD]),
            "bytes": int(self._words[_WORD_BYTES]),
        }
        wanted = {"generation": self.generation, "workers": self.world, "bytes": self.total_bytes}
        if found != wanted:
            raise RunError(f"{self.path} is the arena of another formation of workers: it has {found}, not {wanted}")

    def _too_late(self, errand: str) -> DeadlineError:
        now = time.monotonic_ns()
        missing = [
            f"rank {rank} (last sign of life {(now - int(self._ranks[rank, _WORD_BEAT])) / 1e9:.1f} s ago)"
            if self._ranks[rank, _WORD_BEAT]
            else f"rank {rank} (no sign of life)"
            for rank in range(self.world)
            if int(self._arrived[rank]) < self._arrivals
        ]
        return DeadlineError(
            f"rank {self.rank} waited {self.deadline_seconds:g} s for {', '.join(missing)} to {errand}; if a step may "
            "take that long, raise deadline_seconds"
        )
