"""Makes snapshot files in the background, while the training goes on."""

import threading
from pathlib import Path

from ..errors import SnapshotError
from .format import Packed, Snapshot, pack
from .store import Best, save


class Writer:
    """Writes the snapshots that it is given, one at a time; one that cannot be written is tried again.

    It holds at most one copy of the training state: a snapshot that is submitted while another is being written waits for
    it, and takes the place of one that could not be written so far.
    """

    def __init__(self, folder: Path, *, keep: int, best: Best | None = None, retry_seconds: float = 5.0) -> None:
        """Starts a thread, and touches no file before :meth:`submit`."""
        self._folder, self._keep, self._best, self._retry_seconds = folder, keep, best, retry_seconds
        self._changed = threading.Condition()
        self._pending: Packed | None = None
        self._failure: SnapshotError | None = None
        self._is_writing = self._is_closed = False
        self._told: list[str] = []
        self._thread = threading.Thread(target=self._work, name="retape-snapshots", daemon=True)
        self._thread.start()

    def submit(self, snapshot: Snapshot) -> None:
        """Copies ``snapshot``; its arrays may change once this returns."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_writing)
            self._pending = self._failure = None  # frees the older copy before the new one is made
            self._pending = pack(snapshot)
            self._changed.notify_all()

    def news(self) -> list[str]:
        """Sentences about writes that failed, and about those that succeeded after that, each told once."""
        with self._changed:
            told, self._told = self._told, []
        return told

    def wait(self, seconds: float = 0.0) -> None:
        """Waits until the last snapshot is on the disk.

        A write in progress has all the time that it takes; one that fails is tried again for ``seconds``, after which its
        ``SnapshotError`` is raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._pending is None or (self._failure is not None and not self._is_writing))
            self._changed.wait_for(lambda: self._pending is None, timeout=seconds)
            self._changed.wait_for(lambda: not self._is_writing)
            if self._pending is not None and self._failure is not None:
                raise self._failure

    def close(self) -> None:
        """Lets a write in progress end, gives up on what could not be written, and ends the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while (packed := self._next()) is not None:
            failure = None
            try:
                save(self._folder, packed, keep=self._keep, best=self._best)
            except SnapshotError as error:
                failure = error
            except Exception as error:
                failure = SnapshotError(f"the snapshot of step {packed.step} failed: {type(error).__name__}: {error}")
            with self._changed:
                if failure is not None and self._failure is None:
                    self._told.append(f"{failure}; training goes on, and it is tried again every {self._retry_seconds:g} s")
                elif failure is None and self._failure is not None:
                    self._told.append(f"the snapshot of step {packed.step} is written at last")
                self._failure, self._is_writing = failure, False
                if failure is None:
                    self._pending = None
                self._changed.notify_all()

    def _next(self) -> Packed | None:
        """What to write now, once there is something or the pause after a failure is over; ``None`` at the end."""
        with self._changed:
            if self._failure is not None:
                self._changed.wait_for(lambda: self._is_closed or self._failure is None, timeout=self._retry_seconds)
            self._changed.wait_for(lambda: self._is_closed or self._pending is not None)
            if self._is_closed and self._failure is not None:
                return None
            self._is_writing = self._pending is not None
            return self._pending
