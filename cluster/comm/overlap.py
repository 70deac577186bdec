"""Makes the sum of the workers' gradients while later ones are still being computed: bucket by bucket, in threads."""

import threading
from collections.abc import Callable, Sequence

from .feed import Feed
from .group import Group

_TICK_SECONDS = 0.05


class Overlap:
    """Reduces a group's buckets in their order, each as soon as this rank's gradients are there.

    In a step, :meth:`begin` comes first, then :meth:`ready` for every leaf, then :meth:`finish`; the sums are there after
    the group's own ``finish``. In between the group may not be asked for anything else that waits for the other ranks. Every
    rank must have the same buckets; the order in which its own gradients are ready is its own affair, and changes no bit.
    One thread meets the ranks of the node, bucket by bucket; where there are several nodes, another one lets all that is
    ready travel at once. An error of a thread (``DeadlineError``, ``AbortedError``, ``MessageError``) ends the group's waits
    and is raised by the next call.
    """

    def __init__(self, group: Group, buckets: Sequence[Sequence[int]]) -> None:
        """Starts the threads, which wait for the first step."""
        self._group = group
        self._spans = [group.layout.spans(bucket) for bucket in buckets]
        self._sizes = [len(bucket) for bucket in buckets]
        self._bucket_of = {leaf: number for number, bucket in enumerate(buckets) for leaf in bucket}
        self._changed = threading.Condition()
        self._missing: list[int] = []
        self._divisor = 1.0
        self._feed: Feed | None = None
        self._started = self._ended = 0  # steps, the second counted by each thread
        self._error: BaseException | None = None
        self._is_closed = False
        works = [self._meet, self._travel] if group.is_leader else [self._meet]
        self._threads = [
            threading.Thread(target=self._work, args=(work,), name="retape-reduce", daemon=True) for work in works
        ]
        for thread in self._threads:
            thread.start()

    def begin(self, divisor: float) -> None:
        """Lets the sums of a step begin; they will be divided by ``divisor``."""
        with self._changed:
            self._raise()
            self._missing, self._divisor = list(self._sizes), divisor
            if self._group.is_leader:
                self._feed = Feed(sum(map(len, self._spans)))
            self._started += 1
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
        """Waits until this rank has done its part in all buckets; the threads' own waits have the group's deadline."""
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._is_over)
            self._raise()
            self._close_feed()

    def close(self) -> None:
        """Ends the threads, which leave a reduction in progress when the group has been aborted."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._close_feed()

    @property
    def _is_over(self) -> bool:
        return self._ended == self._started * len(self._threads)

    def _close_feed(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self, work: Callable[[], bool]) -> None:
        """Does ``work`` in each step, until it says that there is no more to do."""
        done = 0
        try:
            while self._wait(lambda done=done: self._started > done) and work():
                done += 1
                with self._changed:
                    self._ended += 1
                    self._changed.notify_all()
        except BaseException as error:
            self._group.abort()
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _meet(self) -> bool:
        """Adds each bucket up inside the node, and sends it on its way to the others."""
        sent = 0
        for number, spans in enumerate(self._spans):
            if not self._wait(lambda number=number: not self._missing[number]):
                return False
            self._group.reduce_here(spans, divisor=self._divisor)
            if self._feed is not None:
                self._feed.add(range(sent, sent + len(spans)))
            sent += len(spans)
        return True

    def _travel(self) -> bool:
        """Adds all buckets up with the other nodes, as they become ready."""
        spans = [span for bucket in self._spans for span in bucket]
        self._group.exchange(spans, divisor=self._divisor, feed=self._feed)
        return True

    def _wait(self, is_so: Callable[[], bool]) -> bool:
        """Waits for this rank's own threads; tells whether there is more to do. Raises ``AbortedError``."""
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_closed or is_so(), _TICK_SECONDS):
                    return not self._is_closed
            self._group.check()
