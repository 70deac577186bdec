"""Makes the same programs for PyTorch from the same numbers: eager, with or without its checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint
from workloads import STEPS_A_TERM, Workload

_EPSILON = 1e-5


def step(work: Workload, *, segments: int = 0) -> Callable[[], tuple[float, list[torch.Tensor]]]:
    """Return a function that computes loss and gradients; `segments` above 0 checkpoints that many pieces."""
    losses = {"mlp": _mlp, "transformer": _transformer, "recurrence": _recurrence}
    params = _to_torch(work.params)
    leaves = _leaves(params)
    batch = torch.from_numpy(work.batch if work.batch.dtype == np.float32 else work.batch.astype(np.int64))

    def run() -> tuple[float, list[torch.Tensor]]:
        loss = losses[work.name](params, batch, segments, work)
        return loss.item(), list(torch.autograd.grad(loss, leaves))

    return run


def _to_torch(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _to_torch(child) for name, child in tree.items()}
    if isinstance(tree, list):
        return [_to_torch(child) for child in tree]
    return torch.from_numpy(tree.copy()).requires_grad_()


def _leaves(tree: Any) -> list[torch.Tensor]:
    if isinstance(tree, torch.Tensor):
        return [tree]
    return [leaf for child in (tree.values() if isinstance(tree, dict) else tree) for leaf in _leaves(child)]


def _in_segments(run: Callable[[Any, range], Any], state: Any, count: int, segments: int) -> Any:
    """Run steps 0..count in order, as checkpointed pieces of equal length when asked to."""
    if not segments:
        return run(state, range(count))
    edges = [round(count * i / segments) for i in range(segments + 1)]
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        state = checkpoint(run, state, range(first, last), use_reentrant=False)
    return state


def _mlp(weights: list[torch.Tensor], x: torch.Tensor, segments: int, work: Workload) -> torch.Tensor:
    def layers(x: torch.Tensor, which: range) -> torch.Tensor:
        for i in which:
            x = torch.tanh(x @ weights[i])
        return x

    x = _in_segments(layers, x, work.depth, segments)
    return torch.mean(x * x)


def _recurrence(weight: torch.Tensor, inputs: torch.Tensor, segments: int, work: Workload) -> torch.Tensor:
    def steps(carried: tuple[torch.Tensor, Any], which: range) -> tuple[torch.Tensor, Any]:
        state, total = carried
        for i in which:
            state = torch.tanh(state @ weight + inputs[i])
            if i % STEPS_A_TERM == STEPS_A_TERM - 1:
                total = total + torch.mean(state * state)
        return state, total

    return _in_segments(steps, (torch.zeros(inputs.shape[1:]), torch.zeros(())), work.depth, segments)[1]


def _transformer(params: dict[str, Any], batch: torch.Tensor, segments: int, work: Workload) -> torch.Tensor:
    tokens, targets = batch[:, :-1], batch[:, 1:].reshape(-1)
    config = work.config
    assert config is not None

    def norm(x: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, (config.width,), gain, bias, _EPSILON)

    def blocks(x: torch.Tensor, which: range) -> torch.Tensor:
        for i in which:
            block = params["blocks"][i]
            x = x + _attention(norm(x, block["attention_gain"], block["attention_bias"]), block, config.heads)
            hidden = norm(x, block["mlp_gain"], block["mlp_bias"]) @ block["mlp_in"] + block["mlp_in_bias"]
            x = x + (F.gelu(hidden, approximate="tanh") @ block["mlp_out"] + block["mlp_out_bias"])
        return x

    x = F.embedding(tokens, params["bytes"]) + params["positions"][: tokens.shape[1]]
    x = _in_segments(blocks, x, work.depth, segments)
    scores = norm(x, params["final_gain"], params["final_bias"]) @ params["bytes"].T
    return F.cross_entropy(scores.reshape(targets.shape[0], -1), targets)


def _attention(x: torch.Tensor, block: dict[str, Any], heads: int) -> torch.Tensor:
    rows, length, width = x.shape
    queries, keys, values = (
        (x @ block[name]).view(rows, length, heads, -1).transpose(1, 2) for name in ("queries", "keys", "values")
    )
    mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    return mixed.transpose(1, 2).reshape(rows, length, width) @ block["attention_out"]
