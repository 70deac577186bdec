"""Cosines and squares of roots (of norms, sizes, square roots), which are smooth where the root is not.

``cos(sqrt(s))`` and ``cosh(sqrt(s))`` are entire functions of s, and so are their derivatives: c(s) = cos(sqrt(s)) has the
derivatives (-1/2)^n f_n with f_n = j_{n-1}(r) / r^{n-1}, spherical Bessel functions at r = sqrt(s); `numpy.cosh` has those
of the modified ones (Abramowitz & Stegun 10.1.23 and 10.2.20, 1964).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply
from ..op import define, implements
from ..recorders import recorder
from .roots import power_of_root, square_of_root

_TERMS = 16
_NEAR = 9.0  # from this square on the recurrence upwards loses no digits that matter


def _run(base: Any, square: Any, order: int, sign: int) -> Any:
    """Return f_order at the root `base`; the sign is that of the square in the series, -1 for cos and 1 for cosh."""
    before = np.cos(base) if sign < 0 else np.cosh(base)
    if not order:
        return before
    s = base * base
    is_near = np.less(s, _NEAR)
    far = np.where(is_near, 1, base)
    here = (np.sin(far) if sign < 0 else np.sinh(far)) / far
    for n in range(order - 1):
        before, here = here, sign * (before - (2 * n + 1) * here) / (far * far)
    s = np.where(is_near, s, 0)
    total = np.zeros_like(s)
    for k in reversed(range(_TERMS)):
        total = total * (s * sign / (2 * (k + 1))) / (2 * (order + k) + 1) + 1
    return np.where(is_near, total / math.prod(range(1, 2 * order, 2)), here)


def _rule(g: Any, base: Any, square: Any, order: int, sign: int) -> Any:
    return g * (0.5 * sign * _of_root(base, square, order + 1, sign))


OF_ROOT = define(
    "cosine_of_root",
    _run,
    inputs="base square",
    parameters=("order", "sign"),
    rules=(None, _rule),
    infer=lambda base, square, **_: phantom.elementwise([base], base.dtype),
    flops=lambda out, *_, order, **__: (20 + 100 * order) * out.size,
    workspace=lambda out, *_, order, **__: 8 * out.nbytes if order else 0,
    jvp=(None, _rule),
)


def _of_root(base: Any, square: Any, order: int, sign: int) -> Any:
    return apply(OF_ROOT, (base, square), {"order": order, "sign": sign})


def _by_square(ufunc: np.ufunc, of_root: Callable) -> None:
    """Let a ufunc of a root go by the square of that, where it is known: `of_root(root)` returns None where not."""
    record = recorder(ufunc)
    assert record is not None

    @implements(ufunc)
    def entry(x: Any) -> Any:
        y = of_root(x) if type(x) is Array and x._ties is not None else None
        return record(x) if y is None else y


def _cosine(x: Array, sign: int) -> Any:
    square = square_of_root(x)
    return None if square is None else _of_root(x, square, 0, sign)


_by_square(np.cos, lambda x: _cosine(x, -1))
_by_square(np.cosh, lambda x: _cosine(x, 1))
_by_square(np.square, lambda x: power_of_root(x, 2))
