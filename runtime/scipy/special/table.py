"""Entries of the op table for SciPy's ufuncs, from their partial derivatives: orders, several outputs, singular ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import phantom
from ...array import Array, apply
from ...errors import NotDifferentiableError
from ...op import FUNCTIONS, Op, by_rules, define, elementwise, reading_as


def no_rule(name: str, argument: str) -> Callable:
    """Return a partial derivative that raises `NotDifferentiableError` when it is asked for: never a silent zero."""

    def partial() -> Any:
        raise NotDifferentiableError(
            f"scipy.special.{name} has no derivative in {argument} here: pass a plain number or array, or "
            "retape.stop_gradient(...) of a traced one, if no gradient in it is wanted"
        )

    return partial


def of_order(ufunc: np.ufunc, inputs: str, *partials: Any, orders: int = 1, name: str | None = None) -> Op:
    """Add a ufunc whose first `orders` inputs have no derivative; `partials` are those of the other inputs.

    An order that is a Python number becomes an array of the dtype that SciPy would compute with, so that a rule
    may count it up and down: of integers where the ufunc has a loop for them, real where the argument is complex.
    """
    name = name or ufunc.__name__
    refused = [no_rule(name, f"its order {argument!r}") for argument in inputs.split()[:orders]]
    op = elementwise(ufunc, inputs, *refused, *partials, cost=100.0, name=name)
    own_orders(ufunc, op, orders)
    return op


def own_orders(ufunc: np.ufunc, op: Op, orders: int = 1) -> None:
    """Let `ufunc` of a traced array record `op`, its first `orders` inputs made arrays."""
    takes_integers = ufunc.types[0].startswith("l")

    def handler(*args: Any) -> Any:
        kinds = [a.dtype if hasattr(a, "dtype") else type(a) for a in args]
        dtype = np.finfo(phantom.result_dtypes(ufunc, tuple(kinds))[0]).dtype
        own = [_own(a, takes_integers, dtype) if k < orders else a for k, a in enumerate(args)]
        return apply(op, tuple(own))

    FUNCTIONS[ufunc] = handler


def _own(order: Any, takes_integers: bool, dtype: np.dtype) -> Any:
    if isinstance(order, int):
        return np.asarray(order, np.int64 if takes_integers else dtype)
    return np.asarray(order, dtype) if isinstance(order, float) else order


def several(ufunc: np.ufunc, *slopes: Callable) -> Op:
    """Add a ufunc of one input and several outputs, from the slope of each as ``slope(x, y)``; ``y[k]`` is output k.

    The outputs are recorded as one array, of which the caller gets the parts.
    """

    def infer(x: np.ndarray) -> np.ndarray:
        dtypes = phantom.result_dtypes(ufunc, (x.dtype,))
        return phantom.contiguous((len(dtypes), *x.shape), dtypes[0])

    def slope(g: Any, x: Any, y: Any) -> Any:
        total = g[0] * slopes[0](x, y)
        for k in range(1, len(slopes)):
            total = total + g[k] * slopes[k](x, y)
        return total

    op = define(
        ufunc.__name__,
        lambda x: np.stack(ufunc(x)),
        inputs="x",
        rules=slope,
        infer=infer,
        flops=lambda out, x: 100.0 * out.size,
        workspace=lambda out, x: out.nbytes,
        jvp=lambda t, x, y: np.stack([t * s(x, y) for s in slopes]),
    )

    def handler(x: Any) -> tuple:
        packed = apply(op, (x,))
        return tuple(packed[k] for k in range(len(slopes)))

    FUNCTIONS[ufunc] = handler
    return op


def singular(ufunc: np.ufunc, inputs: str, *partials: Callable, cost: float = 40.0) -> Op:
    """Add a ufunc whose partial derivatives may be infinite where a cotangent is zero (a value that is masked away)."""

    def rule_of(partial: Callable) -> Callable:
        def rule(g: Any, *values: Any) -> Any:
            slope = partial(*values)
            is_masked = np.logical_and(np.equal(g, 0), np.logical_not(np.isfinite(slope)))
            return g * np.where(is_masked, 0, slope)

        return reading_as(rule, partial)

    return by_rules(ufunc, inputs, *(rule_of(partial) for partial in partials), cost=cost)


def slope_series(x: Any, direct: Callable, coefficients: Sequence[float], radius: float) -> Any:
    """Return ``direct(x)`` where |x| is at least `radius`, and the power series with `coefficients` inside."""
    is_small = np.less(np.absolute(x), radius)
    inner = np.where(is_small, x, 0)
    series: Any = inner * 0 + coefficients[-1]
    for coefficient in coefficients[-2::-1]:
        series = series * inner + coefficient
    return np.where(is_small, series, direct(np.where(is_small, 1, x)))


def is_complex(x: Any) -> bool:
    """Tell whether an array, plain or traced, holds complex numbers."""
    return (x.dtype if type(x) is Array else np.asarray(x).dtype).kind == "c"
