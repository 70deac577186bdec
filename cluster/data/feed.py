"""Makes batches before they are asked for, in the background, from a source and the order in which they will be wanted."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...runtime.trees import flatten, flatten_with_paths
from ..errors import DataError, RunError, no_exit
from .files import ArrayFiles
from .images import ImageFolder
from .parquet import ParquetFiles
from .source import Arrays, Source
from .texts import TextFiles

DEFAULT_BYTES = 64 * 2**20
# These draw no random numbers, so that it is all the same which thread they run in. A user's own source may draw from
# np.random, whose state is the step's: it is read ahead of only when that is asked for.
_QUIET = (Arrays, ArrayFiles, ImageFolder, ParquetFiles, TextFiles)
# Reading ahead starts when making a batch takes more than this share of the time, after a few have been made; one that
# takes less than a change of threads (5 ms at worst, the interpreter's switch interval) is not worth it.
_WORTHWHILE_SHARE, _WORTHWHILE_SECONDS, _LOOK_AT = 0.03, 0.005, 4
_NAMED_EXAMPLES = 5


def fetch(source: Source, indices: np.ndarray) -> Any:
    """The examples at ``indices``.

    Raises ``DataError`` that names the example which could not be made, or the array that has other rows than were asked for.
    """
    try:
        batch = source.batch(indices)
    except RunError:
        raise
    except Exception as error:
        for index in indices if len(indices) > 1 else ():
            try:
                source.batch(np.array([index]))
            except Exception as cause:
                raise DataError(f"example {index} of the data could not be read: {_text(cause)}") from cause
        if len(indices) == 1:
            raise DataError(f"example {indices[0]} of the data could not be read: {_text(error)}") from error
        raise DataError(f"the examples {_some(indices)} of the data make no batch: {_text(error)}") from error
    leaves = flatten(batch)[0]
    if not leaves or any(np.shape(leaf)[:1] != (len(indices),) for leaf in leaves):
        raise _other_rows(source, indices, batch)
    return batch


def pays(source: Source, batches: int, data_seconds: float, all_seconds: float) -> bool:
    """Whether reading ahead by default is worth its thread and its memory, as far as is known after some batches."""
    if not isinstance(source, _QUIET) or batches < _LOOK_AT:
        return False
    return data_seconds > max(_WORTHWHILE_SHARE * all_seconds, _WORTHWHILE_SECONDS * batches)


class Feed:
    """The batches of one worker, in the order of ``wanted`` (index arrays).

    Up to ``ahead_bytes`` of them are made in the background before they are asked for: from the start on, or for ``None``
    64 MiB as soon as it pays, for sources that are known to draw no random numbers; 0 is never. A batch that is larger than
    that is made when it is asked for. What goes wrong with one is raised when its turn comes. Nothing waits for the
    background longer than ``deadline_seconds``.
    """

    def __init__(
        self,
        source: Source,
        wanted: Iterator[np.ndarray],
        *,
        ahead_bytes: int | None = None,
        deadline_seconds: float = 300.0,
    ) -> None:
        """Reads nothing yet."""
        self._source, self._wanted, self._deadline_seconds = source, wanted, deadline_seconds
        self._limit, self._is_on = DEFAULT_BYTES if ahead_bytes is None else ahead_bytes, ahead_bytes not in (None, 0)
        self._decides = ahead_bytes is None
        self._changed = threading.Condition()
        self._made: deque[_Made] = deque()
        self._largest = 0
        self._held = 0
        self._is_closed = False
        self._thread: threading.Thread | None = None
        self._batches, self._started = 0, time.perf_counter()
        self.data_seconds = 0.0

    @property
    def held_bytes(self) -> int:
        """The bytes of the batches that are made and have not been asked for."""
        return self._held

    def next(self) -> Any:
        """The next batch. Raises ``DataError`` that names the example which could not be made."""
        started = time.perf_counter()
        made = self._take()
        self._batches += 1
        self.data_seconds += time.perf_counter() - started
        if self._decides and self._thread is None:
            self._is_on = pays(self._source, self._batches, self.data_seconds, time.perf_counter() - self._started)
        if self._is_on and self._thread is None and self._largest <= self._limit:
            self._thread = threading.Thread(target=self._work, name="retape-data", daemon=True)
            self._thread.start()
        if made.error is not None:
            raise made.error
        return made.batch

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the background's work, after the batch in progress."""
        with self._changed:
            self._is_closed = True
            self._made.clear()
            self._held = 0
            self._changed.notify_all()

    def _take(self) -> "_Made":
        with self._changed:
            if not self._changed.wait_for(lambda: self._made or self._thread is None, self._deadline_seconds):
                raise DataError(
                    f"the next batch has been being read for more than {self._deadline_seconds:g} s (its deadline)"
                )
            if self._made:
                made = self._made.popleft()
                self._held -= made.size_bytes
                self._changed.notify_all()
                return made
        return self._make(next(self._wanted))

    def _make(self, indices: np.ndarray) -> "_Made":
        try:
            with no_exit():
                batch = fetch(self._source, indices)
        except Exception as error:
            return _Made(None, 0, error)
        size = sum(np.asarray(leaf).nbytes for leaf in flatten(batch)[0])
        self._largest = max(self._largest, size)
        return _Made(batch, size, None)

    def _work(self) -> None:
        made = _Made(None, 0, None)
        while made.error is None and self._largest <= self._limit and not self._is_closed:
            with self._changed:
                # The next one may be as large as the largest so far.
                self._changed.wait_for(lambda: self._is_closed or self._held + self._largest <= self._limit)
            indices = None if self._is_closed else next(self._wanted, None)
            if indices is None:
                break
            made = self._make(indices)
            with self._changed:
                if not self._is_closed:
                    self._made.append(made)
                    self._held += made.size_bytes
                self._changed.notify_all()
        with self._changed:
            # From here on, batches are made when they are asked for.
            self._thread, self._is_on, self._decides = None, False, False
            self._changed.notify_all()


@dataclass(frozen=True)
class _Made:
    batch: Any
    size_bytes: int
    error: Exception | None


def _other_rows(source: Source, indices: np.ndarray, batch: Any) -> DataError:
    """The error for a batch of other rows than were asked for: the mean over it would be one over other examples."""
    paths, leaves, _ = flatten_with_paths(batch)
    wrong = next(
        ((path, leaf) for path, leaf in zip(paths, leaves, strict=True) if len(indices) not in np.shape(leaf)[:1]), None
    )
    got = "no arrays" if wrong is None else f"batch{wrong[0]} of shape {np.shape(wrong[1])}"
    return DataError(
        f"{type(source).__name__}.batch was asked for {len(indices)} examples ({_some(indices)}) and returned {got}: every "
        f"array of the batch must have {len(indices)} rows, one for each example, in the order that was asked for"
    )


def _some(indices: np.ndarray) -> str:
    return ", ".join(map(str, indices[:_NAMED_EXAMPLES])) + (", ..." if len(indices) > _NAMED_EXAMPLES else "")


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
