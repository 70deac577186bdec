"""How users add functions with rules of their own."""

from .core import defjvp, defvjp, defvjp_argnum, primitive, vspace

__all__ = ["defjvp", "defvjp", "defvjp_argnum", "primitive", "vspace"]
