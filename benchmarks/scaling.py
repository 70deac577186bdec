"""The time of a training step with 1, 2 and 4 workers of a node, at a fixed and at a growing batch, against PyTorch's DDP."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tables
from ranks import chain, join_gloo, main

_WORLDS = (1, 2, 4)
_LAYERS, _WIDTH, _BATCH, _SHARDS = 6, 512, 128, 4
_ROUNDS = 10
_STRONG, _WEAK = f"strong: a batch of {_BATCH}", f"weak: {_BATCH} a worker"
_RETAPE, _DDP = "retape", "DDP"


def table(*, quick: bool) -> dict[str, list[float]]:
    """Print the table and return its figures: seconds of the slowest worker, round by round; all numbers of workers, both
    batches and both libraries take turns."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--folder", folder, "--token", secrets.token_hex(16)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen([*command, "--rank", str(rank), *(["--quick"] if quick else [])], env=environment)
            for rank in range(max(_WORLDS))
        ]
        if any([process.wait() for process in ranks]):
            raise SystemExit("a rank of the scaling benchmark failed")
        figures = json.loads((Path(folder) / "figures.json").read_text())
    rows = []
    for batch in (_STRONG, _WEAK):
        for world in _WORLDS:
            medians = [_median(figures, _key(name, batch, world)) for name in (_RETAPE, _DDP)]
            one = [_median(figures, _key(name, batch, 1)) for name in (_RETAPE, _DDP)]
            work = world if batch == _WEAK else 1
            speeds = [f"{work * first / now:.2f}" if first and now else "" for first, now in zip(one, medians, strict=True)]
            times = [f"{1e3 * now:.1f}" if now else "" for now in medians]
            ratio = f"{medians[0] / medians[1]:.2f}" if medians[0] and medians[1] else ""
            rows.append([batch, str(world), *times, ratio, *speeds])
    size = _LAYERS * _WIDTH * _WIDTH * 4 / 2**20
    tables.table(
        f"One training step of {_LAYERS} layers of {_WIDTH}x{_WIDTH} ({size:.0f} MiB of gradients), one thread a worker",
        ["batch", "workers", "retape ms", "DDP ms", "of DDP", "retape speed-up", "DDP speed-up"],
        rows,
        notes=[
            f"{os.cpu_count()} cores; medians of {len(next(iter(figures.values())))} rounds; speed-up: examples a second",
            f"retape cuts each batch into {_SHARDS} logical shards, for the same bits with any number of workers",
            "DDP of one worker is PyTorch alone",
        ],
    )
    return figures


def _key(name: str, batch: str, world: int) -> str:
    return f"{name}, {batch}, {world} workers"


def _median(figures: dict[str, list[float]], key: str) -> float | None:
    return statistics.median(figures[key]) if key in figures else None


def _rank(options: argparse.Namespace) -> None:
    """One worker: it takes part where it is among the first so many, and waits where it is not."""
    from retape.cluster.comm.formation import Formation
    from retape.cluster.comm.group import Group
    from retape.cluster.comm.layout import Layout

    params = [np.random.default_rng(layer).standard_normal((_WIDTH, _WIDTH), np.float32) / 32 for layer in range(_LAYERS)]

    def meet(generation: int, world: int) -> Group:
        formation = Formation(options.token, generation, _SHARDS, (world,))
        return Group(formation, options.rank, Layout.of(params), figures=1)

    everybody = meet(0, max(_WORLDS))
    steps: dict[str, Callable[[], Any] | None] = {}
    groups = []
    for number, world in enumerate(_WORLDS, start=1):
        group = meet(number, world) if options.rank < world else None
        groups.append(group)
        for batch, rows in ((_STRONG, _BATCH), (_WEAK, _BATCH * world)):
            steps[_key(_RETAPE, batch, world)] = None if group is None else _retape(group, params, rows)
    if find_spec("torch") is not None:
        steps |= _torch(options, params)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range((3 if options.quick else _ROUNDS) + 1):
        for name, step in steps.items():
            everybody.finish()
            start = time.perf_counter()
            if step is not None:
                step()
            slowest = everybody.finish((time.perf_counter() - start if step is not None else 0.0,)).max()
            if number:  # the first round plans, and touches memory for the first time
                seconds[name].append(float(slowest))
    everybody.finish()
    for group in (*groups, everybody):
        if group is not None:
            group.close()
    if options.rank == 0:
        (Path(options.folder) / "figures.json").write_text(json.dumps(seconds))


def _retape(group: Any, params: list[np.ndarray], rows: int) -> Callable[[], Any]:
    """A step as a worker of a run takes it: its shards' gradients, the sum of all, the update."""
    from retape import accumulate
    from retape.cluster import sgd
    from retape.cluster.gradients import Gradients
    from retape.cluster.shards import cut

    def loss(params: Any, x: Any) -> Any:
        for w in params:
            x = np.tanh(x @ w)
        return np.mean(x * x)

    data = np.random.default_rng(0).standard_normal((rows, _WIDTH), np.float32)
    pieces = cut(np.arange(rows), _SHARDS)
    gradients = Gradients(accumulate(loss, microbatch=rows // _SHARDS), group, seed=0)
    optimizer = sgd()
    mine, state = [w.copy() for w in params], optimizer.init(params)

    def step() -> None:
        batches = iter([data[pieces[put.shard]] for put in group.puts])
        gradients.compute(mine, 0, lambda: next(batches), pieces)
        gradients.reduce(len(pieces))
        group.finish()
        optimizer.update(mine, list(group.result), state, 0.01)

    return step


def _torch(options: argparse.Namespace, params: list[np.ndarray]) -> dict[str, Callable[[], Any] | None]:
    import torch

    distributed = join_gloo(options, max(_WORLDS))

    def stepper(group: Any, world: int, rows: int) -> Callable[[], Any]:
        model = chain(params)
        model = model if world == 1 else torch.nn.parallel.DistributedDataParallel(model, process_group=group)
        optimizer, x = torch.optim.SGD(model.parameters(), lr=0.01), torch.randn(rows // world, _WIDTH)

        def step() -> None:
            optimizer.zero_grad()
            model(x).backward()
            optimizer.step()

        return step

    steps: dict[str, Callable[[], Any] | None] = {}
    for world in _WORLDS:
        group = distributed.new_group(list(range(world)))  # all ranks must make every group
        for batch, rows in ((_STRONG, _BATCH), (_WEAK, _BATCH * world)):
            steps[_key(_DDP, batch, world)] = stepper(group, world, rows) if options.rank < world else None
    return steps


if __name__ == "__main__":
    main(__doc__, table, _rank)
