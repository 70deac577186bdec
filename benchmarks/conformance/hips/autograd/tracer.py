"""What tells a traced array from a plain one."""

from typing import Any

from retape.runtime.array import Array

from .core import primitive

__all__ = ["isbox", "primitive"]


def isbox(x: Any) -> bool:
    """Whether a value is traced."""
    return type(x) is Array
