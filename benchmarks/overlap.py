"""The time of a step on two nodes at 1 Gbit/s: gradients computed and then summed, summed while computed, and PyTorch's DDP.

Needs Linux, root and the ip and tc commands: `sudo python benchmarks/overlap.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import slow_link
import tables
from ranks import chain, join_gloo, main

_LAYERS, _WIDTH = 8, 1024
_BATCHES = (160, 480)  # the sum takes most of a step; about as long as the computation
_ROUNDS = 12
_COMPUTE, _REDUCE, _AFTER, _OVERLAPPED = "compute alone", "sum alone", "compute, then sum", "summed while computed"
_TORCH, _DDP = "PyTorch: compute alone", "PyTorch DDP, buckets of 4 MiB"


def table(*, quick: bool) -> dict[str, Any] | None:
    """Print the table and return its figures: seconds of the slower node, round by round; the methods take turns."""
    if os.geteuid():
        tables.say("the overlap benchmark makes network namespaces, which takes root: left out")
        return None
    figures = slow_link.two_nodes(Path(__file__), quick=quick)
    for batch, found in figures.items():
        after = statistics.median(found[_AFTER])
        rows = [
            [name, f"{1e3 * statistics.median(seconds):.0f}", f"{1e3 * min(seconds):.0f}", _ratio(name, seconds, after)]
            for name, seconds in found.items()
        ]
        tables.table(
            f"One step of {_LAYERS} layers of {_WIDTH}x{_WIDTH} (32 MiB of gradients), two nodes at 1 Gbit/s, batch {batch}",
            ["method", "ms", "least ms", "of compute, then sum"],
            rows,
            notes=[f"medians over {len(found[_AFTER])} rounds; {os.cpu_count()} cores"],
        )
    return figures


def _ratio(name: str, seconds: list[float], after: float) -> str:
    return f"{statistics.median(seconds) / after:.2f}" if name in (_OVERLAPPED, _DDP) else ""


def _rank(options: argparse.Namespace) -> None:
    from retape import value_and_grad
    from retape.cluster.comm.buckets import buckets
    from retape.cluster.comm.formation import Formation
    from retape.cluster.comm.group import Group
    from retape.cluster.comm.layout import Layout
    from retape.cluster.comm.mesh import listen
    from retape.cluster.comm.overlap import Overlap

    draw = np.random.default_rng(0)
    params = [draw.standard_normal((_WIDTH, _WIDTH), np.float32) / np.float32(32) for _ in range(_LAYERS)]
    rows = np.random.default_rng(options.rank).standard_normal((max(_BATCHES), _WIDTH), np.float32)

    def loss(params: Any, x: Any) -> Any:
        for w in params:
            x = np.tanh(x @ w)
        return np.mean(x * x)

    listener = listen(f"10.99.0.{1 + options.rank}")
    addresses = slow_link.exchange(Path(options.folder), options.rank, listener.getsockname())
    formation = Formation(options.token, 1, 2, (1, 1), addresses)
    group = Group(formation, options.rank, Layout.of(params), figures=1, listener=listener)
    overlap = Overlap(group, buckets(range(_LAYERS)[::-1], [w.nbytes for w in params]))
    step = value_and_grad(loss)

    def compute(x: np.ndarray, tell: Callable[[int], None] | None = None) -> None:
        step.into(group.landing(0, 1.0, tell), params, x)

    def summed() -> None:
        group.reduce(divisor=2)
        group.finish()

    def after(x: np.ndarray) -> None:
        compute(x)
        summed()

    def overlapped(x: np.ndarray) -> None:
        overlap.begin(2)
        compute(x, overlap.ready)
        overlap.finish()
        group.finish()

    methods = {_COMPUTE: compute, _REDUCE: lambda x: summed(), _AFTER: after, _OVERLAPPED: overlapped}
    if find_spec("torch") is not None:
        methods |= _torch(options, params)
    figures: dict[int, dict[str, list[float]]] = {batch: {name: [] for name in methods} for batch in _BATCHES}
    for batch, seconds in figures.items():
        for number in range((3 if options.quick else _ROUNDS) + 1):
            for name, call in methods.items():
                group.finish()
                start = time.perf_counter()
                call(rows[:batch])
                slowest = group.finish((time.perf_counter() - start,)).max()
                if number:
                    seconds[name].append(float(slowest))
    group.finish()
    overlap.close()
    group.close()
    if options.rank == 0:
        (Path(options.folder) / "figures.json").write_text(json.dumps(figures))


def _torch(options: argparse.Namespace, params: list[np.ndarray]) -> dict[str, Callable[[np.ndarray], Any]]:
    import torch

    join_gloo(options, 2)
    model = chain(params)
    wrapped = torch.nn.parallel.DistributedDataParallel(chain(params), bucket_cap_mb=4)

    def run(model: Any, x: np.ndarray) -> None:
        model.zero_grad()
        model(torch.from_numpy(x)).backward()

    return {_TORCH: lambda x: run(model, x), _DDP: lambda x: run(wrapped, x)}


if __name__ == "__main__":
    main(__doc__, table, _rank)
