"""The forms that are tested: one small program for each differentiable NumPy function or way to call it.

Every module here holds a list ``FORMS``; `test_forms.py` runs each form in every mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Form:
    """A program ``f(*args)`` on float64 or complex128 arrays that returns an array or a container of arrays.

    `covers` is the full name of the function under test, such as ``numpy.linalg.solve`` or ``numpy.ndarray.sort``; `text`
    says what is special about this call. `tolerance` is relative, against central differences. `closed` is the
    gradient of ``sum(f(*args))`` for the first argument in closed form where there is one. `float32` is False where
    the function itself computes in float64, or where single precision is too coarse to run at all.
    """

    covers: str
    text: str
    f: Callable
    args: tuple
    order: int = 2
    tolerance: float = 1e-6
    closed: Callable | None = None
    float32: bool = True


def real(*shape, seed=0):
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape)


def cplx(*shape, seed=0):
    """Complex normal numbers."""
    return real(*shape, seed=seed) + 1j * real(*shape, seed=seed + 1000)


def positive(*shape, seed=0):
    """Numbers in (0.5, 2)."""
    return np.random.default_rng(seed).uniform(0.5, 2.0, shape)


def inside(*shape, seed=0):
    """Numbers in (-0.8, 0.8), none near 0."""
    generator = np.random.default_rng(seed)
    return generator.uniform(0.1, 0.8, shape) * generator.choice([-1.0, 1.0], shape)


def distinct(*shape, seed=0):
    """Positive numbers at least 0.3 apart, shuffled."""
    count = math.prod(shape)
    return (0.37 * np.random.default_rng(seed).permutation(count) + 0.11).reshape(shape)


def matrix(n, seed=0):
    """A well-conditioned matrix."""
    return real(n, n, seed=seed) + 3 * np.eye(n)


def _reduces_rows(ufunc):
    row = np.array([0.6, 1.7, 0.9])
    return np.isclose(ufunc.reduce(row[None], axis=1)[0], ufunc(ufunc(row[0], row[1]), row[2]))


# What NumPy itself gets wrong on processors for which it has AVX-512 kernels of these: nothing to compare with.
WRONG_IN_NUMPY = {
    f"numpy.{ufunc.__name__}.{method}"
    for ufunc in (np.power, np.arctan2)
    for method in ("reduce", "reduceat")
    if not _reduces_rows(ufunc)
}
