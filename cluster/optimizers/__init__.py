"""Makes parameter updates from gradients: one optimizer a file, each a pair of functions."""

from .adamw import adamw
from .clipping import clip_by_global_norm, global_norm
from .protocol import Optimizer
from .rates import constant, warmup_cosine
from .sgd import sgd

__all__ = ["Optimizer", "adamw", "clip_by_global_norm", "constant", "global_norm", "sgd", "warmup_cosine"]
