"""Makes snapshot files in the background, while the training goes on."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import SnapshotError
from .format import Packed, Snapshot, pack
from .places import Where, open_place
from .shares import Share
from .store import Best, MissingPartsError, commit, write_parts

_POLL_SECONDS, _CHECK_SECONDS = 0.05, 0.1


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class _Task:
    """A snapshot to write, since when, and the names of the parts that are there already."""

    packed: Packed
    since: float = field(default_factory=time.monotonic)
    written: set[str] = field(default_factory=set)


class Writer:
    """Writes its worker's share of the snapshots that it is given, one at a time; one that cannot be written is tried again.

    It holds at most one copy of its share: a snapshot that is submitted while another is being written waits for it, and
    takes the place of one that could not be written so far. The first worker's writer makes the snapshot of the parts once
    all workers' are there. Nothing waits for a write longer than ``deadline_seconds``, and whoever waits calls ``check``
    again and again, whose exceptions end the wait.
    """

    def __init__(
        self,
        where: Where,
        *,
        keep: int,
        best: Best | None = None,
        retry_seconds: float = 5.0,
        deadline_seconds: float = 300.0,
    ) -> None:
        """Touches no file before :meth:`submit`. Raises ``ConfigError`` for a URL whose library is missing."""
        self._place, self._keep, self._best = open_place(where), keep, best
        self._retry_seconds, self._deadline_seconds = retry_seconds, deadline_seconds
        self._changed = threading.Condition()
        self._task: _Task | None = None
        self._failure: SnapshotError | None = None
        self._pause, self._lack = 0.0, ""
        self._mark_without_parts: str | None = None
        self._is_writing = self._is_closed = self._is_abandoned = False
        self._told: list[str] = []
        self._thread = threading.Thread(target=self._work, name="retape-snapshots", daemon=True)

    def submit(self, snapshot: Snapshot, share: Share | None = None, *, check: Callable[[], None] = _nothing) -> None:
        """Copies the worker's ``share`` of ``snapshot`` (all of it, unless said); its arrays may change once this returns.

        The snapshot is left out, and that told, when the one before it is still being written after the deadline.
        """
        with self._changed:
            if not self._wait(lambda: not self._is_busy(share), self._deadline_seconds, check):
                self._told.append(
                    f"the snapshot of step {snapshot.step} is left out, for {self._unfinished()}; training goes on"
                )
                return
            self._task = self._failure = None  # frees the older copy before the new one is made
            packed = pack(snapshot, share)
            if not packed.parts and packed.share.rank:
                return  # all of it is in the first worker's file
            self._task, self._pause = _Task(packed), 0.0
            self._changed.notify_all()
        if not self._thread.is_alive():
            self._thread.start()

    @property
    def held_bytes(self) -> int:
        """The memory that a copy takes which is not written yet."""
        task = self._task
        return 0 if task is None else task.packed.size_bytes

    def news(self) -> list[str]:
        """Sentences about writes that failed, and about those that succeeded after that, each told once."""
        with self._changed:
            told, self._told = self._told, []
        return told

    def attempt(self, *, check: Callable[[], None] = _nothing) -> None:
        """Waits until the last snapshot is saved, or its deadline is over. Raises ``SnapshotError`` as soon as it fails."""
        with self._changed:
            self._wait(lambda: self._task is None or self._failure is not None, self._deadline_seconds, check)
            if self._failure is not None:
                raise self._failure

    def finish(self, seconds: float, *, check: Callable[[], None] = _nothing) -> None:
        """Waits until the last snapshot is saved.

        One that fails is tried again for ``seconds``, after which its ``SnapshotError`` is raised; so is one for a write
        that does not end within the deadline.
        """
        with self._changed:
            self._wait(lambda: self._task is None or self._failure is not None, self._deadline_seconds, check)
            if self._failure is not None:
                self._wait(lambda: self._task is None, seconds, check)
            if self._task is not None:
                raise self._failure or SnapshotError(self._unfinished())

    def close(self) -> None:
        """Lets a write in progress end, gives up on what could not be written, and ends the thread.

        A write that does not end within the deadline is given up too: what it writes becomes no snapshot.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(self._deadline_seconds)
        with self._changed:
            self._is_abandoned = True

    def _is_busy(self, share: Share | None) -> bool:
        """Whether the last snapshot is still to be waited for.

        Its parts would be waited for in vain where its workers no longer work together, or one of them did not write before.
        """
        if self._task is None or self._failure is not None:
            return self._is_writing
        mark = self._task.packed.share.mark
        return self._is_writing or mark != self._mark_without_parts and (share is None or share.mark == mark)

    def _wait(self, condition: Callable[[], bool], seconds: float, check: Callable[[], None]) -> bool:
        """Waits until the condition holds, at most so long; returns whether it does."""
        deadline = time.monotonic() + seconds
        while not self._changed.wait_for(condition, min(_CHECK_SECONDS, max(0.0, deadline - time.monotonic()))):
            check()
            if time.monotonic() >= deadline:
                return False
        return True

    def _unfinished(self) -> str:
        assert self._task is not None
        why = f": {self._lack}" if self._pause else ""
        return (
            f"the snapshot of step {self._task.packed.step} is not saved to {self._place} after {self._deadline_seconds:g} s "
            f"(its deadline){why}"
        )

    def _work(self) -> None:
        while (task := self._next()) is not None:
            failure, pause = None, 0.0
            try:
                self._write(task)
            except MissingPartsError as error:
                waited = time.monotonic() - task.since
                pause, self._lack = _POLL_SECONDS + waited / 10, str(error)
                if waited > self._deadline_seconds:
                    failure = SnapshotError(f"the snapshot of step {task.packed.step} is not saved: {error}")
                    self._mark_without_parts = task.packed.share.mark
            except SnapshotError as error:
                failure = error
            except Exception as error:
                failure = SnapshotError(f"the snapshot of step {task.packed.step} failed: {type(error).__name__}: {error}")
            with self._changed:
                if failure is not None and self._failure is None:
                    self._told.append(f"{failure}; training goes on, and it is tried again every {self._retry_seconds:g} s")
                if failure is not None:
                    self._failure, self._pause = failure, self._retry_seconds
                elif pause:
                    self._pause = pause
                else:
                    if self._failure is not None:
                        self._told.append(f"the snapshot of step {task.packed.step} is written at last")
                    self._task, self._failure, self._pause, self._mark_without_parts = None, None, 0.0, None
                self._is_writing = False
                self._changed.notify_all()

    def _write(self, task: _Task) -> None:
        write_parts(self._place, task.packed, task.written)
        if task.packed.share.rank == 0:
            commit(self._place, task.packed, keep=self._keep, best=self._best, check=self._check)

    def _check(self) -> None:
        with self._changed:
            if self._is_abandoned:
                raise SnapshotError("its writer was given up")

    def _next(self) -> _Task | None:
        """What to write now, once there is something or the pause after a failure is over; ``None`` at the end."""
        with self._changed:
            if self._pause:
                paused = self._task
                self._changed.wait_for(lambda: self._is_closed or self._task is not paused, self._pause)
            self._changed.wait_for(lambda: self._is_closed or self._task is not None)
            if self._is_closed and self._pause:
                return None
            self._is_writing = self._task is not None
            return self._task
