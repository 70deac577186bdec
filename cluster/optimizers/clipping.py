"""Makes gradients of bounded global norm."""

from typing import Any

import numpy as np

from ...runtime.trees import map_leaves
from .norms import global_norm


def clip_by_global_norm(grads: Any, limit: float) -> tuple[Any, float]:
    """Returns ``(grads, norm)``: the gradients scaled by ``limit / norm`` where ``norm`` is above ``limit``.

    Below the limit the same arrays come back, untouched. A NaN or infinite norm scales nothing, for it would
    turn every leaf into NaN: the caller sees it in ``norm``. Source: Pascanu et al., "On the difficulty of
    training recurrent neural networks", ICML 2013. Raises ``ValueError`` unless ``limit > 0``.
    """
    if not limit > 0.0:
        raise ValueError(f"the clipping limit is {limit}; it must be above 0, for example 1.0")
    norm = global_norm(grads)
    return clipped(grads, norm, limit), norm


def clipped(grads: Any, norm: float, limit: float) -> Any:
    """The gradients, or pieces of them, scaled to the ``limit`` where their global ``norm`` is above it; else as they are."""
    if not np.isfinite(norm) or norm <= limit:
        return grads
    scale = limit / norm
    return map_leaves(lambda leaf: np.multiply(leaf, scale, out=np.empty_like(leaf)), grads)
