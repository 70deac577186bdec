"""Makes a decoder-only transformer of bytes, the one that `make train` trains, without a causal shortcut."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from retape.cluster.models import transformer

from .program import Program, generator, jax_scan, jax_stack, torch_run

_EPSILON = 1e-5


def make(quick: bool) -> Program:
    """Six blocks of width 256, sequences of 256, batch 8, float32."""
    layers, width, heads, context, rows = (2, 64, 4, 64, 8) if quick else (6, 256, 4, 256, 8)
    config = transformer.Config(layers, width, heads, context)
    draw = generator()
    return Program(
        title=f"transformer of {layers} blocks, width {width}, batch {rows} x {context} bytes, float32",
        depth=layers,
        loss=partial(transformer.loss, config=config),
        params=transformer.init(0, config=config),
        batch=draw.integers(0, transformer.VOCABULARY, (rows, context + 1)).astype(np.uint8),
        torch_loss=partial(torch_loss, config=config),
        jax_loss=partial(jax_loss, config=config),
        torch_pieces=(layers // 2, layers),
        jax_pieces=(layers // 2, layers),
    )


def torch_loss(params: dict[str, Any], batch: Any, pieces: int, *, config: transformer.Config) -> Any:
    import torch.nn.functional as functional

    tokens, targets = batch[:, :-1].long(), batch[:, 1:].reshape(-1).long()

    def norm(x: Any, gain: Any, bias: Any) -> Any:
        return functional.layer_norm(x, (config.width,), gain, bias, _EPSILON)

    def attention(x: Any, block: dict[str, Any]) -> Any:
        rows, length, width = x.shape
        queries, keys, values = (
            (x @ block[name]).view(rows, length, config.heads, -1).transpose(1, 2) for name in ("queries", "keys", "values")
        )
        mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return mixed.transpose(1, 2).reshape(rows, length, width) @ block["attention_out"]

    def blocks(x: Any, which: range) -> Any:
        for i in which:
            block = params["blocks"][i]
            x = x + attention(norm(x, block["attention_gain"], block["attention_bias"]), block)
            hidden = norm(x, block["mlp_gain"], block["mlp_bias"]) @ block["mlp_in"] + block["mlp_in_bias"]
            x = x + (functional.gelu(hidden, approximate="tanh") @ block["mlp_out"] + block["mlp_out_bias"])
        return x

    x = functional.embedding(tokens, params["bytes"]) + params["positions"][: tokens.shape[1]]
    x = torch_run(blocks, x, config.layers, pieces)
    scores = norm(x, params["final_gain"], params["final_bias"]) @ params["bytes"].T
    return functional.cross_entropy(scores.reshape(targets.shape[0], -1), targets)


def jax_loss(params: dict[str, Any], batch: Any, pieces: int, *, config: transformer.Config) -> Any:
    import jax
    import jax.numpy as jnp

    tokens, targets = batch[:, :-1], batch[:, 1:].reshape(-1)

    def norm(x: Any, gain: Any, bias: Any) -> Any:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred**2).mean(axis=-1, keepdims=True) + _EPSILON) * gain + bias

    def attention(x: Any, block: dict[str, Any]) -> Any:
        queries, keys, values = (
            (x @ block[name]).reshape(*x.shape[:2], config.heads, -1) for name in ("queries", "keys", "values")
        )
        mixed = jax.nn.dot_product_attention(queries, keys, values, is_causal=True)
        return mixed.reshape(x.shape) @ block["attention_out"]

    def step(x: Any, block: dict[str, Any]) -> Any:
        x = x + attention(norm(x, block["attention_gain"], block["attention_bias"]), block)
        hidden = norm(x, block["mlp_gain"], block["mlp_bias"]) @ block["mlp_in"] + block["mlp_in_bias"]
        return x + (jax.nn.gelu(hidden, approximate=True) @ block["mlp_out"] + block["mlp_out_bias"])

    x = params["bytes"][tokens] + params["positions"][: tokens.shape[1]]
    x = jax_scan(step, x, jax_stack(params["blocks"]), config.layers, pieces)
    scores = norm(x, params["final_gain"], params["final_bias"]) @ params["bytes"].T
    picked = jnp.take_along_axis(jax.nn.log_softmax(scores.reshape(targets.size, -1)), targets[:, None], axis=1)
    return -picked.mean()
