"""Makes a U-Net on images: convolutions down and up with long skips (Ronneberger, Fischer and Brox, 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import Program, generator, normal

_COLOURS = 3


def make(quick: bool) -> Program:
    """Four images of 128 x 128, three colours, widths 32 to 256, two 3 x 3 convolutions a stage, float32."""
    rows, size, widths = (2, 32, (8, 16, 32)) if quick else (4, 128, (32, 64, 128, 256))
    draw = generator()

    def stage(entering: int, leaving: int) -> dict[str, Any]:
        return {"first": _kernel(draw, entering, leaving), "second": _kernel(draw, leaving, leaving)}

    entering = (_COLOURS, *widths[:-1])
    params = {
        "down": [stage(a, b) for a, b in zip(entering, widths, strict=True)],
        "up": [stage(a + b, a) for a, b in zip(widths[:-1], widths[1:], strict=True)],
        "out": _kernel(draw, widths[0], _COLOURS),
    }
    images = normal(draw, rows, size, size, _COLOURS)
    return Program(
        title=f"U-Net of {len(widths)} levels, {rows} images of {size} x {size}, float32",
        depth=2 * len(widths) - 1,
        loss=loss,
        params=params,
        batch=images,
        torch_loss=torch_loss,
        jax_loss=jax_loss,
        torch_pieces=(2 * len(widths) - 1,),
        jax_pieces=(2 * len(widths) - 1,),
    )


def _kernel(draw: np.random.Generator, entering: int, leaving: int) -> np.ndarray:
    return normal(draw, 3, 3, entering, leaving, scale=(2 / (9 * entering)) ** 0.5)


def _convolve(x: Any, kernel: Any) -> Any:
    """A 3 x 3 convolution as nine matrix products of shifted images, in place."""
    rows, columns = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = padded[:, :rows, :columns] @ kernel[0, 0]
    for i, j in list(np.ndindex(3, 3))[1:]:
        total += padded[:, i : i + rows, j : j + columns] @ kernel[i, j]
    return total


def _stage(x: Any, params: dict[str, Any]) -> Any:
    return np.maximum(_convolve(np.maximum(_convolve(x, params["first"]), 0), params["second"]), 0)


def _halved(x: Any) -> Any:
    images, rows, columns, width = x.shape
    return x.reshape(images, rows // 2, 2, columns // 2, 2, width).mean(axis=(2, 4))


def loss(params: dict[str, Any], images: Any) -> Any:
    """The distance of the network's answer from the images themselves."""
    skips, x = [], images
    for level, stage in enumerate(params["down"]):
        x = _stage(_halved(x) if level else x, stage)
        skips.append(x)
    x = skips.pop()
    for stage in reversed(params["up"]):
        x = _stage(np.concatenate([skips.pop(), x.repeat(2, axis=1).repeat(2, axis=2)], axis=3), stage)
    return np.mean((_convolve(x, params["out"]) - images) ** 2)


def torch_loss(params: dict[str, Any], images: Any, pieces: int) -> Any:
    """The same in PyTorch's own order of axes; with `pieces`, a checkpoint for each stage."""
    import torch
    import torch.nn.functional as functional
    from torch.utils.checkpoint import checkpoint

    def convolve(x: Any, kernel: Any) -> Any:
        return functional.conv2d(x, kernel.permute(3, 2, 0, 1), padding=1)

    def stage(x: Any, params: dict[str, Any]) -> Any:
        return torch.relu(convolve(torch.relu(convolve(x, params["first"])), params["second"]))

    def run(x: Any, params: dict[str, Any]) -> Any:
        return checkpoint(stage, x, params, use_reentrant=False) if pieces else stage(x, params)

    wanted = images.permute(0, 3, 1, 2)
    skips, x = [], wanted
    for level, kernels in enumerate(params["down"]):
        x = run(functional.avg_pool2d(x, 2) if level else x, kernels)
        skips.append(x)
    x = skips.pop()
    for kernels in reversed(params["up"]):
        x = run(torch.cat([skips.pop(), functional.interpolate(x, scale_factor=2)], dim=1), kernels)
    return torch.mean((convolve(x, params["out"]) - wanted) ** 2)


def jax_loss(params: dict[str, Any], images: Any, pieces: int) -> Any:
    import jax
    import jax.numpy as jnp

    def convolve(x: Any, kernel: Any) -> Any:
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def stage(x: Any, params: dict[str, Any]) -> Any:
        return jax.nn.relu(convolve(jax.nn.relu(convolve(x, params["first"])), params["second"]))

    run = jax.checkpoint(stage) if pieces else stage
    skips, x = [], images
    for level, kernels in enumerate(params["down"]):
        x = run(_halved(x) if level else x, kernels)
        skips.append(x)
    x = skips.pop()
    for kernels in reversed(params["up"]):
        x = run(jnp.concatenate([skips.pop(), x.repeat(2, axis=1).repeat(2, axis=2)], axis=3), kernels)
    return jnp.mean((convolve(x, params["out"]) - images) ** 2)
