"""The families of ops; importing this package fills the table."""

from . import (
    creation,
    elementwise,
    fourier,
    indexing,
    linear_algebra,
    methods,
    reductions,
    shape,
    softmax,
)

__all__ = [
    "creation",
    "elementwise",
    "fourier",
    "indexing",
    "linear_algebra",
    "methods",
    "reductions",
    "shape",
    "softmax",
]
