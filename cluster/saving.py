"""Makes one worker's share of a run's snapshots, in the background, from its training state."""

from collections.abc import Callable
from typing import Any

from . import snapshot as snapshots
from .job import Job

# A rank that waits for a write longer would be missed by the others, who wait for it in turn.
_SHARE_OF_DEADLINE = 0.25


class Saver:
    """Saves what it is given, and says what happened to it; survives the formations that its worker is in."""

    def __init__(self, job: Job, tell: Callable[[str], None]) -> None:
        """``tell`` gets sentences about snapshots that could not be written."""
        self._job, self._tell = job, tell
        self._writer: snapshots.Writer | None = None

    def save(self, share: snapshots.Share, *, is_last: bool, check: Callable[[], None], **fields: Any) -> None:
        """Has the worker's ``share`` of a snapshot with these ``fields`` written; the first and the last are waited for.

        While it waits, it calls ``check`` again and again, which raises when the others are gone.

        One that cannot be written is told of and tried again; the last one for half of the time that the others wait, then
        its ``SnapshotError`` is raised, and so is that of the first attempt at a run's first one.
        """
        snapshot, config = snapshots.Snapshot(**fields), self._job.config
        if self._writer is None:
            self._writer = snapshots.Writer(
                self._job.snapshot_folder,
                keep=config.keep,
                best=snapshots.Best.of(config.best) if config.best is not None else None,
                deadline_seconds=config.deadline_seconds * _SHARE_OF_DEADLINE,
            )
        self._writer.submit(snapshot, share, check=check)
        try:
            if is_last:
                self._writer.finish(config.deadline_seconds / 2, check=check)
            elif snapshot.step == 0:
                self._writer.attempt(check=check)
        finally:
            self.tell_news()

    @property
    def held_bytes(self) -> int:
        """The memory that a copy takes which is not written yet."""
        return 0 if self._writer is None else self._writer.held_bytes

    def tell_news(self) -> None:
        """Tells what happened to snapshots since the last time."""
        if self._writer is not None and (news := self._writer.news()):
            self._tell("; ".join(news))

    def close(self) -> None:
        """Lets a write in progress end."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
