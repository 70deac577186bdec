"""Makes the LARS update from gradients: momentum with a step in proportion to each layer's weights."""

from typing import Any

import numpy as np

from ...runtime.trees import flatten, map_leaves
from .checks import check_decay, check_fraction, check_positive
from .norms import Norms, whole_norms
from .protocol import Optimizer


def lars(*, momentum: float = 0.9, trust: float = 0.001, weight_decay: float = 1e-4) -> Optimizer:
    """Momentum for large batches: each leaf's rate follows the norms of its weights and of its gradient.

    ``local = trust * |p| / (|g| + weight_decay * |p|)``; ``v <- momentum * v + rate * local * (g + weight_decay * p)``;
    ``p <- p - v``. Where either norm is 0, and in leaves with fewer than two axes (biases, gains), ``local`` is 1; those
    leaves have no weight decay either. Source: You, Gitman and Ginsburg, "Large Batch Training of Convolutional Networks",
    2017, algorithm 1. Raises ``ValueError`` unless ``0 <= momentum < 1``, ``trust > 0`` and ``weight_decay >= 0``.

    >>> import numpy as np
    >>> optimizer = lars(trust=0.1, weight_decay=0.0)
    >>> params = {"w": np.array([[3.0, 4.0]])}
    >>> params, state = optimizer.update(params, {"w": np.array([[100.0, 0.0]])}, optimizer.init(params), 1.0)
    >>> params["w"]  # moved by a tenth of its norm, whatever the gradient's
    array([[2.5, 4. ]])
    """
    check_fraction("momentum", momentum)
    check_positive("trust", trust, 0.001)
    check_decay(weight_decay)

    def init(params: Any) -> Any:
        return {"velocity": map_leaves(np.zeros_like, params)}

    def update(params: Any, grads: Any, state: Any, rate: float, norms: Norms = whole_norms) -> tuple[Any, Any]:
        leaves = zip(*(flatten(tree)[0] for tree in (params, grads, state["velocity"])), strict=True)
        for leaf, (p, g, v) in enumerate(leaves):
            is_layer = p.ndim >= 2
            work = g + p * weight_decay if is_layer and weight_decay else g.copy()
            step_size = rate
            if is_layer:
                weight, gradient = norms(leaf, p, g)
                if weight and gradient:
                    step_size = rate * trust * weight / (gradient + weight_decay * weight)
            np.multiply(work, step_size, out=work)
            np.multiply(v, momentum, out=v)
            np.add(v, work, out=v)
            np.subtract(p, v, out=p)
        return params, state

    return Optimizer(init, update, "lars", update)
