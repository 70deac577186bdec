"""Makes the plain gradient step from gradients."""

from typing import Any

import numpy as np

from ...runtime.trees import flatten
from .checks import check_decay
from .protocol import Optimizer, elementwise


def sgd(*, weight_decay: float = 0.0) -> Optimizer:
    """Stochastic gradient descent: ``p <- p - rate * (g + weight_decay * p)``. It has no state.

    Source: Robbins and Monro, "A Stochastic Approximation Method", 1951. Raises ``ValueError`` for ``weight_decay < 0``.

    >>> import numpy as np
    >>> optimizer = sgd()
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> params, state = optimizer.update(params, {"w": np.array([1.0, 0.0])}, optimizer.init(params), 0.5)
    >>> params["w"]
    array([0.5, 2. ])
    """
    check_decay(weight_decay)

    def update(params: Any, grads: Any, state: Any, rate: float) -> tuple[Any, Any]:
        for p, g in zip(flatten(params)[0], flatten(grads)[0], strict=True):
            if weight_decay:
                np.multiply(p, 1.0 - rate * weight_decay, out=p)
            np.subtract(p, g * rate, out=p)
        return params, state

    return elementwise(lambda params: {}, update, "sgd")
