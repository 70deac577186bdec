"""Makes the sum of the workers' gradients while later ones are still being computed: bucket by bucket, in a thread."""

import threading
from collections.abc import Callable, Sequence

from .group import Group

_TICK_SECONDS = 0.05


class Overlap:
    """Reduces a group's buckets in their order, each as soon as this rank's gradients are there.

    In a step, :meth:`begin` comes first, then :meth:`ready` for every leaf, then :meth:`finish`; the sums are there after
    the group's own ``finish``. In between the group may not be asked for anything else that waits for the other ranks. Every
    rank must have the same buckets; the order in which its own gradients are ready is its own affair, and changes no bit.
    An error of the thread (``DeadlineError``, ``AbortedError``, ``MessageError``) is raised by the next call.
    """

    def __init__(self, group: Group, buckets: Sequence[Sequence[int]]) -> None:
        """Starts the thread; it waits for the first step."""
        self._group = group
        self._spans = [group.layout.spans(bucket) for bucket in buckets]
        self._sizes = [len(bucket) for bucket in buckets]
        self._bucket_of = {leaf: number for number, bucket in enumerate(buckets) for leaf in bucket}
        self._changed = threading.Condition()
        self._missing = list(self._sizes)
        self._divisor: float | None = None
        self._error: BaseException | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._work, name="retape-reduce", daemon=True)
        self._thread.start()

    def begin(self, divisor: float) -> None:
        """Lets the sums of a step begin; they will be divided by ``divisor``."""
        with self._changed:
            self._raise()
            self._missing, self._divisor = list(self._sizes), divisor
            self._changed.notify_all()

    def ready(self, leaf: int) -> None:
        """Says that this rank's gradient of a leaf will not change any more."""
        with self._changed:
            self._raise()
            bucket = self._bucket_of[leaf]
            self._missing[bucket] -= 1
            if not self._missing[bucket]:
                self._changed.notify_all()

    def finish(self) -> None:
        """Waits until this rank has done its part in all buckets; the thread's own waits have the group's deadline."""
        with self._changed:
            self._changed.wait_for(lambda: self._divisor is None or self._error is not None)
            self._raise()

    def close(self) -> None:
        """Ends the thread, which leaves a reduction in progress at the group's next check for an abort."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            while self._wait(lambda: self._divisor is not None):
                assert self._divisor is not None
                for number, spans in enumerate(self._spans):
                    if not self._wait(lambda number=number: not self._missing[number]):
                        return
                    self._group.reduce(spans, divisor=self._divisor)
                with self._changed:
                    self._divisor = None
                    self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _wait(self, is_so: Callable[[], bool]) -> bool:
        """Waits for this rank's own thread; tells whether there is more to do. Raises ``AbortedError``."""
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closed or is_so(), _TICK_SECONDS):
                    return not self._is_closed
            self._group.check()
