"""Makes an end of a run from SIGINT and SIGTERM: at once while it starts, after the step in progress later."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Preempted(KeyboardInterrupt):
    """SIGTERM came before a step could be finished."""


class Stop:
    """What the two signals do: raise at once, or set ``requested`` so that the step in progress is finished.

    ``status`` is then how the run ends: "interrupted" by SIGINT (Ctrl-C), "preempted" by SIGTERM (a machine that is taken
    away, a job that is cancelled).
    """

    def __init__(self) -> None:
        self.status = ""
        self._finishes = False
        # Signals have no handler outside the main thread.
        self.active = threading.current_thread() is threading.main_thread()

    @property
    def requested(self) -> bool:
        """Whether a signal came."""
        return bool(self.status)

    def interrupt_at_once(self) -> None:
        """SIGINT raises KeyboardInterrupt, SIGTERM the kind of it that is called Preempted."""
        self._take(signal.default_int_handler, _preempt)

    def finish_the_step(self) -> None:
        """The first signal sets ``requested``; a SIGINT after it raises KeyboardInterrupt."""
        if not self._finishes:
            self._finishes = True
            self._take(self._request, self._request)

    def _take(self, on_interrupt: Any, on_terminate: Any) -> None:
        if self.active:
            signal.signal(signal.SIGINT, on_interrupt)
            signal.signal(signal.SIGTERM, on_terminate)

    def _request(self, number: int, frame: Any) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.status = self.status or ("preempted" if number == signal.SIGTERM else "interrupted")


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Takes SIGINT and SIGTERM for the time of a run, and puts the handlers before it back."""
    stop = Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stop.interrupt_at_once()
    try:
        yield stop
    finally:
        if stop.active:
            for number, handler in before.items():
                signal.signal(number, handler)


def _preempt(number: int, frame: Any) -> None:
    raise Preempted
