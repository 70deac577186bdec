"""Makes parameter updates from gradients: one optimizer a file, each a pair of functions."""

from collections.abc import Callable

from .adamw import adamw
from .clipping import clip_by_global_norm, clipped
from .lamb import lamb
from .lars import lars
from .momentum import momentum
from .norms import block_sums, global_norm, root
from .protocol import Optimizer
from .rates import Rate, constant, cosine, linear_scaling, rate_at, square_root_scaling, staircase, warmup, warmup_cosine
from .sgd import sgd

# What the command line can choose from to follow the warm-up, from the peak rate and the steps that are left.
DECAYS: dict[str, Callable[[float, int], Rate]] = {
    "cosine": lambda peak, steps: cosine(peak, steps=steps, floor=0.05),
    "stairs": lambda peak, steps: staircase(peak, at=sorted({max(1, steps // 2), max(1, 3 * steps // 4)})),
    "none": lambda peak, steps: constant(peak),
}
# What the command line can choose from: each takes `weight_decay`.
OPTIMIZERS = {"adamw": adamw, "lamb": lamb, "lars": lars, "momentum": momentum, "sgd": sgd}

__all__ = [
    "DECAYS",
    "OPTIMIZERS",
    "Optimizer",
    "Rate",
    "adamw",
    "block_sums",
    "clip_by_global_norm",
    "clipped",
    "constant",
    "cosine",
    "global_norm",
    "lamb",
    "lars",
    "linear_scaling",
    "momentum",
    "rate_at",
    "root",
    "sgd",
    "square_root_scaling",
    "staircase",
    "warmup",
    "warmup_cosine",
]
