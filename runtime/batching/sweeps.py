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

    `function` takes a list of arrays like those in `like` and returns a list of arrays. Without a `batch_size`, the first
    batch tells how many go together by what its ops make (see `jacobian`): no clock is read, so it is the same every time.
    """

    def __init__(self, function: Callable[[list], list], like: list, batch_size: int | None) -> None:
        self.function = function
        self.like = like
        self.batch_size = batch_size

    def of(self, number: int, one: complex) -> list:
        """Return what the function makes of each unit vector (times `one`) of argument `number`, along a first axis."""
        size = int(np.size(self.like[number]))
        if not size:
            return [np.zeros((0, *y.shape), y.dtype) for y in self.function(self._zeros())]
        parts = []
        start = 0
        while start < size:
            stop = min(size, start + (self.batch_size or (_FIRST if size >= _FEWEST else 1)))
            parts.append(self._batch(number, range(start, stop), one))
            start = stop
        columns = zip(*parts, strict=True)
        return [column[0] if len(column) == 1 else np.concatenate(column) for column in columns]

    def _zeros(self) -> list:
        return [np.zeros(np.shape(leaf), leaf.dtype) for leaf in self.like]

    def _batch(self, number: int, places: range, one: complex) -> list:
        count = len(places)
        shape, dtype = np.shape(self.like[number]), self.like[number].dtype
        units = np.zeros((count, int(np.size(self.like[number]))), dtype)
        units[np.arange(count), places] = one
        seeds = self._zeros()
        if count == 1:
            seeds[number] = units.reshape(shape)
            return [np.expand_dims(y, 0) for y in self.function(seeds)]
        with Batch(count) as level:
            seeds[number] = level.input(units.reshape(count, *shape))
            found = self.function(seeds)
            if self.batch_size is None:
                self.batch_size = max(1, _MOST_BYTES * count // max(level.most_bytes, 1))
            return [y._slot if type(y) is Array and y._level is level else spread(y, count) for y in found]
