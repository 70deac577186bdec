"""check_grads: a function's derivatives against finite differences, to a chosen order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import trees
from .errors import TapeError
from .transforms import check_leaves, vjp


def _like(generator: np.random.Generator, x: Any) -> np.ndarray:
    """Return random numbers of the shape of `x`, complex where `x` is."""
    made = generator.standard_normal(np.shape(x))
    return made + 1j * generator.standard_normal(np.shape(x)) if np.iscomplexobj(x) else made


class GradientMismatch(TapeError, AssertionError):
    """A derivative does not agree with finite differences."""


def check_grads(f: Callable, *args: Any, order: int = 1, step: float = 1e-5, tolerance: float = 1e-6, seed: int = 0) -> None:
    """Check the derivatives of `f` at `args` in reverse mode against central differences, up to `order`.

    Along random directions v and cotangents w it compares <w, (f(x + h v) - f(x - h v)) / 2h> with <pullback(w), v>, with
    an error of at most `tolerance` times the size of the terms. Arguments must be float64 (differences of float32 are
    too coarse). Raises `GradientMismatch` with both numbers, `InputError` for other arguments.

    >>> import numpy as np, retape as rt
    >>> rt.check_grads(lambda x: np.sin(x) * x, np.linspace(-1.0, 1.0, 5), order=2)
    """
    generator = np.random.default_rng(seed)
    leaves, treedef = check_leaves(args, "arguments")
    leaves = [np.asarray(leaf, np.result_type(leaf, np.float64)) for leaf in leaves]

    def moved(direction: list, size: float) -> tuple:
        return trees.unflatten(treedef, [x + size * v for x, v in zip(leaves, direction, strict=True)])

    point = trees.unflatten(treedef, leaves)
    output, pullback = vjp(f, *point)
    outputs, out_tree = trees.flatten(output)
    direction = [_like(generator, x) for x in leaves]
    weights = [_like(generator, y) for y in outputs]
    above, below = (trees.flatten(f(*moved(direction, sign * step)))[0] for sign in (1, -1))
    slopes = [(np.asarray(a) - np.asarray(b)) / (2 * step) for a, b in zip(above, below, strict=True)]
    by_difference = sum(float(np.real(np.sum(w * s))) for w, s in zip(weights, slopes, strict=True))
    cotangent = trees.unflatten(out_tree, [w.astype(np.asarray(y).dtype) for w, y in zip(weights, outputs, strict=True)])
    gradients = trees.flatten(pullback(cotangent))[0]
    by_rule = sum(float(np.real(np.sum(g * v))) for g, v in zip(gradients, direction, strict=True))
    size = 1.0 + sum(float(np.sum(np.abs(w * s))) for w, s in zip(weights, slopes, strict=True))
    if not abs(by_difference - by_rule) <= tolerance * size:
        name = getattr(f, "__name__", "the function")
        raise GradientMismatch(
            f"the derivative of {name} along a random direction is {by_rule:.10g} by its rules and {by_difference:.10g} by "
            f"finite differences (step {step:g}); they differ by more than {tolerance:g} times {size:.3g}"
        )
    if order > 1:

        def derivative(*inner: Any) -> Any:
            return trees.flatten(vjp(f, *inner)[1](cotangent))[0]

        check_grads(derivative, *point, order=order - 1, step=step, tolerance=10 * tolerance, seed=seed + 1)
