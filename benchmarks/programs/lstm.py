"""Makes an LSTM that reads a sequence of 500 vectors (Hochreiter and Schmidhuber, 1997)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import Program, generator, jax_scan, normal, torch_run

# A term of the loss every few steps keeps the cotangents away from denormal numbers, slow everywhere.
_STEPS_A_TERM = 20


def make(quick: bool) -> Program:
    """Hidden 256, batch 64; an input, a state and the gates' weights, float32."""
    steps, rows, width = (100, 16, 64) if quick else (500, 64, 256)
    draw = generator()
    params = {
        "inputs": normal(draw, width, 4 * width, scale=width**-0.5),
        "state": normal(draw, width, 4 * width, scale=width**-0.5),
        "bias": np.zeros(4 * width, np.float32),
    }
    return Program(
        title=f"LSTM of {steps} steps, hidden {width}, batch {rows}, float32",
        depth=steps,
        loss=loss,
        params=params,
        batch=normal(draw, steps, rows, width),
        torch_loss=torch_loss,
        jax_loss=jax_loss,
        torch_pieces=(10,) if quick else (5, 10, 25, 50),
        jax_pieces=(10,) if quick else (5, 20, 50),
        compiled=False,
    )


def sigmoid(x: Any) -> Any:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def loss(params: dict[str, Any], inputs: Any) -> Any:
    width = params["state"].shape[0]
    hidden = cell = np.zeros(inputs.shape[1:], np.float32)
    total = 0.0
    for step, x in enumerate(inputs):
        gates = x @ params["inputs"] + hidden @ params["state"] + params["bias"]
        cell = sigmoid(gates[:, width : 2 * width]) * cell + sigmoid(gates[:, :width]) * np.tanh(gates[:, 3 * width :])
        hidden = sigmoid(gates[:, 2 * width : 3 * width]) * np.tanh(cell)
        if step % _STEPS_A_TERM == _STEPS_A_TERM - 1:
            total = total + np.mean(hidden * hidden)
    return total


def torch_loss(params: dict[str, Any], inputs: Any, pieces: int) -> Any:
    import torch

    def steps(carried: Any, which: range) -> Any:
        hidden, cell, total = carried
        for i in which:
            gates = inputs[i] @ params["inputs"] + hidden @ params["state"] + params["bias"]
            entry, kept, out, new = gates.chunk(4, dim=1)
            cell = torch.sigmoid(kept) * cell + torch.sigmoid(entry) * torch.tanh(new)
            hidden = torch.sigmoid(out) * torch.tanh(cell)
            if i % _STEPS_A_TERM == _STEPS_A_TERM - 1:
                total = total + torch.mean(hidden * hidden)
        return hidden, cell, total

    zeros = torch.zeros(inputs.shape[1:])
    return torch_run(steps, (zeros, zeros, torch.zeros(())), len(inputs), pieces)[2]


def jax_loss(params: dict[str, Any], inputs: Any, pieces: int) -> Any:
    import jax
    import jax.numpy as jnp

    def step(carried: Any, entry: Any) -> Any:
        (hidden, cell, total), (x, counts) = carried, entry
        gates = x @ params["inputs"] + hidden @ params["state"] + params["bias"]
        into, kept, out, new = jnp.split(gates, 4, axis=1)
        cell = jax.nn.sigmoid(kept) * cell + jax.nn.sigmoid(into) * jnp.tanh(new)
        hidden = jax.nn.sigmoid(out) * jnp.tanh(cell)
        return hidden, cell, total + counts * jnp.mean(hidden * hidden)

    count = len(inputs)
    counts = (jnp.arange(count) % _STEPS_A_TERM == _STEPS_A_TERM - 1).astype(inputs.dtype)
    zeros = jnp.zeros(inputs.shape[1:], inputs.dtype)
    start = (zeros, zeros, jnp.zeros((), inputs.dtype))
    return jax_scan(step, start, (inputs, counts), count, pieces)[2]
