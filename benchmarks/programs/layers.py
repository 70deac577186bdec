"""Makes the yardstick: 64 layers of ``tanh(x @ w)``."""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import Program, generator, jax_scan, normal, torch_run


def make(quick: bool) -> Program:
    """8,192 rows of 256, float32: 8 MiB an activation, 537 MiB when everything is kept."""
    depth, rows, width = (32, 1024, 128) if quick else (64, 8192, 256)
    draw = generator()
    return Program(
        title=f"{depth} layers of tanh(x @ w), x {rows:,} x {width} float32",
        depth=depth,
        loss=loss,
        params=normal(draw, depth, width, width, scale=1.3 * width**-0.5),
        batch=normal(draw, rows, width),
        torch_loss=torch_loss,
        jax_loss=jax_loss,
        torch_pieces=(4,) if quick else (2, 4, 8, 16, 32),
        jax_pieces=(8,) if quick else (4, 8, 16),
    )


def loss(weights: Any, x: Any) -> Any:
    for weight in weights:
        x = np.tanh(x @ weight)
    return np.mean(x * x)


def torch_loss(weights: Any, x: Any, pieces: int) -> Any:
    import torch

    def layers(x: Any, which: range) -> Any:
        for i in which:
            x = torch.tanh(x @ weights[i])
        return x

    x = torch_run(layers, x, len(weights), pieces)
    return torch.mean(x * x)


def jax_loss(weights: Any, x: Any, pieces: int) -> Any:
    import jax.numpy as jnp

    x = jax_scan(lambda x, weight: jnp.tanh(x @ weight), x, weights, len(weights), pieces)
    return jnp.mean(x * x)
