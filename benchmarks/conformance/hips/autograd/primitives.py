"""Functions with rules of their own, as the suite writes them, over retape's op table."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from retape.runtime import op, phantom
from retape.runtime.array import Array, apply

_numbers = itertools.count()


class Primitive:
    """A function that is recorded as one call; rules come by `defvjp` and `defjvp`."""

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", "primitive")
        self.__doc__ = function.__doc__
        self.makers: dict[int, Callable] | None = None
        self.forward: dict[int, Callable | str] = {}

        def run(*arrays: Any, form: Any) -> Any:
            args, keywords = form(arrays)
            return np.asarray(function(*args, **keywords))

        def rule(g: Any, y: Any, inputs: Any, position: int, form: Any) -> Any:
            if self.makers is None:
                raise NotImplementedError(f"VJP of {self.__name__} not defined")
            args, keywords = form(inputs)
            maker = self.makers[form.positions[position]]
            return np.zeros(np.shape(inputs[position])) if maker is None else maker(y, *args, **keywords)(g)

        def infer(*phantoms: Any, form: Any) -> Any:
            # The suite's primitives are elementwise, and some count their runs: none to find out a shape.
            return phantom.contiguous(
                np.broadcast_shapes(*(p.shape for p in phantoms)), np.result_type(*(p.dtype for p in phantoms))
            )

        self.op = op.define(
            f"suite{next(_numbers)}_{self.__name__}", run, inputs="inputs*", rules=rule, infer=infer, parameters=("form",)
        )

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if not any(type(arg) is Array for arg in args):
            return self.function(*args, **keywords)
        form = _Form(args, keywords)
        return apply(self.op, tuple(args[k] for k in form.positions), {"form": form})

    def defvjp(self, function: Callable, argnum: int = 0) -> None:
        """Take a rule in the form of long ago: ``(g, ans, vs, gvs, *args)``."""
        warnings.warn("defvjp method is deprecated", stacklevel=2)
        self._put(argnum, lambda y, *args, **keywords: lambda g: function(g, y, None, None, *args, **keywords))

    def defgrad(self, maker: Callable, argnum: int = 0) -> None:
        """Take a rule in the form of longer ago: ``(ans, *args) -> (g ->)``."""
        warnings.warn("defgrad method is deprecated", stacklevel=2)
        self._put(argnum, maker)

    def defvjp_is_zero(self, argnums: Any = (0,)) -> None:
        """Say that the output does not depend on some arguments."""
        warnings.warn("defvjp_is_zero method is deprecated", stacklevel=2)
        for argnum in argnums:
            self._put(argnum, None)

    def _put(self, argnum: int, maker: Any) -> None:
        self.makers = self.makers or {}
        self.makers[argnum] = maker


class _Form:
    """Which arguments of a call are arrays, and what the others are."""

    def __init__(self, args: tuple, keywords: dict) -> None:
        self.args, self.keywords = args, keywords
        self.positions = [k for k, arg in enumerate(args) if isinstance(arg, (Array, np.ndarray, np.generic, float, complex))]
        self.args = tuple(None if k in self.positions else arg for k, arg in enumerate(args))

    def __call__(self, arrays: Any) -> tuple[list, dict]:
        args = list(self.args)
        for position, array in zip(self.positions, arrays, strict=True):
            args[position] = array
        return args, self.keywords


def defvjp(function: Primitive, *makers: Any, argnums: Any = None) -> None:
    """Give a primitive its reverse rules, one per argument."""
    for argnum, maker in zip(argnums or itertools.count(), makers, strict=False):
        function._put(argnum, maker)


def defvjp_argnum(function: Primitive, maker: Callable) -> None:
    """Give a primitive one reverse rule for all arguments."""
    raise NotImplementedError("the suite defines no rule by argument number")


def defjvp(function: Primitive, *rules: Any) -> None:
    """Give a primitive forward rules; retape transposes the reverse ones, so nothing is kept."""
