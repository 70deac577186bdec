"""Makes what a loss sees of a table that travels by rows: an object that can be indexed by row numbers, and nothing else."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import RunError


@dataclass(frozen=True, eq=False)
class RowTable:
    """A table of which only some rows are there; a loss indexes it by row numbers as it would the whole one.

    ``values`` begins with the rows of these ``numbers``, which ascend; ``shape`` is that of the whole table. Anything that
    would need other rows is an error, so that a table which is used in another way cannot get a wrong gradient.
    """

    values: Any
    numbers: np.ndarray
    name: str
    shape: tuple[int, ...]

    def __getitem__(self, ids: Any) -> Any:
        """The rows of these numbers, of shape ``(*ids.shape, *shape[1:])``.

        Raises ``RunError`` for what are no row numbers, and for a row that was not named for this batch.

        >>> table = RowTable(np.array([[0.5], [1.5]]), np.array([3, 8]), "words", (10, 1))
        >>> table[np.array([8, 3, 8])].tolist()
        [[1.5], [0.5], [1.5]]
        """
        found = np.asarray(None if isinstance(ids, slice | tuple) else ids)
        if found.dtype.kind not in "iu":
            raise RunError(self._refusal())
        places = np.searchsorted(self.numbers, found)
        there = np.zeros(found.shape, bool)
        if self.numbers.size:
            there = self.numbers[np.minimum(places, self.numbers.size - 1)] == found
        if not np.all(there):
            raise RunError(
                f"the loss uses row {found[~there].flat[0]} of {self.name!r}, which used_rows did not name for this batch: "
                "it must name every row that the loss uses, counted from 0"
            )
        return self.values[places]

    # Without it, Python would ask for row 0, 1, 2 and so on.
    __iter__ = None
    # With it, NumPy leaves operators to Python, which finds none.
    __array_ufunc__ = None

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        """Raises ``RunError``: it is no array."""
        raise RunError(self._refusal())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"there is no .{name}: {self._refusal()}")

    def _refusal(self) -> str:
        return (
            f"only the rows that this batch uses of {self.name!r} are there: the loss can index it by whole numbers, "
            f"{self.name}[ids], and nothing else; leave it out of used_rows to have all of it"
        )
