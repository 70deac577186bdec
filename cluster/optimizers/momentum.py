"""Makes the update with heavy-ball or Nesterov momentum from gradients."""

from typing import Any

import numpy as np

from ...runtime.trees import flatten, map_leaves
from .checks import check_decay, check_fraction
from .protocol import Optimizer, elementwise


def momentum(*, beta: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0) -> Optimizer:
    """Gradient descent with a velocity.

    ``v <- beta * v + g``; ``p <- p - rate * v``, or ``p - rate * (g + beta * v)`` with Nesterov's look-ahead.
    ``weight_decay`` is decoupled: ``p`` shrinks by ``rate * weight_decay * p``. Source: Sutskever et al., "On the
    importance of initialization and momentum in deep learning", ICML 2013. Raises ``ValueError`` unless
    ``0 <= beta < 1`` and ``weight_decay >= 0``.

    >>> import numpy as np
    >>> optimizer = momentum(beta=0.5)
    >>> params, grads = {"w": np.array([1.0])}, {"w": np.array([1.0])}
    >>> params, state = optimizer.update(params, grads, optimizer.init(params), 0.1)
    >>> params, state = optimizer.update(params, grads, state, 0.1)
    >>> params["w"]
    array([0.75])
    """
    check_fraction("beta", beta)
    check_decay(weight_decay)

    def init(params: Any) -> Any:
        return {"velocity": map_leaves(np.zeros_like, params)}

    def update(params: Any, grads: Any, state: Any, rate: float) -> tuple[Any, Any]:
        for p, g, v in zip(*(flatten(tree)[0] for tree in (params, grads, state["velocity"])), strict=True):
            np.multiply(v, beta, out=v)
            np.add(v, g, out=v)
            direction = g + v * beta if nesterov else v
            if weight_decay:
                np.multiply(p, 1.0 - rate * weight_decay, out=p)
            np.subtract(p, direction * rate, out=p)
        return params, state

    return elementwise(init, update, "momentum")
