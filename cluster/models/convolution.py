"""Makes a convolutional image classifier for scikit-learn's digits, in plain NumPy.

Two layers of 3 x 3 filters, each followed by the largest of every 2 x 2 pixels, and one layer of scores (LeCun et al.,
"Gradient-Based Learning Applied to Document Recognition", 1998).
"""

from functools import partial
from typing import Any

import numpy as np

from ..errors import ConfigError
from . import digits
from .protocol import Model, ModelOptions

DEFAULTS = {
    "layers": 2,
    "width": 16,
    "steps": 300,
    "global_batch": 256,
    "rate": 5e-3,
    "memory_budget": "40%",
}
_SIDE, _FILTER = 8, 3


def init(seed: int, *, layers: int, width: int) -> dict[str, Any]:
    """Filters of shape (channels * 9, width), twice as many in each next layer, and the scores' weights; float32, scaled
    as He et al. (2015) do for ReLU.

    Raises ``ConfigError`` for layers that leave no pixel.
    """
    if not 1 <= layers <= 3:
        raise ConfigError(f"layers is {layers}; each halves the images' 8 pixels, so that it must be 1, 2 or 3")
    draw = np.random.Generator(np.random.Philox(seed))

    def layer(inputs: int, outputs: int) -> dict[str, np.ndarray]:
        weight = draw.standard_normal((inputs, outputs), np.float32) * np.float32((2.0 / inputs) ** 0.5)
        return {"weight": weight, "bias": np.zeros(outputs, np.float32)}

    channels = [1] + [width << number for number in range(layers)]
    filters = [layer(a * _FILTER**2, b) for a, b in zip(channels[:-1], channels[1:], strict=True)]
    return {"filters": filters, "scores": layer((_SIDE >> layers) ** 2 * channels[-1], 10)}


def scores(params: dict[str, Any], images: np.ndarray) -> Any:
    """Scores of the classes, (n, 10), from ``images`` of shape (n, 64)."""
    x = images.reshape(-1, _SIDE, _SIDE, 1)
    for layer in params["filters"]:
        count, side, _, channels = x.shape
        around = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(around, (_FILTER, _FILTER), axis=(1, 2))
        x = windows.reshape(-1, channels * _FILTER**2) @ layer["weight"] + layer["bias"]
        x = np.maximum(x.reshape(count, side // 2, 2, side // 2, 2, -1).max(axis=(2, 4)), 0.0)
    return x.reshape(len(images), -1) @ params["scores"]["weight"] + params["scores"]["bias"]


def build(options: ModelOptions) -> Model:
    """The classifier with its data. Raises as ``digits.classifier`` does, and ``ConfigError`` for too many layers."""
    make = partial(init, layers=options.layers, width=options.width)
    make(0)
    return digits.classifier(options, name="convolution", init=make, scores=scores, bar=0.97)
