"""The vector space of a value: its containers, and the shape and dtype of every leaf."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from retape.runtime import trees
from retape.runtime.array import Array


class VSpace:
    """The space that a value lies in. Complex numbers count as two real ones."""

    def __init__(self, value: Any) -> None:
        leaves, self.treedef = trees.flatten(value)
        self.leaves = [(np.shape(leaf), leaf.dtype if type(leaf) is Array else np.asarray(leaf).dtype) for leaf in leaves]
        for leaf, (_, dtype) in zip(leaves, self.leaves, strict=True):
            if dtype.kind not in "fciu":
                raise TypeError(f"no vector space for {type(leaf)}")

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, VSpace) and (self.treedef, self.leaves) == (other.treedef, other.leaves)

    __hash__ = None  # pyright: ignore

    def __repr__(self) -> str:
        return f"VSpace({self.leaves}, {self.treedef})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a space of arrays."""
        ((shape, _),) = self.leaves
        return shape

    @property
    def iscomplex(self) -> bool:
        """Whether a leaf is complex."""
        return any(dtype.kind == "c" for _, dtype in self.leaves)

    @property
    def size(self) -> int:
        """The number of real dimensions."""
        return sum(int(np.prod(shape)) * (2 if dtype.kind == "c" else 1) for shape, dtype in self.leaves)

    def _make(self, function: Callable) -> Any:
        return trees.unflatten(self.treedef, [function(shape, dtype) for shape, dtype in self.leaves])

    def _map(self, function: Callable, *values: Any) -> Any:
        columns = [trees.flatten(value)[0] for value in values]
        return trees.unflatten(self.treedef, [function(*row) for row in zip(*columns, strict=True)])

    def zeros(self) -> Any:
        """The zero of the space."""
        return self._make(np.zeros)

    def ones(self) -> Any:
        """All ones, and 1 + 1j where complex."""
        return self._make(lambda shape, dtype: np.full(shape, 1 + 1j if dtype.kind == "c" else 1, dtype))

    def randn(self) -> Any:
        """A normal vector."""

        def draw(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
            real = np.asarray(np.random.randn(*shape))
            return (real + 1j * np.random.randn(*shape) if dtype.kind == "c" else real).astype(dtype)

        return self._make(draw)

    def standard_basis(self) -> Iterator[Any]:
        """One vector after another, along every real dimension."""
        for which, (shape, dtype) in enumerate(self.leaves):
            for index in np.ndindex(*shape):
                for unit in (1.0, 1.0j) if dtype.kind == "c" else (1.0,):
                    made = [np.zeros(*leaf) for leaf in self.leaves]
                    made[which][index] = unit
                    yield trees.unflatten(self.treedef, made)

    def add(self, x: Any, y: Any) -> Any:
        """The sum."""
        return self._map(operator.add, x, y)

    def scalar_mul(self, x: Any, a: Any) -> Any:
        """The multiple."""
        return self._map(lambda leaf: leaf * a, x)

    def inner_prod(self, x: Any, y: Any) -> Any:
        """The real inner product."""
        products = zip(trees.flatten(x)[0], trees.flatten(y)[0], strict=True)
        return sum((np.real(np.sum(np.conj(a) * b)) for a, b in products), 0.0)

    def covector(self, x: Any) -> Any:
        """The vector's dual under the pairing that the libraries share: its conjugate."""
        return self._map(lambda leaf: np.conj(leaf) if np.iscomplexobj(leaf) else leaf, x)


def vspace(value: Any) -> VSpace:
    """Return the space of a value, traced or plain."""
    return VSpace(value)
