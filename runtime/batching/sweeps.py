"""Many sweeps in one: what a linear function makes of every unit vector, a batch of them at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..array import Array
from .call import spread
from .level import Batch

_FEWEST = 4  # of fewer, a loop is faster
_FIRST = 16
_MOST_BYTES = 64 * 2**20


class Sweeps:
    """Runs a linear function on the unit vectors of its arguments, `batch_size` at a time.

    `function` takes a list of arrays like those in `like` and returns a list of arrays like those in `returned`. Without a
    `batch_size`, the first batch tells how many go together by what its ops make (see `jacobian`): no clock is read, so it
    is the same every time.
    """

    def __init__(self, function: Callable[[list], list], like: list, returned: list, batch_size: int | None) -> None:
        self.function = function
        self.like = like
        self.batch_size = batch_size
        self.first = min(_FIRST, _at_most(max(leaf.nbytes for leaf in (*like, *returned))))

    def of(self, number: int, one: complex) -> list:
        """Return what the function makes of each unit vector (times `one`) of argument `number`, along a first axis."""
        size = int(np.size(self.like[number]))
        if not size:
            return [np.zeros((0, *y.shape), y.dtype) for y in self.function(self._zeros())]
        parts = []
        start = 0
        while start < size:
            batch_size = self.batch_size or (self.first if size >= _FEWEST else 1)
            units = self._units(number, range(start, min(size, start + batch_size)), one)
            parts.append(self._one(number, units) if len(units) == 1 else self._several(number, units))
            if parts[-1] is None:
                self.batch_size = 1
                parts.pop()
            else:
                start += len(units)
        columns = zip(*parts, strict=True)
        return [column[0] if len(column) == 1 else np.concatenate(column) for column in columns]

    def _zeros(self) -> list:
        return [np.zeros(np.shape(leaf), leaf.dtype) for leaf in self.like]

    def _units(self, number: int, places: range, one: complex) -> np.ndarray:
        like = self.like[number]
        units = np.zeros((len(places), int(np.size(like))), like.dtype)
        units[np.arange(len(places)), places] = one
        return units.reshape(len(places), *np.shape(like))

    def _one(self, number: int, units: np.ndarray) -> list:
        seeds = self._zeros()
        seeds[number] = units[0]
        return [np.expand_dims(y, 0) for y in self.function(seeds)]

    def _several(self, number: int, units: np.ndarray) -> list | None:
        """Return what the function makes of several unit vectors, or None where one at a time may do what a batch cannot.

        Rules of a user's may compute in something else than NumPy, which fails in its own way. Who names a `batch_size` is
        told of it.
        """
        seeds = self._zeros()
        try:
            with Batch(len(units)) as level:
                seeds[number] = level.input(units)
                found = self.function(seeds)
                made = [y._slot if type(y) is Array and y._level is level else spread(y, len(units)) for y in found]
        except (TypeError, ValueError, AttributeError):
            if self.batch_size is not None:
                raise
            return None
        if self.batch_size is None:
            self.batch_size = _at_most(level.most_bytes // len(units))
        return made


def _at_most(row_bytes: int) -> int:
    """Return how many rows go together where each takes so many bytes."""
    return max(1, _MOST_BYTES // max(row_bytes, 1))
