"""Static parameters of calls: when two are the same."""

from __future__ import annotations

from typing import Any


def is_same(a: Any, b: Any) -> bool:
    """Tell whether two static parameters are the same in every respect that a call could tell: 1 is not 1.0, 0.0 not -0.0."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is dict:
        return a.keys() == b.keys() and all(is_same(a[key], b[key]) for key in a)
    if type(a) is tuple or type(a) is list:
        return len(a) == len(b) and all(map(is_same, a, b))
    if type(a) is slice:
        return is_same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if type(a) is float or type(a) is complex:
        return repr(a) == repr(b)
    try:
        return bool(a == b)
    except ValueError:  # arrays
        return False
