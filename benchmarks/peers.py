"""Makes a step, loss and gradients, of a program in PyTorch or JAX, from the program's own numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from programs import Program

Step = Callable[[], tuple[float, list[np.ndarray]]]


def torch_step(program: Program, *, pieces: int = 0, kept: float | None = None) -> Step:
    """Eager, in checkpointed pieces, or with `kept` compiled under that activation memory budget (0 to 1)."""
    import torch

    torch.set_num_threads(1)
    params = _torch_tree(program.params)
    leaves = _leaves(params)
    batch = torch.from_numpy(np.array(program.batch))
    loss = program.torch_loss
    if kept is not None:
        import torch._functorch.config

        torch._functorch.config.activation_memory_budget = kept
        loss = torch.compile(loss)

    def step() -> tuple[float, list[np.ndarray]]:
        value = loss(params, batch, pieces)
        return value.item(), [g.numpy() for g in torch.autograd.grad(value, leaves)]

    return step


def jax_step(program: Program, *, pieces: int = 0) -> Step:
    """Compiled whole, as a scan where the program is a loop; with `pieces` a scan of scans, or `jax.checkpoint`."""
    import jax

    jax.config.update("jax_enable_x64", True)
    params, batch = jax.tree.map(jax.numpy.asarray, (program.params, program.batch))
    compiled = jax.jit(jax.value_and_grad(lambda params, batch: program.jax_loss(params, batch, pieces)))

    def step() -> tuple[float, list[np.ndarray]]:
        value, gradients = compiled(params, batch)
        return float(value), [np.asarray(g) for g in jax.tree.leaves(gradients)]

    return step


def _torch_tree(tree: Any) -> Any:
    import torch

    if isinstance(tree, dict):
        return {name: _torch_tree(child) for name, child in tree.items()}
    if isinstance(tree, list):
        return [_torch_tree(child) for child in tree]
    return torch.from_numpy(tree.copy()).requires_grad_()


def _leaves(tree: Any) -> list[Any]:
    """The leaves in the order of sorted names, as optree and JAX have them."""
    if isinstance(tree, dict):
        tree = [tree[name] for name in sorted(tree)]
    return [leaf for child in tree for leaf in _leaves(child)] if isinstance(tree, list) else [tree]
