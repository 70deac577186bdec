"""Makes Adam's running means of the gradient and of its square, and the ratio that its updates follow."""

from typing import Any

import numpy as np

from ...runtime.trees import map_leaves


def init_moments(params: Any) -> dict[str, Any]:
    """Zero means for each leaf of ``params``, and a count of no steps."""
    return {
        "count": np.zeros((), np.int64),
        "mean": map_leaves(np.zeros_like, params),
        "square": map_leaves(np.zeros_like, params),
    }


def moment_ratio(
    g: np.ndarray, m: np.ndarray, s: np.ndarray, *, beta1: float, beta2: float, epsilon: float, count: int
) -> np.ndarray:
    """Updates the means ``m`` and ``s`` of one leaf in place; returns ``m / (sqrt(s / (1 - beta2 ** count)) + epsilon)``.

    That is Adam's direction but for the bias of ``m``, a factor ``1 - beta1 ** count`` that the caller divides by. The
    array returned is a new one. Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """
    work = np.multiply(g, 1.0 - beta1, out=np.empty_like(m))
    np.multiply(m, beta1, out=m)
    np.add(m, work, out=m)
    np.multiply(g, g, out=work)
    np.multiply(work, 1.0 - beta2, out=work)
    np.multiply(s, beta2, out=s)
    np.add(s, work, out=s)
    np.sqrt(s, out=work)
    np.multiply(work, (1.0 - beta2**count) ** -0.5, out=work)
    np.add(work, epsilon, out=work)
    return np.divide(m, work, out=work)
