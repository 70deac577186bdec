"""Containers: retape passes Python's own through, so these are Python's own; a traced array counts as an ndarray."""

import builtins
from typing import Any

import numpy as np

from retape.runtime.array import Array

dict, list, tuple, type = builtins.dict, builtins.list, builtins.tuple, builtins.type

__all__ = ["dict", "isinstance", "list", "tuple", "type"]


def isinstance(value: Any, kinds: Any) -> bool:
    """Whether a value, traced or plain, is of one of these kinds."""
    return builtins.isinstance(np.empty(0) if type(value) is Array else value, kinds)
