"""Makes the AdamW update from gradients."""

from typing import Any

import numpy as np

from ...runtime.trees import flatten, map_leaves
from .protocol import Optimizer


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
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"{name} is {beta}; it must be at least 0 and below 1, for example 0.9")
    if not epsilon > 0.0:
        raise ValueError(f"epsilon is {epsilon}; it must be above 0, for example 1e-8")
    if not weight_decay >= 0.0:
        raise ValueError(f"weight_decay is {weight_decay}; it must be 0 or more, for example 0.01")

    def init(params: Any) -> Any:
        zeros = map_leaves(np.zeros_like, params)
        return {"count": np.zeros((), np.int64), "mean": zeros, "square": map_leaves(np.zeros_like, params)}

    def update(params: Any, grads: Any, state: Any, rate: float) -> tuple[Any, Any]:
        state["count"] += 1
        count = int(state["count"])
        step_size = rate / (1.0 - beta1**count)
        square_scale = (1.0 - beta2**count) ** -0.5
        leaves = zip(
            flatten(params)[0],
            flatten(grads)[0],
            flatten(state["mean"])[0],
            flatten(state["square"])[0],
            strict=True,
        )
        for p, g, m, s in leaves:
            work = np.multiply(g, 1.0 - beta1, out=np.empty_like(m))
            np.multiply(m, beta1, out=m)
            np.add(m, work, out=m)
            np.multiply(g, g, out=work)
            np.multiply(work, 1.0 - beta2, out=work)
            np.multiply(s, beta2, out=s)
            np.add(s, work, out=s)
            np.sqrt(s, out=work)
            np.multiply(work, square_scale, out=work)
            np.add(work, epsilon, out=work)
            np.divide(m, work, out=work)
            np.multiply(work, step_size, out=work)
            if weight_decay and p.ndim >= 2:
                np.multiply(p, 1.0 - rate * weight_decay, out=p)
            np.subtract(p, work, out=p)
        return params, state

    return Optimizer(init, update, "adamw")
