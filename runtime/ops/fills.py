"""Zeros and ones as calls of a tape: arrays that are made of nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, record
from ..op import OPS, define

ZEROS = define(
    "zeros",
    lambda shape, dtype: np.zeros(shape, dtype),
    inputs="",
    parameters=("shape", "dtype"),
    infer=lambda shape, dtype: phantom.contiguous(shape, dtype),
    zero_gradient=True,
)
ONES = define(
    "ones",
    lambda shape, dtype: np.ones(shape, dtype),
    inputs="",
    parameters=("shape", "dtype"),
    infer=lambda shape, dtype: phantom.contiguous(shape, dtype),
    zero_gradient=True,
)


def zeros_on(tape: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Record a call on `tape` that makes zeros."""
    return record(tape, OPS["zeros"], (), {"shape": tuple(shape), "dtype": np.dtype(dtype)})
