"""Zeros and ones as calls of a tape: arrays that are made of nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, record
from ..op import OPS, Op, define


def _fill(name: str, make: Callable[..., np.ndarray], number: int) -> Op:
    def run_into(out: np.ndarray, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        out.fill(number)
        return out

    return define(
        name,
        make,
        inputs="",
        parameters=("shape", "dtype"),
        infer=lambda shape, dtype: phantom.contiguous(shape, dtype),
        run_into=run_into,
        zero_gradient=True,
    )


ZEROS, ONES = _fill("zeros", np.zeros, 0), _fill("ones", np.ones, 1)


def zeros_on(tape: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Record a call on `tape` that makes zeros."""
    return record(tape, OPS["zeros"], (), {"shape": tuple(shape), "dtype": np.dtype(dtype)})
