"""Makes gradients of bounded global norm."""

from typing import Any

import numpy as np

from ...runtime.trees import flatten, map_leaves


def global_norm(grads: Any) -> float:
    """The Euclidean norm of all leaves of ``grads`` together, added up in float64 leaf by leaf.

    >>> import numpy as np
    >>> global_norm({"a": np.array([3.0]), "b": np.array([[4.0]])})
    5.0
    """
    return float(np.sqrt(sum(_sum_of_squares(leaf) for leaf in flatten(grads)[0])))


def clip_by_global_norm(grads: Any, limit: float) -> tuple[Any, float]:
    """Returns ``(grads, norm)``: the gradients scaled by ``limit / norm`` where ``norm`` is above ``limit``.

    Below the limit the same arrays come back, untouched. A NaN or infinite norm scales nothing, for it would
    turn every leaf into NaN: the caller sees it in ``norm``. Source: Pascanu et al., "On the difficulty of
    training recurrent neural networks", ICML 2013. Raises ``ValueError`` unless ``limit > 0``.
    """
    if not limit > 0.0:
        raise ValueError(f"the clipping limit is {limit}; it must be above 0, for example 1.0")
    norm = global_norm(grads)
    if not np.isfinite(norm) or norm <= limit:
        return grads, norm
    scale = limit / norm
    return map_leaves(lambda leaf: np.multiply(leaf, scale, out=np.empty_like(leaf)), grads), norm


def _sum_of_squares(leaf: np.ndarray) -> float:
    flat = np.ravel(leaf)
    # float32 squares overflow at 1.8e19; blocks bound the memory of the float64 copy.
    block = 65536
    total = 0.0
    for start in range(0, flat.size, block):
        part = flat[start : start + block].astype(np.float64)
        total += float(np.dot(part, part))
    return total
