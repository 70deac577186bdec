"""Streams of random numbers: which place in a counter-based sequence each draw takes, in every run of a program."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from typing import Any

import numpy as np

_WORD = 2**64
_FIELDS = ("key_low", "key_high", "counter_low", "counter_high")


class Stream:
    """A key and the number of the next draw. Safe to share among threads, though they then race for the numbers."""

    def __init__(self, key: int, number: int = 0) -> None:
        self._lock = threading.Lock()
        self._key, self._number = key, number

    def __reduce__(self) -> tuple:
        return Stream, self.position()

    def position(self) -> tuple[int, int]:
        """Return the key and the number of the next draw."""
        with self._lock:
            return self._key, self._number

    def move(self, key: int, number: int) -> None:
        """Go to a place; what a journal had noted of later draws is no longer true."""
        with self._lock:
            self._key, self._number = key, number
        run = _RUN.get()
        if run is not None:
            run.forget(self)

    def advance(self) -> tuple[int, int]:
        """Return the key and the number of the next draw, and go on to the one after it."""
        with self._lock:
            number = self._number
            self._number = after(number)
            return self._key, number

    def place(self) -> np.ndarray:
        """Return the place of the next draw in this run: four words, the key's and the counter's upper half."""
        run = _RUN.get()
        return np.array(words(*(self.advance() if run is None else run.take(self))), np.uint64)


def after(number: int) -> int:
    """Return the number of the draw after this one; they begin again after 2**128."""
    return (number + 1) % _WORD**2


def words(key: int, number: int) -> tuple[int, int, int, int]:
    """Return a place as four integers below 2**64."""
    return key % _WORD, key // _WORD, number % _WORD, number // _WORD


def key_of(seed: int | Sequence[int] | None, branch: tuple[int, ...] = ()) -> int:
    """Return the key that a seed (None: one from the system) and its branch stand for."""
    low, high = np.random.SeedSequence(seed, spawn_key=branch).generate_state(2, np.uint64).tolist()
    return low + high * _WORD


def as_state(key: int, number: int) -> dict[str, int]:
    """Return a place as a dictionary of integers below 2**64."""
    return dict(zip(_FIELDS, words(key, number), strict=True))


def of_state(state: Mapping[str, int]) -> tuple[int, int]:
    """Return the place that `as_state` made a dictionary of. Raises `ValueError` for any other dictionary."""
    found = [state.get(name) for name in _FIELDS]
    if len(state) != len(_FIELDS) or any(not isinstance(word, int) or not 0 <= word < _WORD for word in found):
        raise ValueError(f"a generator's state holds integers from 0 to 2**64 - 1 named {', '.join(_FIELDS)}, not {state!r}")
    key_low, key_high, low, high = (state[name] for name in _FIELDS)
    return key_low + key_high * _WORD, low + high * _WORD


class Journal:
    """What a program drew, so that it draws the same when it is run again.

    Each ``with journal:`` is one run: the first notes the numbers of the draws, later ones draw the same again, and go on
    with new numbers where the ones before had ended. Other threads may draw from the same streams meanwhile.

    >>> import retape as rt
    >>> from retape.runtime.streams import Journal
    >>> journal = Journal()
    >>> with journal:
    ...     first = rt.random.normal()
    >>> with journal:
    ...     again = rt.random.normal()
    >>> bool(first == again), bool(rt.random.normal() == again)
    (True, False)
    """

    def __init__(self) -> None:
        self._drawn: dict[Stream, list[tuple[int, int]]] = {}
        self._cursors: dict[Stream, int] = {}
        self._outer: Journal | Rehearsal | None = None
        self._token: Token | None = None

    def __enter__(self) -> Journal:
        self._cursors = {}
        self._outer = _RUN.get()
        self._token = _RUN.set(self)
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._token is not None
        _RUN.reset(self._token)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been drawn."""
        return not self._drawn

    def take(self, stream: Stream) -> tuple[int, int]:
        """Return the key and the number of the stream's next draw in this run."""
        drawn = self._drawn.setdefault(stream, [])
        cursor = self._cursors.get(stream, 0)
        if cursor == len(drawn):
            drawn.append(stream.advance() if self._outer is None else self._outer.take(stream))
        self._cursors[stream] = cursor + 1
        return drawn[cursor]

    def forget(self, stream: Stream) -> None:
        """Let this run's later draws be new ones: the program has moved the stream."""
        del self._drawn.get(stream, [])[self._cursors.get(stream, 0) :]
        if self._outer is not None:
            self._outer.forget(stream)


class Rehearsal:
    """Inside ``with Rehearsal():`` draws are those that would come next, and no stream goes on."""

    def __init__(self) -> None:
        self._next: dict[Stream, tuple[int, int]] = {}
        self._token: Token | None = None

    def __enter__(self) -> Rehearsal:
        self._token = _RUN.set(self)
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._token is not None
        _RUN.reset(self._token)

    def take(self, stream: Stream) -> tuple[int, int]:
        """Return the key and the number of the stream's next draw."""
        key, number = self._next.get(stream) or stream.position()
        self._next[stream] = key, after(number)
        return key, number

    def forget(self, stream: Stream) -> None:
        """Start from where the program has moved the stream."""
        self._next.pop(stream, None)


_RUN: ContextVar[Journal | Rehearsal | None] = ContextVar("run", default=None)
