"""Makes an image classifier for scikit-learn's bundled digits: a small network over 8 x 8 pixels, in plain
NumPy."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...runtime.ops.softmax import log_softmax
from ..data import Arrays
from ..errors import ConfigError, DataError
from .protocol import Model, ModelOptions

# Half of what a step of so small a model needs is its gradients, which no plan can drop: hence the larger
# budget.
DEFAULTS = {
    "layers": 3,
    "width": 64,
    "steps": 300,
    "global_batch": 256,
    "rate": 3e-3,
    "memory_budget": "80%",
}
# Scores of the classes from parameters and images.
Scores = Callable[[Any, np.ndarray], Any]
_PIXELS, _CLASSES = 64, 10
_VALIDATION = 360


def init(seed: int, *, layers: int, width: int) -> list[dict[str, np.ndarray]]:
    """The layers' weights and biases, float32; He et al. (2015) scaling for ReLU."""
    draw = np.random.Generator(np.random.Philox(seed))
    sizes = [_PIXELS] + [width] * layers + [_CLASSES]
    return [
        {
            "weight": draw.standard_normal((a, b), np.float32) * np.float32((2.0 / a) ** 0.5),
            "bias": np.zeros(b, np.float32),
        }
        for a, b in zip(sizes[:-1], sizes[1:], strict=True)
    ]


def scores(params: list[dict[str, Any]], images: np.ndarray) -> Any:
    """Scores of the classes, (n, 10), from ``images`` of shape (n, 64)."""
    x = images
    for layer in params[:-1]:
        x = np.maximum(x @ layer["weight"] + layer["bias"], 0.0)
    return x @ params[-1]["weight"] + params[-1]["bias"]


def loss(params: Any, batch: dict[str, np.ndarray], *, scores: Scores = scores) -> Any:
    """Mean cross-entropy in nats; ``batch`` holds ``image`` (n, 64) float32 and ``label`` (n,) integers."""
    labels = batch["label"]
    return -np.mean(log_softmax(scores(params, batch["image"]))[np.arange(labels.size), labels])


def evaluate(params: Any, batch: dict[str, np.ndarray], *, scores: Scores = scores) -> dict[str, float]:
    """``val_loss`` in nats and ``val_accuracy``, the share of right answers."""
    right = np.argmax(np.asarray(scores(params, batch["image"])), axis=-1) == batch["label"]
    return {"val_loss": float(loss(params, batch, scores=scores)), "val_accuracy": float(np.mean(right))}


def build(options: ModelOptions) -> Model:
    """The network with its data. Raises as :func:`classifier` does."""
    make = partial(init, layers=options.layers, width=options.width)
    return classifier(options, name="digits", init=make, scores=scores, bar=0.9)


def classifier(options: ModelOptions, *, name: str, init: Callable[[int], Any], scores: Scores, bar: float) -> Model:
    """A classifier with its data; the last 360 of 1797 images, in a shuffled order, are for validation, of which ``bar`` is
    the share that it should get right.

    Raises ``ConfigError`` when scikit-learn is missing, and ``DataError`` for a ``--data`` path, which it
    cannot use.
    """
    if options.data is not None:
        raise DataError("the digits bring their own data set; leave --data out, or use --model transformer")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ConfigError("the digits come with scikit-learn: pip install 'retape[cluster]'") from error
    pixels, targets = map(np.asarray, load_digits(return_X_y=True))
    order = np.random.Generator(np.random.Philox(0)).permutation(len(targets))
    images = (pixels[order] / 16.0).astype(np.float32)
    labels = targets[order].astype(np.int64)
    train = Arrays({"image": images[:-_VALIDATION], "label": labels[:-_VALIDATION]})
    validation = Arrays({"image": images[-_VALIDATION:], "label": labels[-_VALIDATION:]})
    return Model(
        name=name,
        init=init,
        loss=partial(loss, scores=scores),
        evaluate=partial(evaluate, scores=scores),
        train=train,
        validation=validation,
        units=1,
        unit="images",
        goal=("val_accuracy", ">", bar, "goal"),
        facts={"images": f"{len(train)} of 8 x 8 pixels to train on, {len(validation)} to validate on"},
        sample=partial(_sample_text, scores=scores, images=images[-_VALIDATION:], labels=labels[-_VALIDATION:]),
    )


def _sample_text(params: Any, seed: int, *, scores: Scores, images: np.ndarray, labels: np.ndarray) -> str:
    chosen = np.random.Generator(np.random.Philox(seed)).choice(len(images), 5, replace=False)
    answers = np.argmax(np.asarray(scores(params, images[chosen])), axis=-1)
    shades = " .:*#"
    pictures = []
    for index, answer in zip(chosen, answers, strict=True):
        rows = (images[index].reshape(8, 8) * 4.999).astype(int)
        drawing = "\n".join("".join(shades[shade] for shade in row) for row in rows)
        pictures.append(f"{drawing}\nlabel {labels[index]}, answer {answer}\n")
    return "\n".join(pictures)
