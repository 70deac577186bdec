"""Makes one node's all-reduce from a file in shared memory: a gradient slot for each rank, and one result.

Every rank writes its gradients into its own slot; then rank r adds up its own share of the elements over all
slots, in rank order, into the result. The sum therefore has the same bits whatever the timing, and costs
about one pass over the memory (a direct reduce-scatter and all-gather in shared memory). Ranks meet at
barriers made of one counter word per rank; no wait is without a deadline and an abort check.

The file holds a page of control words, then W slots, then the result. It is unlinked once every rank has
opened it, so that the kernel frees it with the last process, however that ends.
"""

import mmap
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import AbortedError, DeadlineError, RunError

_MAGIC = 0x5245544150450001  # "RETAPE", layout 1
_PAGE = 4096
_SCALARS = 16
# Words of the control pages, 8 bytes each: one block for all, then one block for each rank (its own cache
# lines).
_WORD_MAGIC, _WORD_GENERATION, _WORD_WORLD, _WORD_BYTES, _WORD_ABORT = range(5)
_SHARED_WORDS = 64
_WORD_ARRIVED, _WORD_BEAT, _WORD_WEIGHT, _WORD_SCALAR = 0, 1, 2, 8
_RANK_WORDS = 64


@dataclass(frozen=True)
class Layout:
    """Where each leaf lies inside a slot: (offset in bytes, shape, dtype) a leaf, and the slot's size in
    bytes."""

    places: tuple[tuple[int, tuple[int, ...], np.dtype], ...]
    slot_bytes: int

    @staticmethod
    def of(leaves: Sequence[np.ndarray]) -> "Layout":
        """Lays the leaves out one dtype after the other, so that each dtype is one flat run of elements.

        Raises ``RunError`` for leaves that are not float32 or float64.
        """
        places: list[tuple[int, tuple[int, ...], np.dtype] | None] = [None] * len(leaves)
        offset = 0
        for dtype in (np.dtype(np.float64), np.dtype(np.float32)):
            for index, leaf in enumerate(leaves):
                if leaf.dtype == dtype:
                    places[index] = (offset, leaf.shape, dtype)
                    offset += leaf.nbytes
        for index, (place, leaf) in enumerate(zip(places, leaves, strict=True)):
            if place is None:
                raise RunError(
                    f"parameter leaf {index} is {leaf.dtype}; workers reduce float32 and float64 gradients: "
                    "convert it with .astype(np.float32)"
                )
        return Layout(tuple(place for place in places if place is not None), -(-offset // _PAGE) * _PAGE)


class Arena:
    """One rank's view of the shared memory of a node.

    ``path`` is a file that rank 0 creates and the others open, in ``/dev/shm`` where there is one (see
    :func:`arena_path`); ``generation`` tells one formation of workers from the next, so that a rank of an
    older one is refused. Methods that wait raise ``DeadlineError`` after ``deadline_seconds`` and
    ``AbortedError`` once any rank has called :meth:`abort`.
    """

    def __init__(
        self,
        path: str | Path,
        rank: int,
        world: int,
        layout: Layout,
        *,
        generation: int = 0,
        deadline_seconds: float = 300.0,
    ) -> None:
        """Creates (rank 0) or opens (other ranks) the arena, waits for all ranks, then unlinks the file."""
        self.path, self.rank, self.world, self.layout = Path(path), rank, world, layout
        self.generation, self.deadline_seconds = generation, deadline_seconds
        self._control_bytes = -(-8 * (_SHARED_WORDS + world * _RANK_WORDS) // _PAGE) * _PAGE
        self.total_bytes = self._control_bytes + (world + 1) * layout.slot_bytes
        self._map = self._create() if rank == 0 else self._open()
        self._words = np.frombuffer(self._map, np.int64, self._control_bytes // 8)
        self._floats = self._words.view(np.float64)
        self._ranks = self._words[_SHARED_WORDS : _SHARED_WORDS + world * _RANK_WORDS].reshape(world, _RANK_WORDS)
        self._rank_floats = self._ranks.view(np.float64)
        self._arrivals = 0
        if rank == 0:
            header = {
                _WORD_GENERATION: generation,
                _WORD_WORLD: world,
                _WORD_BYTES: self.total_bytes,
                _WORD_MAGIC: _MAGIC,  # last: whoever sees it sees the rest
            }
            for word, value in header.items():
                self._words[word] = value
        else:
            self._check_header()
        self.barrier("open the arena")
        if rank == 0:
            self.path.unlink(missing_ok=True)

    def slot(self, rank: int) -> list[np.ndarray]:
        """The leaves of one rank's slot, as arrays in shared memory (no copy)."""
        return self._leaves(self._control_bytes + rank * self.layout.slot_bytes)

    def result(self) -> list[np.ndarray]:
        """The leaves of the result, as arrays in shared memory (no copy); valid until the next
        :meth:`all_reduce`."""
        return self._leaves(self._control_bytes + self.world * self.layout.slot_bytes)

    def all_reduce(
        self, leaves: Sequence[np.ndarray], *, weight: float = 1.0, scalars: Sequence[float] = ()
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """The weighted mean of every rank's ``leaves``, and every rank's ``scalars`` (at most 16) as (world,
        n) float64.

        With equal weights the mean is the sum in rank order, divided by the number of ranks; otherwise the
        sum in rank order of ``weight / total`` times each rank's leaves. The arrays returned lie in shared
        memory, the same for all ranks, and hold until the next call.
        """
        for place, leaf in zip(self.slot(self.rank), leaves, strict=True):
            np.copyto(place, leaf)
        self._rank_floats[self.rank, _WORD_WEIGHT] = weight
        self._publish(scalars)
        self.barrier("bring its gradients")
        gathered = self._rank_floats[:, _WORD_SCALAR : _WORD_SCALAR + len(scalars)].copy()
        self._reduce_share(self._rank_floats[:, _WORD_WEIGHT].copy())
        self.barrier("add up its share")
        return self.result(), gathered

    def gather(self, scalars: Sequence[float]) -> np.ndarray:
        """Every rank's ``scalars`` (at most 16), as a (world, n) float64 array."""
        self._publish(scalars)
        self.barrier("bring its figures")
        gathered = self._rank_floats[:, _WORD_SCALAR : _WORD_SCALAR + len(scalars)].copy()
        self.barrier("read the figures")
        return gathered

    def barrier(self, errand: str = "arrive") -> None:
        """Waits until every rank has called this as often as this one has. ``errand`` goes into the error
        texts."""
        self._arrivals += 1
        self._ranks[self.rank, _WORD_ARRIVED] = self._arrivals
        arrived = self._ranks[:, _WORD_ARRIVED]
        deadline = time.monotonic() + self.deadline_seconds
        polls = 0
        while int(arrived.min()) < self._arrivals:
            self._check_abort()
            if polls < 50:
                os.sched_yield()
            else:
                self.beat()
                if time.monotonic() > deadline:
                    raise self._too_late(errand)
                time.sleep(min(1e-3, 2e-5 * (polls - 49)))
            polls += 1
        self._check_abort()

    def beat(self) -> None:
        """Says that this rank is alive; a deadline error tells how long each missing rank has been silent."""
        self._ranks[self.rank, _WORD_BEAT] = time.monotonic_ns()

    def abort(self) -> None:
        """Makes every rank's present and future waits raise ``AbortedError``. Safe from any thread."""
        self._words[_WORD_ABORT] = self.rank + 1

    def close(self) -> None:
        """Removes the file if it is still there; the memory itself goes with the last array that views it."""
        if self.rank == 0:
            self.path.unlink(missing_ok=True)

    def _publish(self, scalars: Sequence[float]) -> None:
        if len(scalars) > _SCALARS:
            raise ValueError(f"{len(scalars)} scalars; an arena carries at most {_SCALARS} a rank")
        self._rank_floats[self.rank, _WORD_SCALAR : _WORD_SCALAR + len(scalars)] = scalars
        self.beat()

    def _reduce_share(self, weights: np.ndarray) -> None:
        equal = bool((weights == weights[0]).all())
        result_offset = self._control_bytes + self.world * self.layout.slot_bytes
        for start, count, dtype in self._runs():
            share = slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)
            out = np.frombuffer(self._map, dtype, count, result_offset + start)[share]
            parts = [
                np.frombuffer(self._map, dtype, count, self._control_bytes + r * self.layout.slot_bytes + start)[share]
                for r in range(self.world)
            ]
            if equal:
                np.copyto(out, parts[0])
                for part in parts[1:]:
                    np.add(out, part, out=out)
                np.divide(out, self.world, out=out)
            else:
                scales = (weights / weights.sum()).astype(dtype)
                np.multiply(parts[0], scales[0], out=out)
                for part, scale in zip(parts[1:], scales[1:], strict=True):
                    np.add(out, part * scale, out=out)

    def _runs(self) -> list[tuple[int, int, np.dtype]]:
        """(offset in bytes, elements, dtype) of each dtype's run of elements inside a slot."""
        runs = []
        for dtype in (np.dtype(np.float64), np.dtype(np.float32)):
            of_dtype = [(offset, shape) for offset, shape, place_dtype in self.layout.places if place_dtype == dtype]
            if of_dtype:
                start = min(offset for offset, _ in of_dtype)
                runs.append((start, sum(int(np.prod(shape)) for _, shape in of_dtype), dtype))
        return runs

    def _leaves(self, base: int) -> list[np.ndarray]:
        return [
            np.frombuffer(self._map, dtype, int(np.prod(shape)), base + offset).reshape(shape)
            for offset, shape, dtype in self.layout.places
        ]

    def _create(self) -> mmap.mmap:
        free = shutil.disk_usage(self.path.parent).free
        if free < self.total_bytes:
            raise RunError(
                f"the workers' gradients need {self.total_bytes} bytes of shared memory ({self.world + 1} "
                "slots of "
                f"{self.layout.slot_bytes}), and {self.path.parent} has {free} free; free some, or use "
                "fewer workers"
            )
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # A sparse file would kill the process (SIGBUS) at the first write that finds the memory gone.
            os.posix_fallocate(descriptor, 0, self.total_bytes)
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
                            return shared
                finally:
                    os.close(descriptor)
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

    def _check_abort(self) -> None:
        rank = int(self._words[_WORD_ABORT])
        if rank:
            raise AbortedError(f"rank {rank - 1} called the run off")

    def _too_late(self, errand: str) -> DeadlineError:
        now = time.monotonic_ns()
        missing = [
            f"rank {rank} (last sign of life {(now - int(self._ranks[rank, _WORD_BEAT])) / 1e9:.1f} s ago)"
            if self._ranks[rank, _WORD_BEAT]
            else f"rank {rank} (no sign of life)"
            for rank in range(self.world)
            if int(self._ranks[rank, _WORD_ARRIVED]) < self._arrivals
        ]
        return DeadlineError(
            f"rank {self.rank} waited {self.deadline_seconds:g} s for {', '.join(missing)} to {errand}; if "
            "a step may "
            "take that long, raise deadline_seconds"
        )


def arena_path(token: str, generation: int = 0) -> Path:
    """The file name for a run's arena: in ``/dev/shm`` where there is one, else in the temporary folder."""
    shared_memory = Path("/dev/shm")
    folder = shared_memory if os.access(shared_memory, os.W_OK) else Path(tempfile.gettempdir())
    return folder / f"retape-{token}-{generation}"
