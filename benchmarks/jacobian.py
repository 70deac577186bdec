"""Makes the table of derivatives of many numbers at once: Jacobians, Hessians and per-example gradients, batched and looped.

The programs are written once, in the functions that NumPy, PyTorch and JAX have alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import cells
import measure
import numpy as np
import tables

_RESIDUALS, _QUICK_RESIDUALS = (3, 10, 100, 300), (3, 10, 100)
_STEPS = 10
_WEIGHTS, _SAMPLES = (50, 200), 500
_EXAMPLES, _LAYERS = 64, (20, 32, 32, 5)


def state(xp: Any, u: Any) -> Any:
    """The state of a reaction and diffusion on a ring after some explicit steps."""
    for _ in range(_STEPS):
        u = u + 0.01 * (xp.roll(u, 1) - 2.0 * u + xp.roll(u, -1) - u * u * u + xp.sin(u))
    return u


def logistic(xp: Any, w: Any, features: Any, signs: Any) -> Any:
    """The loss of a logistic regression."""
    return xp.mean(xp.log1p(xp.exp(-signs * (features @ w)))) + 0.01 * xp.sum(w * w)


def misfit(xp: Any, layers: Any, x: Any, y: Any) -> Any:
    """The loss of a small network on one example."""
    for weight, bias in layers[:-1]:
        x = xp.tanh(x @ weight + bias)
    weight, bias = layers[-1]
    return xp.sum((x @ weight + bias - y) ** 2)


def table(*, quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    figures = cells.ask("jacobian", {"quick": quick})
    libraries = sorted({name for found in figures["milliseconds"].values() for name in found}, key=_ORDER.index)
    rows = []
    for name, found in figures["milliseconds"].items():
        rows.append([name, *("-" if found.get(k) is None else f"{found[k]:.2f}" for k in libraries)])
    tables.table(
        "Jacobians, Hessians, per-example gradients: milliseconds",
        ["", *libraries],
        rows,
        notes=[
            "CPU time, least of the rounds. Loop: retape with batch_size=1, or one gradient after the other.",
            f"Jacobian: of the state after {_STEPS} steps of an equation on a ring of n points, by the first one.",
            f"Hessian: of a logistic regression on {_SAMPLES} samples. Gradients: layers {_LAYERS} on {_EXAMPLES} examples.",
            "PyTorch: jacrev, hessian and vmap(grad) of torch.func. JAX: the same of its own; compiling took "
            f"{figures['compiling_seconds']:.1f} s in all.",
        ],
    )
    return figures


_ORDER = ["retape", "retape, loop", "PyTorch", "JAX eager", "JAX jit"]


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Time all libraries in this process, in milliseconds a call."""
    milliseconds: dict[str, dict[str, float]] = {}
    compiling = 0.0
    for name, make in _programs(_QUICK_RESIDUALS if spec["quick"] else _RESIDUALS).items():
        calls = make(_retape)
        for peer, library in (("torch", _torch), ("jax", _jax)):
            if cells.installed(peer):
                calls |= make(library)
        if "JAX jit" in calls:
            start = time.process_time()
            calls["JAX jit"]()
            compiling += time.process_time() - start
        eager = calls.pop("JAX eager", None)
        found = measure.interleaved(calls, rounds=3 if spec["quick"] else 7)
        if eager is not None:
            found["JAX eager"] = measure.least_cpu_seconds(eager)
        milliseconds[name] = {library: 1e3 * seconds for library, seconds in found.items()}
    return {"milliseconds": milliseconds, "compiling_seconds": compiling}


def _programs(residuals: tuple[int, ...]) -> dict[str, Callable]:
    """Return by name what takes a library and returns its calls by name."""
    draw = np.random.default_rng(0)
    programs: dict[str, Callable] = {}
    for n in residuals:
        u = np.sin(np.linspace(0.0, 6.0, n))
        programs[f"Jacobian, n = {n}"] = lambda library, u=u: library("jacobian", state, u)
    signs = draw.choice([-1.0, 1.0], _SAMPLES)
    for n in _WEIGHTS:
        features, w = draw.normal(size=(_SAMPLES, n)), 0.1 * draw.normal(size=n)
        programs[f"Hessian, n = {n}"] = lambda library, w=w, features=features: library(
            "hessian", logistic, w, features, signs
        )
    layers = [(0.3 * draw.normal(size=pair), np.zeros(pair[1])) for pair in zip(_LAYERS[:-1], _LAYERS[1:], strict=True)]
    x, y = draw.normal(size=(_EXAMPLES, _LAYERS[0])), draw.normal(size=(_EXAMPLES, _LAYERS[-1]))
    programs["per-example gradients"] = lambda library: library("per_example", misfit, layers, x, y)
    return programs


Calls = dict[str, Callable[[], Any]]


def _retape(kind: str, f: Callable, *args: Any) -> Calls:
    import retape as rt

    def of(*args: Any) -> Any:
        return f(np, *args)

    if kind == "per_example":
        gradient = rt.grad(of)
        mapped = rt.vmap(gradient, in_axes=(None, 0, 0))
        layers, x, y = args
        return {
            "retape": lambda: mapped(layers, x, y),
            "retape, loop": lambda: [gradient(layers, x[k], y[k]) for k in range(len(x))],
        }
    transform = getattr(rt, kind)
    batched, looped = transform(of), transform(of, batch_size=1)
    return {"retape": lambda: batched(*args), "retape, loop": lambda: looped(*args)}


def _torch(kind: str, f: Callable, *args: Any) -> Calls:
    import torch

    torch.set_num_threads(1)

    def of(*args: Any) -> Any:
        return f(torch, *args)

    def converted(tree: Any) -> Any:
        return torch.from_numpy(tree) if isinstance(tree, np.ndarray) else [tuple(map(torch.from_numpy, p)) for p in tree]

    tensors = [converted(a) for a in args]
    transforms = {
        "jacobian": torch.func.jacrev,
        "hessian": torch.func.hessian,
        "per_example": lambda of: torch.func.vmap(torch.func.grad(of), in_dims=(None, 0, 0)),
    }
    transformed = transforms[kind](of)
    return {"PyTorch": lambda: transformed(*tensors)}


def _jax(kind: str, f: Callable, *args: Any) -> Calls:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)

    def of(*args: Any) -> Any:
        return f(jnp, *args)

    arrays = jax.tree.map(jnp.asarray, args)
    transforms = {
        "jacobian": jax.jacrev,
        "hessian": jax.hessian,
        "per_example": lambda of: jax.vmap(jax.grad(of), in_axes=(None, 0, 0)),
    }
    eager = transforms[kind](of)
    compiled = jax.jit(eager)
    return {
        "JAX eager": lambda: jax.block_until_ready(eager(*arrays)),
        "JAX jit": lambda: jax.block_until_ready(compiled(*arrays)),
    }


if __name__ == "__main__":
    cells.answer(cell)
