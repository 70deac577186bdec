"""Products and quotients for rules, in which a cotangent of 0 stays 0 whatever it meets.

Where a program takes another branch (``np.where(x > 0, np.sqrt(x), 0)``) the cotangent is exactly 0, and a partial
derivative that is infinite or NaN there must not turn it into NaN. A quotient by 0 is infinite and no warning: that
of the program itself has been given when it ran.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core.multiarray import count_nonzero  # pyright: ignore[reportAttributeAccessIssue]

from .. import phantom
from ..array import apply
from ..op import define, into

# Below this size a count of the non-zeros is cheaper than a reduction; above it, the reduction.
_SMALL = 1024


def _is_without_zeros(x: Any) -> bool:
    if x.size <= _SMALL:
        return count_nonzero(x) == x.size
    return bool(np.logical_and.reduce(x, axis=None))


def _masked(run: Callable, g: Any) -> Any:
    with np.errstate(all="ignore"):
        # The mask comes first: the buffer of the result may be that of `g`.
        is_zero = None if _is_without_zeros(g) else np.equal(g, 0)
        y = run()
    if is_zero is None:
        return y
    if isinstance(y, np.ndarray):
        np.copyto(y, 0, where=is_zero)
        return y
    return y.dtype.type(0) if is_zero else y


_multiply_into = into(np.multiply)


def _run_product(g: Any, factor: Any, out: Any = None) -> Any:
    def run() -> Any:
        return np.multiply(g, factor) if out is None else _multiply_into(out, g, factor)

    return run() if g.size <= _SMALL and count_nonzero(g) == g.size else _masked(run, g)


def run_quotient(g: Any, divisor: Any, out: Any = None) -> Any:
    """Compute ``g / divisor``, and 0 where `g` is 0, of plain arrays."""
    if g.size <= _SMALL and count_nonzero(g) == g.size and count_nonzero(divisor) == np.size(divisor):
        return g / divisor if out is None else np.true_divide(g, divisor, out)
    return _masked(lambda: np.true_divide(g, divisor, out), g)


def _define(name: str, run: Callable, inputs: str, ufunc: np.ufunc, rules: tuple, cost: float) -> Any:
    return define(
        name,
        run,
        inputs=inputs,
        rules=rules,
        infer=lambda g, other: phantom.of_ufunc(ufunc, (g, other)),
        flops=lambda out, *_: cost * out.size,
        workspace=lambda out, *_: out.size,  # the mask
        overwrites=0,
        run_into=lambda out, g, other: run(g, other, out),
        jvp=rules,
    )


def product_of_both(a: Any, b: Any) -> Any:
    """Return ``a * b``, and 0 where either is 0: at the second order both may be infinite."""
    return np.where(np.equal(b, 0), 0, product(a, b))


PRODUCT = _define(
    "masked_product",
    _run_product,
    "g factor",
    np.multiply,
    (lambda h, factor: product(h, factor), lambda h, g: product_of_both(g, h)),
    2,
)
QUOTIENT = _define(
    "masked_quotient",
    run_quotient,
    "g divisor",
    np.true_divide,
    (lambda h, divisor: quotient(h, divisor), lambda h, divisor, y: -quotient(product_of_both(y, h), divisor)),
    5,
)


def product(g: Any, factor: Any) -> Any:
    """Return ``g * factor``, and 0 where `g` is 0."""
    return apply(PRODUCT, (g, factor))


def quotient(g: Any, divisor: Any) -> Any:
    """Return ``g / divisor``, and 0 where `g` is 0."""
    return apply(QUOTIENT, (g, divisor))


def over(a: Any, length: Any) -> Any:
    """Return ``a / length``, and 0 where the length is 0, with derivatives of 0 there."""
    is_zero = np.equal(length, 0)
    return np.where(is_zero, 0, a / np.where(is_zero, 1, length))
