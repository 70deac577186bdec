"""Makes the heat equation on a square with a coefficient at each place, differentiated by its start and by these.

Explicit Euler steps of the five-point stencil; the edge stays as it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import Program, generator, jax_scan, torch_run


def make(quick: bool, *, long: bool = False) -> Program:
    """512 x 512 float64, 2 MiB a state; 400 steps, or 2,000 when `long`."""
    steps, size = ((400, 64) if long else (100, 128)) if quick else (2000 if long else 400, 512)
    draw = generator()
    pieces = ((20,) if long else (10,)) if quick else ((20, 40, 80) if long else (10, 20, 40))
    return Program(
        title=f"heat equation, {size} x {size} float64, {steps:,} steps",
        depth=steps,
        loss=Heat(steps),
        params={"start": draw.standard_normal((size, size)), "rate": 0.1 + 0.1 * draw.random((size, size))},
        batch=draw.standard_normal((size, size)),
        torch_loss=Heat(steps).torch,
        jax_loss=Heat(steps).jax,
        torch_pieces=pieces,
        jax_pieces=pieces,
        # PyTorch holds 17-20 MiB a step of 512 x 512 unless it is cut into pieces.
        eager=quick or not long,
        compiled=False,
    )


class Heat:
    """The distance of the last state from a wanted one, after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, params: dict[str, Any], wanted: Any) -> Any:
        state, rate = params["start"], params["rate"][1:-1, 1:-1]
        for _ in range(self.steps):
            around = state[:-2, 1:-1] + state[2:, 1:-1] + state[1:-1, :-2] + state[1:-1, 2:]
            following = state.copy()
            following[1:-1, 1:-1] += rate * (around - 4.0 * state[1:-1, 1:-1])
            state = following
        return np.mean((state - wanted) ** 2)

    def torch(self, params: dict[str, Any], wanted: Any, pieces: int) -> Any:
        import torch

        rate = params["rate"][1:-1, 1:-1]

        def steps(state: Any, which: range) -> Any:
            for _ in which:
                around = state[:-2, 1:-1] + state[2:, 1:-1] + state[1:-1, :-2] + state[1:-1, 2:]
                following = state.clone()
                following[1:-1, 1:-1] += rate * (around - 4.0 * state[1:-1, 1:-1])
                state = following
            return state

        return torch.mean((torch_run(steps, params["start"], self.steps, pieces) - wanted) ** 2)

    def jax(self, params: dict[str, Any], wanted: Any, pieces: int) -> Any:
        import jax.numpy as jnp

        rate = params["rate"][1:-1, 1:-1]

        def step(state: Any, _: None) -> Any:
            around = state[:-2, 1:-1] + state[2:, 1:-1] + state[1:-1, :-2] + state[1:-1, 2:]
            return state.at[1:-1, 1:-1].add(rate * (around - 4.0 * state[1:-1, 1:-1]))

        return jnp.mean((jax_scan(step, params["start"], None, self.steps, pieces) - wanted) ** 2)
