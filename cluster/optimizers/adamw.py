"""Makes the AdamW update from gradients."""

from typing import Any

import numpy as np

from ...runtime.trees import flatten
from .checks import check_decay, check_fraction, check_positive
from .moments import init_moments, moment_ratio
from .protocol import Optimizer, elementwise


def adamw(*, beta1: float = 0.9, beta2: float = 0.95, epsilon: float = 1e-8, weight_decay: float = 0.01) -> Optimizer:
    """Adam with decoupled weight decay and bias-corrected moments.

    ``p <- p - rate * (m' / (sqrt(v') + epsilon) + weight_decay * p)``, where ``m'`` and ``v'`` are the
    running means of the gradient and of its square, divided by ``1 - beta ** step``. Weight decay leaves out
    leaves with fewer than two axes (biases, gains). Source: Loshchilov and Hutter, "Decoupled Weight Decay
    Regularization", ICLR 2019. Raises ``ValueError`` for betas outside [0, 1), ``epsilon <= 0`` or
    ``weight_decay < 0``.

    >>> import numpy as np
    >>> optimizer = adamw(weight_decay=0.0)
    >>> params = {"w": np.array([1.0, 2.0])}
    >>> params, state = optimizer.update(params, {"w": np.array([3.0, -3.0])}, optimizer.init(params), 0.1)
    >>> params["w"].round(6)
    array([0.9, 2.1])
    """
    check_fraction("beta1", beta1)
    check_fraction("beta2", beta2)
    check_positive("epsilon", epsilon, 1e-8)
    check_decay(weight_decay)

    def update(params: Any, grads: Any, state: Any, rate: float) -> tuple[Any, Any]:
        state["count"] += 1
        count = int(state["count"])
        step_size = rate / (1.0 - beta1**count)
        trees = (params, grads, state["mean"], state["square"])
        for p, g, m, s in zip(*(flatten(tree)[0] for tree in trees), strict=True):
            work = moment_ratio(g, m, s, beta1=beta1, beta2=beta2, epsilon=epsilon, count=count)
            np.multiply(work, step_size, out=work)
            if weight_decay and p.ndim >= 2:
                np.multiply(p, 1.0 - rate * weight_decay, out=p)
            np.subtract(p, work, out=p)
        return params, state

    return elementwise(init_moments, update, "adamw")
