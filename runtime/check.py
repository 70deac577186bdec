"""check_grads: a function's derivatives against finite differences, in both modes, to a chosen order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import trees
from .arguments import check_leaves
from .errors import TapeError
from .transforms import jvp, vjp


class GradientMismatch(TapeError, AssertionError):
    """A derivative does not agree with finite differences."""


def check_grads(
    f: Callable,
    *args: Any,
    order: int = 1,
    modes: Sequence[str] = ("fwd", "rev"),
    step: float = 1e-5,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> None:
    """Check the derivatives of `f` at `args` against central differences, in each of `modes` ("fwd", "rev"), up to `order`.

    Along random directions v and cotangents w it compares <w, (f(x + h v) - f(x - h v)) / 2h> with <w, tangent along v> and
    with <pullback(w), v>, with an error of at most `tolerance` times the size of the terms. Every order is checked in
    every sequence of the modes. Arguments must be float64 or complex128 (differences of float32 are too coarse). Raises
    `GradientMismatch` with both numbers, `InputError` for other arguments, `ValueError` for an unknown mode.

    >>> import numpy as np, retape as rt
    >>> rt.check_grads(lambda x: np.sin(x) * x, np.linspace(-1.0, 1.0, 5), order=2)
    """
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    for mode in modes:
        if mode not in ("fwd", "rev"):
            raise ValueError(f"modes={modes!r} names {mode!r}, which is none of: 'fwd', 'rev'")
    generator = np.random.default_rng(seed)
    leaves, treedef = check_leaves(args, "arguments")
    leaves = [np.asarray(leaf, np.result_type(leaf, np.float64)) for leaf in leaves]
    point = trees.unflatten(treedef, leaves)
    direction = [_like(generator, x) for x in leaves]
    along = trees.unflatten(treedef, direction)
    above, below = (
        trees.flatten(f(*trees.unflatten(treedef, [x + sign * step * v for x, v in zip(leaves, direction, strict=True)])))[0]
        for sign in (1, -1)
    )
    slopes = [(np.asarray(a) - np.asarray(b)) / (2 * step) for a, b in zip(above, below, strict=True)]
    weights = [_like(generator, slope) for slope in slopes]
    by_difference = _inner(weights, slopes)
    size = 1.0 + sum(float(np.sum(np.abs(w * s))) for w, s in zip(weights, slopes, strict=True))

    def compare(found: float, mode: str) -> None:
        if not abs(by_difference - found) <= tolerance * size:
            name = getattr(f, "__name__", "the function")
            raise GradientMismatch(
                f"the derivative of {name} along a random direction is {found:.10g} by its rules ({mode}) and "
                f"{by_difference:.10g} by finite differences (step {step:g}); they differ by more than {tolerance:g} times "
                f"{size:.3g}"
            )

    rest = {"order": order - 1, "modes": modes, "step": step, "tolerance": 10 * tolerance, "seed": seed + 1}
    if "fwd" in modes:
        _, tangent = jvp(f, point, along)
        compare(_inner(weights, trees.flatten(tangent)[0]), "forward mode")
        if order > 1:
            check_grads(lambda *inner: jvp(f, inner, along)[1], *point, **rest)
    if "rev" in modes:
        output, pullback = vjp(f, *point)
        outputs, out_tree = trees.flatten(output)
        cotangent = trees.unflatten(out_tree, [np.asarray(w, y.dtype) for w, y in zip(weights, outputs, strict=True)])
        compare(_inner(trees.flatten(pullback(cotangent))[0], direction), "reverse mode")
        if order > 1:
            check_grads(lambda *inner: trees.flatten(vjp(f, *inner)[1](cotangent))[0], *point, **rest)


def _like(generator: np.random.Generator, x: Any) -> np.ndarray:
    """Return random numbers of the shape of `x`, complex where `x` is."""
    made = generator.standard_normal(np.shape(x))
    return made + 1j * generator.standard_normal(np.shape(x)) if np.iscomplexobj(x) else made


def _inner(a: list, b: list) -> float:
    return sum(float(np.real(np.sum(x * y))) for x, y in zip(a, b, strict=True))
