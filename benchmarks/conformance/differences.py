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
    elif isinstance(output, (float, complex)) or getattr(getattr(output, "dtype", None), "kind", "") in ("f", "c"):
        yield output
    elif getattr(getattr(output, "dtype", None), "kind", "") == "O":
        yield from _leaves(list(output.ravel()))


def loss(text: str, program_numpy: Any, xp: Any) -> Callable:
    """Return a real function of the program's arguments: its outputs under weights without symmetry."""
    names = {"np": program_numpy, **probes.NAMES}
    exec(probes.source(text), names)

    def f(*args: Any) -> Any:
        total = 0.0
        for number, y in enumerate(_leaves(names["program"](*args))):
            shape = y.shape if hasattr(y, "shape") else ()
            weights = np.cos(np.arange(1.0, math.prod(shape) + 1.0) * 1.3 + number).reshape(shape)
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


def _moved(letters: str, directions: list, size: float) -> list:
    made = []
    for arg, direction in zip(probes.arguments(letters), directions, strict=True):
        value = arg + size * direction
        made.append(np.asarray(value) if isinstance(arg, np.ndarray) else type(arg)(value))
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
    """Return value, gradients and second derivative by differences of plain NumPy; None where they do not settle."""
    f = loss(text, np, np)
    value = f(*probes.arguments(letters))
    args = probes.arguments(letters)

    def slope(directions: list, h: float) -> float:
        near = f(*_moved(letters, directions, h)) - f(*_moved(letters, directions, -h))
        far = f(*_moved(letters, directions, 2 * h)) - f(*_moved(letters, directions, -2 * h))
        return (8 * near - far) / (12 * h)

    def bend(u: list, v: list, h: float) -> float:
        total = 0.0
        for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
            total += a * b * f(*_moved(letters, [a * p + b * q for p, q in zip(u, v, strict=True)], h))
        return total / (4 * h * h)

    gradients = [np.zeros(np.shape(arg), np.result_type(arg)) for arg in args]
    for which, index, unit in _units(args):
        directions = [np.zeros(np.shape(arg), np.result_type(arg)) for arg in args]
        directions[which][index] = unit
        fine, coarse = slope(directions, 1e-4), slope(directions, 2e-4)
        jump = f(*_moved(letters, directions, 1e-4)) + f(*_moved(letters, directions, -1e-4)) - 2 * value
        if not abs(fine - coarse) <= 1e-6 * (1 + abs(fine)) or not abs(jump) <= 1e-3 * (1 + abs(value)):
            return None
        gradients[which][index] += fine if unit == 1.0 else -1j * fine
    u, v = random_directions(letters, 1), random_directions(letters, 2)
    u, v = ([d / np.sqrt(sum(np.sum(np.abs(p) ** 2) for p in many)) for d in many] for many in (u, v))
    fine, coarse = bend(u, v, 1e-3), bend(u, v, 2e-3)
    second = (4 * fine - coarse) / 3
    settled = abs(fine - coarse) <= 1e-2 * (1 + abs(fine))
    return {"value": value, "gradients": gradients, "u": u, "v": v, "second": second if settled else None}
