"""SciPy with derivatives: rules for its ufuncs, and functions for traced arrays that take the place of its own.

Nothing in retape imports this package; it is loaded for a program that has loaded SciPy.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import special
from .replace import PATCHES as _PATCHES

__all__ = ["special"]

_ROOMS = ("special", "linalg", "signal", "stats", "integrate", "sparse")


def __getattr__(name: str) -> Any:
    """Load a room when it is asked for; `PATCHES` needs them all."""
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "PATCHES":
        for room in _ROOMS:
            importlib.import_module(f"{__name__}.{room}")
        return _PATCHES
    raise AttributeError(f"{__name__} has no {name!r}; it has: {', '.join((*_ROOMS, 'PATCHES'))}")
