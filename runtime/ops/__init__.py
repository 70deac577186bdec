"""The families of ops; importing this package fills the table."""

from . import (
    creation,
    elementwise,
    fourier,
    gamma_draws,
    histograms,
    indexing,
    linear_algebra,
    methods,
    random_draws,
    reductions,
    shape,
    softmax,
)

__all__ = [
    "creation",
    "elementwise",
    "fourier",
    "gamma_draws",
    "histograms",
    "indexing",
    "linear_algebra",
    "methods",
    "random_draws",
    "reductions",
    "shape",
    "softmax",
]
