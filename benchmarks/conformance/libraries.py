"""How each library is called: its namespaces, and its gradient and tangent of a real function of several arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NAMES = {
    "retape": "retape, plain NumPy",
    "retape_patched": "retape, plain NumPy patched",
    "hips_plain": "HIPS autograd, plain NumPy",
    "hips": "HIPS autograd, autograd.numpy",
    "jax": "JAX, jax.numpy",
}
NEEDS = {"hips_plain": "autograd", "hips": "autograd", "jax": "jax"}


class Library:
    """One library: `gradient(f, count)` gives a function, `forward(f, args, directions)` a tangent.

    `program_numpy` is what a probe calls np, `loss_numpy` what its outputs are summed with. `is_own` asks for the modes
    that only retape is judged in.
    """

    def __init__(self, name: str) -> None:
        self.program_numpy: Any = np
        self.loss_numpy: Any = np
        self.is_own = name.startswith("retape")
        self.leaf: Callable = lambda value: value
        if self.is_own:
            import retape as rt

            if name == "retape_patched":
                rt.patch()
            self.gradient: Callable = lambda f, count: rt.grad(f, tuple(range(count)))
            self.value_and_gradient: Callable = lambda f, count: rt.value_and_grad(f, tuple(range(count)))
            self.budgeted: Callable = lambda f, count: rt.grad(f, tuple(range(count)), memory_budget="64MiB")
            self.forward: Callable = lambda f, args, directions: rt.jvp(f, tuple(args), tuple(directions))[1]
        elif name.startswith("hips"):
            import autograd
            import autograd.numpy as anp

            self.loss_numpy = anp
            self.program_numpy = np if name == "hips_plain" else anp
            self.gradient = lambda f, count: autograd.grad(f, tuple(range(count)))
            self.forward = lambda f, args, directions: autograd.make_jvp(lambda a: f(*a))(tuple(args))(tuple(directions))[1]
        else:
            import jax

            jax.config.update("jax_enable_x64", True)
            self.program_numpy = self.loss_numpy = jax.numpy
            self.gradient = lambda f, count: jax.grad(f, tuple(range(count)))
            self.forward = lambda f, args, directions: jax.jvp(f, tuple(args), tuple(directions))[1]
            self.leaf = lambda value: jax.numpy.asarray(value) if isinstance(value, np.ndarray) else value
