"""What benchmarks of several processes share: a script that is its own ranks, and PyTorch's side of them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


def main(
    description: str | None,
    table: Callable[..., Any],
    rank: Callable[[argparse.Namespace], None],
    *,
    numbers: Sequence[str] = ("--rank",),
) -> None:
    """Print the table, or be one of its ranks, which is given its `numbers`, a folder and a token."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true")
    for name in numbers:
        parser.add_argument(name, type=int)
    for name in ("--folder", "--token"):
        parser.add_argument(name)
    given = parser.parse_args()
    if given.rank is None:
        table(quick=given.quick)
    else:
        rank(given)


def join_gloo(options: argparse.Namespace, world: int) -> Any:
    """Return `torch.distributed` with this rank in a group of so many, one thread each."""
    import torch
    import torch.distributed as distributed

    torch.set_num_threads(1)
    store = f"file://{options.folder}/rendezvous"
    distributed.init_process_group("gloo", init_method=store, rank=options.rank, world_size=world)
    return distributed


def chain(params: list[np.ndarray]) -> Any:
    """Return PyTorch's module of the mean square of layers of ``tanh(x @ w)``, with weights of its own."""
    import torch

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = torch.nn.ParameterList([torch.nn.Parameter(torch.from_numpy(w.copy())) for w in params])

        def forward(self, x: Any) -> Any:
            for w in self.weights:
                x = torch.tanh(x @ w)
            return (x * x).mean()

    return Model()
