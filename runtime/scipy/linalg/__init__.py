"""scipy.linalg with derivatives: functions of SciPy's signatures, for plain and traced arrays alike."""

from __future__ import annotations

from typing import Any

import scipy.linalg as _original

from ..replace import PATCHES
from . import factors, functions, solving, structured

ROOMS = (factors, functions, solving, structured)


def __getattr__(name: str) -> Any:
    """Return the function that takes the place of SciPy's of that name, or SciPy's own."""
    found = PATCHES["scipy.linalg"].get(name)
    return getattr(_original, name) if found is None else found
