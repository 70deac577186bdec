"""Makes the LAMB update from gradients: Adam's direction with a step in proportion to each layer's weights."""

from typing import Any

import numpy as np

from ...runtime.trees import flatten
from .checks import check_decay, check_fraction, check_positive
from .moments import init_moments, moment_ratio
from .norms import Norms, whole_norms
from .protocol import Optimizer


def lamb(*, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-6, weight_decay: float = 0.01) -> Optimizer:
    """Adam for large batches: each leaf moves by ``rate`` times its own norm.

    ``u = m' / (sqrt(v') + epsilon) + weight_decay * p``; ``p <- p - rate * (|p| / |u|) * u``, with Adam's bias-corrected
    means ``m'`` and ``v'``. Where either norm is 0, and in leaves with fewer than two axes (biases, gains), the ratio of
    the norms is 1; those leaves have no weight decay either. Source: You et al., "Large Batch Optimization for Deep
    Learning: Training BERT in 76 minutes", ICLR 2020, algorithm 2, with the identity for phi. Raises ``ValueError`` for
    betas outside [0, 1), ``epsilon <= 0`` or ``weight_decay < 0``.

    >>> import numpy as np
    >>> optimizer = lamb(weight_decay=0.0)
    >>> params = {"w": np.array([[3.0, 4.0]])}
    >>> params, state = optimizer.update(params, {"w": np.array([[7.0, -7.0]])}, optimizer.init(params), 0.1)
    >>> (params["w"] - [[3.0, 4.0]]).round(4)  # of norm 0.1 * 5, in Adam's direction
    array([[-0.3536,  0.3536]])
    """
    check_fraction("beta1", beta1)
    check_fraction("beta2", beta2)
    check_positive("epsilon", epsilon, 1e-6)
    check_decay(weight_decay)

    def update(params: Any, grads: Any, state: Any, rate: float, norms: Norms = whole_norms) -> tuple[Any, Any]:
        state["count"] += 1
        count = int(state["count"])
        correction = 1.0 / (1.0 - beta1**count)
        trees = (params, grads, state["mean"], state["square"])
        leaves = zip(*(flatten(tree)[0] for tree in trees), strict=True)
        for leaf, (p, g, m, s) in enumerate(leaves):
            direction = moment_ratio(g, m, s, beta1=beta1, beta2=beta2, epsilon=epsilon, count=count)
            np.multiply(direction, correction, out=direction)
            step_size = rate
            if p.ndim >= 2:
                if weight_decay:
                    np.add(direction, p * weight_decay, out=direction)
                weight, length = norms(leaf, p, direction)
                step_size = rate * weight / length if weight and length else rate
            np.multiply(direction, step_size, out=direction)
            np.subtract(p, direction, out=p)
        return params, state

    return Optimizer(init_moments, update, "lamb", update)
