"""Makes the reference of a probe: value, gradient and second derivative, by differences of plain NumPy alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import probes


def _leaves(output: Any) -> Iterator[Any]:
    """The arrays of an output that can have a derivative."""
    if isinstance(output, dict):
        for key in sorted(output):
            yield from _leaves(output[key])
    elif isinstance(output, (list, tuple)) or isinstance(getattr(output, "_value", None), (list, tuple)):
        for k in range(len(output)):
            yield from _leaves(output[k])
    elif isinstance(output, (float, complex)) or getattr(getattr(output, "dtype", None), "kind", "") in ("f", "c", "O"):
        yield output


def loss(text: str, program_numpy: Any, xp: Any, seen: list | None = None) -> Callable:
    """Return a real function of the program's arguments: its outputs under weights without symmetry.

    The dtypes of the outputs are added to `seen`.
    """
    names = {"np": program_numpy, **probes.NAMES}
    exec(probes.source(text), names)

    def f(*args: Any) -> Any:
        total = 0.0
        for number, y in enumerate(_leaves(names["program"](*args))):
            if seen is not None:
                seen.append(str(np.result_type(y.dtype if hasattr(y, "dtype") else y)))
            shape = y.shape if hasattr(y, "shape") else ()
            weights = np.cos(np.arange(1.0, math.prod(shape) + 1.0) * 1.3 + number).reshape(shape)
            if getattr(getattr(y, "dtype", None), "kind", "") == "O":  # an ndarray of traced scalars is an array all the same
                total = total + sum(xp.real(part) * weight for part, weight in zip(y.ravel(), weights.ravel(), strict=True))
                continue
            total = total + xp.sum(xp.real(y) * weights)
            if isinstance(y, complex) or getattr(getattr(y, "dtype", None), "kind", "") == "c":
                total = total + xp.sum(xp.imag(y) * (0.4 - weights))
        return total

    return f


def _units(args: list) -> Iterator[tuple[int, tuple, complex]]:
    for which, arg in enumerate(args):
        for index in np.ndindex(np.shape(arg)):
            yield which, index, 1.0
            if np.iscomplexobj(arg):
                yield which, index, 1j


def _moved(letters: str, directions: list, size: float, form: str) -> list:
    made = []
    for arg, direction in zip(probes.arguments(letters, form), directions, strict=True):
        if isinstance(arg, np.ndarray):
            arg[...] = arg + size * direction  # in its own layout
            made.append(arg)
        else:
            made.append(type(arg)(arg + size * direction))
    return made


def random_directions(letters: str, seed: int) -> list:
    """Return one random direction per argument."""
    generator = np.random.default_rng(seed)
    made = []
    for arg in probes.arguments(letters):
        direction = generator.standard_normal(np.shape(arg))
        made.append(direction + 1j * generator.standard_normal(np.shape(arg)) if np.iscomplexobj(arg) else direction)
    return made


def reference(text: str, letters: str) -> dict[str, Any] | None:
    """Return gradients and second derivative by differences of plain NumPy; None where they do not settle.

    The gradients for strided arguments are the same unless the program's value depends on their layout; "layouts" has the
    values for other ones, with the derivatives along "u". "single" tells whether plain NumPy computes the same in single
    precision.
    """
    f = loss(text, np, np)
    gradients = _gradients(f, letters, "plain")
    if gradients is None:
        return None
    try:
        is_same = abs(f(*probes.arguments(letters, "strided")) - f(*probes.arguments(letters))) <= 1e-9
        strided = gradients if is_same else _gradients(f, letters, "strided")
    except ValueError:  # some programs take no other layout
        strided = None

    def bend(u: list, v: list, h: float) -> float:
        total = 0.0
        for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            total += a * b * f(*_moved(letters, [a * p + b * q for p, q in zip(u, v, strict=True)], h, "plain"))
        return total / (4 * h * h)

    try:
        is_stable = abs(f(*probes.arguments(letters, "single")) - f(*probes.arguments(letters))) < 1e-2
    except AssertionError:  # some programs are about float64
        is_stable = False
    u, v = random_directions(letters, 1), random_directions(letters, 2)
    u, v = ([d / np.sqrt(sum(np.sum(np.abs(p) ** 2) for p in many)) for d in many] for many in (u, v))
    fine, coarse = bend(u, v, 1e-3), bend(u, v, 2e-3)
    second = (4 * fine - coarse) / 3 if abs(fine - coarse) <= 1e-2 * (1 + abs(fine)) else None
    layouts = {form: found for form in LAYOUTS if (found := _along(f, letters, u, form)) is not None}
    return {
        "gradients": gradients, "strided": strided, "layouts": layouts, "single": is_stable, "u": u, "v": v, "second": second,
    }  # fmt: skip


LAYOUTS = ("permuted", "gapped", "reversed")


def _along(f: Callable, letters: str, u: list, form: str) -> tuple[float, float] | None:
    """Return the value for arguments of a layout and its derivative along `u`; None where the differences do not settle."""
    try:
        value = f(*probes.arguments(letters, form))
        far, near, back, aft = (f(*_moved(letters, u, h * 1e-4, form)) for h in (2, 1, -1, -2))
    except ValueError:  # some programs take no other layout
        return None
    fine, coarse = (8 * (near - back) - (far - aft)) / 12e-4, (far - aft) / 4e-4
    is_settled = abs(fine - coarse) <= 1e-5 * (1 + abs(fine)) and abs(near + back - 2 * value) <= 1e-3 * (1 + abs(value))
    return (value, fine) if is_settled else None


def _gradients(f: Callable, letters: str, form: str) -> list | None:
    args = probes.arguments(letters, form)
    value = f(*args)
    made = [np.zeros(np.shape(arg), np.result_type(arg)) for arg in args]
    for which, index, unit in _units(args):
        directions = [np.zeros(np.shape(arg), np.result_type(arg)) for arg in args]
        directions[which][index] = unit
        far, near, back, aft = (f(*_moved(letters, directions, h * 1e-4, form)) for h in (2, 1, -1, -2))
        fine, coarse = (8 * (near - back) - (far - aft)) / 12e-4, (far - aft) / 4e-4
        # Not near a jump, where the value at the point itself lies off the line, nor a kink.
        if not abs(fine - coarse) <= 1e-5 * (1 + abs(fine)) or not abs(near + back - 2 * value) <= 1e-3 * (1 + abs(value)):
            return None
        made[which][index] += fine if unit == 1.0 else -1j * fine
    return made
