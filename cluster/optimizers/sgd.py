"""Makes the SGD-with-momentum update from gradients."""

from typing import Any

import numpy as np

from ...runtime.trees import flatten, map_leaves
from .protocol import Optimizer


def sgd(*, momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0) -> Optimizer:
    """Stochastic gradient descent with (heavy-ball or Nesterov) momentum.

    ``v <- momentum * v + g``; ``p <- p - rate * v``, or ``p - rate * (g + momentum * v)`` with Nesterov's
    look-ahead. ``weight_decay`` is decoupled: ``p`` shrinks by ``rate * weight_decay * p``. Source: Sutskever
    et al., "On the importance of initialization and momentum in deep learning", ICML 2013. Raises
    ``ValueError`` unless ``0 <= momentum < 1`` and ``weight_decay >= 0``.

    >>> import numpy as np
    >>> optimizer = sgd(momentum=0.0)
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> params, state = optimizer.update(params, {"w": np.array([1.0, 0.0])}, optimizer.init(params), 0.5)
    >>> params["w"]
    array([0.5, 2. ])
    """
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum is {momentum}; it must be at least 0 and below 1, for example 0.9")
    if not weight_decay >= 0.0:
        raise ValueError(f"weight_decay is {weight_decay}; it must be 0 or more, for example 0.01")

    def init(params: Any) -> Any:
        return {"velocity": map_leaves(np.zeros_like, params)}

    def update(params: Any, grads: Any, state: Any, rate: float) -> tuple[Any, Any]:
        leaves = zip(flatten(params)[0], flatten(grads)[0], flatten(state["velocity"])[0], strict=True)
        for p, g, v in leaves:
            np.multiply(v, momentum, out=v)
            np.add(v, g, out=v)
            direction = g + v * momentum if nesterov else v
            if weight_decay:
                np.multiply(p, 1.0 - rate * weight_decay, out=p)
            np.subtract(p, direction * rate, out=p)
        return params, state

    return Optimizer(init, update, "sgd")
