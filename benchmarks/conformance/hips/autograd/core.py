"""make_vjp, make_jvp and vspace over retape's vjp and jvp; primitives over its op table."""

from __future__ import annotations

from typing import Any

import retape as rt
from retape.runtime import trees

from .primitives import Primitive as primitive
from .primitives import defjvp, defvjp, defvjp_argnum
from .vspaces import VSpace, vspace

__all__ = [
    "VSpace", "defjvp", "defvjp", "defvjp_argnum", "make_jvp", "make_vjp", "primitive", "primitive_vjps", "vspace",
]  # fmt: skip

# The suite takes rules away from here and puts them back; retape has no rule for what it does not differentiate.
primitive_vjps: dict = {}


def make_vjp(fun: Any, x: Any) -> tuple[Any, Any]:
    """Return ``(vjp, output)`` of a function of one argument."""
    if not trees.flatten(x)[0]:
        return lambda g: x, fun(x)
    output, pullback = rt.vjp(fun, x)
    return lambda g: pullback(g)[0], output


def make_jvp(fun: Any, x: Any) -> Any:
    """Return a function from a tangent to ``(output, its tangent)``."""
    return lambda v: rt.jvp(fun, (x,), (v,))
