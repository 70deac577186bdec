"""Makes the three programs that are measured, in plain NumPy: an MLP, a transformer, a recurrence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from retape.cluster.models import transformer

NAMES = ("mlp", "transformer", "recurrence")
STEPS_A_TERM = 20


@dataclass(frozen=True)
class Workload:
    """A scalar loss of ``(params, batch)``; `depth` counts layers, blocks or steps."""

    name: str
    title: str
    loss: Callable[[Any, Any], Any]
    params: Any
    batch: np.ndarray
    depth: int
    config: transformer.Config | None = None


def make(name: str, *, quick: bool) -> Workload:
    """Return a workload by name, the same numbers every time; `quick` is a smaller one."""
    draw = np.random.Generator(np.random.Philox(7))
    makers = {"mlp": _mlp, "transformer": _transformer, "recurrence": _recurrence}
    return makers[name](draw, quick)


def mlp_loss(weights: list[Any], x: Any) -> Any:
    for weight in weights:
        x = np.tanh(x @ weight)
    return np.mean(x * x)


def recurrence_loss(weight: Any, inputs: Any) -> Any:
    """A term of the loss every few steps keeps the cotangents away from denormal numbers, slow everywhere."""
    state = np.zeros(inputs.shape[1:], np.float32)
    total = 0.0
    for step, x in enumerate(inputs):
        state = np.tanh(state @ weight + x)
        if step % STEPS_A_TERM == STEPS_A_TERM - 1:
            total = total + np.mean(state * state)
    return total


def _mlp(draw: np.random.Generator, quick: bool) -> Workload:
    depth, rows, width = (32, 1024, 128) if quick else (32, 2048, 256)
    weights = [_normal(draw, width, width, scale=1.3 * width**-0.5) for _ in range(depth)]
    title = f"MLP of {depth} layers, batch {rows} x {width}, float32"
    return Workload("mlp", title, mlp_loss, weights, _normal(draw, rows, width), depth)


def _recurrence(draw: np.random.Generator, quick: bool) -> Workload:
    depth, rows, width = (200, 64, 128) if quick else (1000, 64, 128)
    weight = _normal(draw, width, width, scale=width**-0.5)
    title = f"recurrence of {depth:,} steps, state {rows} x {width}, float32"
    return Workload("recurrence", title, recurrence_loss, weight, _normal(draw, depth, rows, width), depth)


def _transformer(draw: np.random.Generator, quick: bool) -> Workload:
    layers, width, heads, context, rows = (2, 64, 4, 64, 8) if quick else (4, 256, 4, 128, 8)
    config = transformer.Config(layers, width, heads, context)
    batch = draw.integers(0, transformer.VOCABULARY, (rows, context + 1)).astype(np.uint8)
    title = f"transformer of {layers} blocks, width {width}, batch {rows} x {context} bytes, float32"
    loss = partial(transformer.loss, config=config)
    return Workload("transformer", title, loss, transformer.init(0, config=config), batch, layers, config)


def _normal(draw: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return draw.standard_normal(shape, np.float32) * np.float32(scale)
