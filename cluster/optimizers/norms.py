"""Makes Euclidean norms of arrays, added up in float64 in one fixed order."""

from typing import Any

import numpy as np

from ...runtime.trees import flatten

_BLOCK = 65536


def norm(leaf: np.ndarray) -> float:
    """The Euclidean norm of one array of any shape.

    >>> norm(np.array([[3.0], [4.0]]))
    5.0
    """
    return float(np.sqrt(_sum_of_squares(leaf)))


def global_norm(grads: Any) -> float:
    """The Euclidean norm of all leaves of ``grads`` together, added up leaf by leaf.

    >>> global_norm({"a": np.array([3.0]), "b": np.array([[4.0]])})
    5.0
    """
    return float(np.sqrt(sum(_sum_of_squares(leaf) for leaf in flatten(grads)[0])))


def _sum_of_squares(leaf: np.ndarray) -> float:
    flat = np.ravel(leaf)
    total = 0.0
    # float32 squares overflow at 1.8e19; blocks bound the memory of the float64 copy.
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK].astype(np.float64)
        total += float(np.dot(part, part))
    return total
