"""Small NumPy programs, one for each differentiable function or form, and the arrays that they are tried on.

A probe is a program's text and the letters of its arguments, which it calls x, y, z. A text without ``return`` is an
expression. They were written from NumPy's manual, without a look at the tests or at the rules.
"""

from __future__ import annotations

import importlib
from types import CodeType
from typing import Any

import numpy as np

_draw = np.random.default_rng(7)


def _spread(*shape: int) -> np.ndarray:
    """Numbers of both signs, none near zero, none near an integer or another."""
    count = int(np.prod(shape))
    values = np.arange(1, count + 1) * 0.37 + 0.11 + 0.01 * _draw.random(count)
    signs = np.where(np.arange(count) % 3 == 1, -1.0, 1.0)
    return (_draw.permutation(values % 2.9 + 0.13) * signs).reshape(shape)


def _complex(*shape: int) -> np.ndarray:
    return _spread(*shape) + 1j * _spread(*shape)


_square = _draw.standard_normal((3, 3))
ARGUMENTS: dict[str, np.ndarray | float | complex] = {
    "s": 0.83,
    "S": -1.37,
    "D": np.array(0.83),
    "v": _spread(5),
    "w": _spread(5),
    "p": np.abs(_spread(5)) + 0.2,
    "q": np.abs(_spread(5)) + 0.3,
    "u": np.linspace(-0.83, 0.79, 5),
    "g": np.abs(_spread(5)) + 1.2,
    "b": _spread(3),
    "a": _spread(4),
    "o": _spread(8),
    "i": np.array([0.31, 1.72, 2.55, 3.91, 4.4]),
    "m": _spread(3, 4),
    "n": _spread(3, 4),
    "P": np.abs(_spread(3, 4)) + 0.2,
    "f": _spread(4, 3),
    "k": _square + 2.5 * np.eye(3),
    "j": _draw.standard_normal((3, 3)) - 2.0 * np.eye(3),
    "h": _square @ _square.T + np.eye(3),
    "B": _draw.standard_normal((2, 3, 3)) + 2.0 * np.eye(3),
    "t": _spread(2, 3, 4),
    "T": _spread(2, 4, 3),
    "r": _spread(1, 4),
    "l": _spread(3, 1),
    "X": _spread(3, 2),
    "c": _complex(5),
    "C": _complex(5),
    "d": _complex(3, 3) + 2.0 * np.eye(3),
    "e": _complex(3, 4),
    "E": _complex(8),
    "y": 0.7 - 1.2j,
    "N": np.array([0.4, np.nan, -1.3, 2.2, np.nan]),
    "M": np.where(_draw.random((3, 4)) < 0.3, np.nan, _spread(3, 4)),
    "0": np.array([1.3, 0.0, -0.7, 0.6]),
    "Z": np.zeros(3),
    "R": np.array([0.9, -0.4, -0.4, 1.7, 0.9]),
}

NAMES = {
    "mask": np.array([True, False, True, True, False]),
    "mask34": np.arange(12).reshape(3, 4) % 3 != 1,
    "index": np.array([3, 0, 3]),
    "index2": np.array([[0, 2], [2, 2]]),
    "condition": np.array([True, False, True, False, False]),
    "whole": np.arange(5),
    "weights": np.linspace(0.3, 1.7, 5),
    "weights3": np.array([0.2, 1.1, 0.7]),
    "five": np.linspace(-1.0, 1.3, 5),
    "grid": np.array([0.0, 0.4, 1.1, 1.9, 2.6]),
}

_ROOMS = ("elementwise", "reductions", "shapes", "linear_algebra", "numerical", "writes", "surroundings")


def probes() -> list[tuple[str, str, str]]:
    """Return ``(room, text, arguments)`` of all probes."""
    found = [
        (room, text, letters) for room in _ROOMS for text, letters in importlib.import_module(f"{__name__}.{room}").PROBES
    ]
    texts = [(text, letters) for _, text, letters in found]
    assert len(set(texts)) == len(texts), sorted({text for text in texts if texts.count(text) > 1})
    return found


def source(text: str) -> CodeType:
    """Return the code of a module that defines the program as ``program(x, y, z)``, as many as it is called with."""
    lines = text.replace("; ", "\n").splitlines() if "return" in text and "\n" not in text else text.splitlines()
    if "return" not in text:
        lines = [f"return {lines[0]}", *lines[1:]]
    body = "\n".join("    " + line for line in lines)
    return compile(f"def program(x, y=None, z=None):\n{body}\n", "<probe>", "exec")


def arguments(letters: str, form: str = "plain") -> list:
    """Return fresh copies of the arrays that the letters name: as they are, in single precision, or otherwise in memory.

    "strided" is every other element of a vector and Fortran order; "permuted" has the first axis innermost, "gapped" has
    gaps between its columns, "reversed" a negative stride.
    """
    return [_formed(ARGUMENTS[name], form) for name in letters]


def _formed(value: Any, form: str) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if form == "single":
        return value.astype(np.complex64 if value.dtype.kind == "c" else np.float32)
    if form == "strided" and value.ndim == 1:
        buffer = np.repeat(value, 2)
        buffer[1::2] = 1e3
        return buffer[::2]
    if form == "permuted" and value.ndim > 1:
        return np.moveaxis(np.moveaxis(value, 0, -1).copy(), -1, 0)
    if form == "gapped" and value.ndim:
        return np.repeat(value, 2, axis=-1)[..., ::2]
    if form == "reversed" and value.ndim:
        return value[::-1].copy()[::-1]
    return np.copy(value, order="F" if form == "strided" else "C")
