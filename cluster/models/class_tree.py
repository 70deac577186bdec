"""Makes an image classifier that walks a tree of classes for each image, its steps decided by the data.

Hierarchical softmax (Morin and Bengio, "Hierarchical Probabilistic Neural Network Language Model", 2005): at each
inner node of a binary tree the network says left or right, and a class is as probable as the way to its leaf. The tree
joins classes whose mean images are alike, nearest first (Ward, 1963), so that ways differ in length, and every batch is
another program.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import ConfigError
from . import digits
from .protocol import Model, ModelOptions

DEFAULTS = {
    "layers": 2,
    "width": 32,
    "steps": 300,
    "global_batch": 128,
    "rate": 3e-3,
    "memory_budget": "85%",
}


@dataclass(frozen=True)
class Tree:
    """A binary tree over classes: ``ways[c]`` are the (inner node, +1 for right or -1 for left) from the root to ``c``."""

    ways: tuple[tuple[tuple[int, int], ...], ...]

    @property
    def nodes(self) -> int:
        """The number of inner nodes."""
        return len(self.ways) - 1


def tree_of(images: np.ndarray, labels: np.ndarray) -> Tree:
    """The tree of the classes 0..n-1 of ``labels`` (m,), by the mean ``images`` (m, pixels) of each.

    Raises ``ConfigError`` where SciPy is missing, which brings the clustering.
    """
    try:
        from scipy.cluster.hierarchy import linkage
    except ImportError as error:
        raise ConfigError("the tree of classes is made with SciPy: pip install 'retape[cluster]'") from error
    count = int(labels.max()) + 1
    means = np.stack([images[labels == c].mean(axis=0) for c in range(count)])
    merges = linkage(means, "ward")[:, :2].astype(int)
    ways: dict[int, tuple[tuple[int, int], ...]] = {2 * count - 2: ()}
    for merge in range(count - 2, -1, -1):
        node = count - 2 - merge
        for child, side in zip(merges[merge], (-1, 1), strict=True):
            ways[int(child)] = (*ways[count + merge], (node, side))
    return Tree(tuple(ways[c] for c in range(count)))


def init(seed: int, *, layers: int, width: int, tree: Tree) -> dict[str, Any]:
    """The network's layers, and a direction and a bias for each inner node; float32."""
    draw = np.random.Generator(np.random.Philox(seed + 1))
    return {
        "layers": digits.init(seed, layers=layers, width=width)[:-1],
        "nodes": draw.standard_normal((tree.nodes, width), np.float32) * np.float32(width**-0.5),
        "bias": np.zeros(tree.nodes, np.float32),
    }


def loss(params: dict[str, Any], batch: dict[str, np.ndarray], *, tree: Tree) -> Any:
    """Mean of ``-log p(label)`` in nats; ``batch`` holds ``image`` (n, 64) float32 and ``label`` (n,) integers."""
    features = _features(params, batch["image"])
    total = 0.0
    for image, label in enumerate(batch["label"]):
        for node, side in tree.ways[label]:
            score = features[image] @ params["nodes"][node] + params["bias"][node]
            total = total + np.logaddexp(np.float32(0.0), -side * score)
    return total / len(batch["label"])


def evaluate(params: dict[str, Any], batch: dict[str, np.ndarray], *, tree: Tree) -> dict[str, float]:
    """``val_loss`` in nats, and ``val_accuracy``, the share of images whose walk from the root ends at their label."""
    scores = _features(params, batch["image"]) @ params["nodes"].T + params["bias"]
    right = [np.all(scores[i, nodes] * sides > 0) for i, (nodes, sides) in enumerate(_ways(tree, batch["label"]))]
    return {"val_loss": float(loss(params, batch, tree=tree)), "val_accuracy": float(np.mean(right))}


def build(options: ModelOptions) -> Model:
    """The classifier with scikit-learn's digits. Raises as `digits.build` does."""
    flat = digits.build(options)
    everything = flat.train.batch(np.arange(len(flat.train)))
    tree = tree_of(everything["image"], everything["label"])
    return Model(
        name="class-tree",
        init=partial(init, layers=options.layers, width=options.width, tree=tree),
        loss=partial(loss, tree=tree),
        evaluate=partial(evaluate, tree=tree),
        train=flat.train,
        validation=flat.validation,
        units=1,
        unit="images",
        goal=("val_accuracy", ">", 0.9, "goal"),
        facts={**flat.facts, "tree": f"{tree.nodes} inner nodes, ways of {_lengths(tree)} steps"},
        sample=partial(_drawn, tree=tree),
    )


def _features(params: dict[str, Any], images: np.ndarray) -> Any:
    x = images
    for layer in params["layers"]:
        x = np.maximum(x @ layer["weight"] + layer["bias"], 0.0)
    return x


def _ways(tree: Tree, labels: np.ndarray) -> list[tuple[list[int], np.ndarray]]:
    return [([node for node, _ in tree.ways[c]], np.array([side for _, side in tree.ways[c]])) for c in labels]


def _lengths(tree: Tree) -> str:
    lengths = sorted({len(way) for way in tree.ways})
    return f"{lengths[0]} to {lengths[-1]}"


def _drawn(params: Any, seed: int, *, tree: Tree) -> str:
    """The tree as text: a class on each line, behind its way from the root."""
    sides = {-1: "left", 1: "right"}
    return "\n".join(
        f"{c}: " + ", ".join(f"{sides[side]} at {node}" for node, side in way) for c, way in enumerate(tree.ways)
    )
