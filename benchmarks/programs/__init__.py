"""The programs that are measured, each written three times from the same numbers: NumPy, PyTorch and JAX."""

from __future__ import annotations

from importlib import import_module

from .program import Program

NAMES = ("layers", "transformer", "lstm", "unet", "heat", "long_heat")


def make(name: str, *, quick: bool) -> Program:
    """Return a program by name, the same numbers every time; `quick` is a smaller one.

    `layers` is 64 layers of ``tanh(x @ w)``; `heat` a stencil of 400 steps and `long_heat` the same of 2,000.
    """
    if name == "long_heat":
        return import_module(".heat", __name__).make(quick, long=True)
    return import_module(f".{name}", __name__).make(quick)
