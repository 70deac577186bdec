"""Views of one array turned round: flips and quarter turns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from ..op import implements
from .views import swapaxes


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """Return a reversed view."""
    places = range(m.ndim) if axis is None else normalize_axis_tuple(axis, m.ndim)
    return m[tuple(slice(None, None, -1) if k in places else slice(None) for k in range(m.ndim))]


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    """Reverse the second axis."""
    if m.ndim < 2:
        raise ValueError("Input must be >= 2-d.")
    return m[:, ::-1]


@implements(np.flipud)
def flipud(m: Any) -> Any:
    """Reverse the first axis."""
    if m.ndim < 1:
        raise ValueError("Input must be >= 1-d.")
    return m[::-1]


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Return a view rotated by quarter turns from the first of `axes` towards the second."""
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    try:
        first, second = normalize_axis_tuple(tuple(axes), m.ndim)
    except np.exceptions.AxisError:
        raise ValueError(f"Axes={tuple(axes)} out of range for array of ndim={m.ndim}.") from None
    except ValueError:
        raise ValueError("Axes must be different.") from None
    k %= 4
    if k == 0:
        return m[...]
    if k == 2:
        return flip(m, (first, second))
    return swapaxes(flip(m, second), first, second) if k == 1 else flip(swapaxes(m, first, second), second)
