"""The time that workers of one node take to sum their gradients, against PyTorch's gloo and a copy of the same bytes."""

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
from ranks import join_gloo, main

_SIZES = {"64 KB": 2**16, "1 MB": 2**20, "16 MB": 2**24, "100 MB": 100 * 2**20}
_WORLDS = (2, 4)
_ROUNDS = {2**16: 60, 2**20: 40, 2**24: 12, 100 * 2**20: 6}
_METHODS = ("memcpy", "gloo", "retape")


def table(*, quick: bool) -> list[dict[str, Any]]:
    """Print the table and return its figures: medians over rounds in which methods take turns."""
    figures = []
    for world in _WORLDS:
        for figure in _measure(world, quick):
            figures.append({"workers": world, **figure})
    rows = []
    for figure in figures:
        seconds = figure["seconds"]
        ratios = [f"{seconds['retape'] / seconds[peer]:.2f}" if peer in seconds else "" for peer in ("gloo", "memcpy")]
        times = [f"{1e3 * seconds[method]:.3f}" if method in seconds else "" for method in _METHODS]
        rows.append([str(figure["workers"]), figure["size"], *times, *ratios])
    tables.table(
        "Sum of all workers' float32 gradients on one node, milliseconds",
        ["workers", "gradients", "memcpy", "gloo", "retape", "of gloo", "of memcpy"],
        rows,
        texts=2,
        notes=["memcpy: every worker copies as many bytes at the same time; gradients are born in shared memory"],
    )
    return figures


def _measure(world: int, quick: bool) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--world", str(world), "--folder", folder, "--token", secrets.token_hex(16)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        ranks = [
            subprocess.Popen([*command, "--rank", str(rank), *(["--quick"] if quick else [])], env=environment)
            for rank in range(world)
        ]
        if any(process.wait() for process in ranks):
            raise SystemExit("a rank of the all-reduce benchmark failed")
        return json.loads((Path(folder) / "figures.json").read_text())


def _rank(options: argparse.Namespace) -> None:
    """One worker: all methods take turns, each call begins when all ranks are there."""
    from retape.cluster.comm.formation import Formation
    from retape.cluster.comm.group import Group
    from retape.cluster.comm.layout import Layout
    from retape.cluster.comm.sums import in_turn

    gloo = _gloo(options)
    figures = []
    for generation, (name, size) in enumerate(_SIZES.items(), start=1):
        gradients = np.random.default_rng(options.rank).standard_normal(size // 4, np.float32)
        formation = Formation(options.token, generation, options.world, (options.world,), split=in_turn)
        group = Group(formation, options.rank, Layout.of([gradients]), figures=1)
        target = np.empty_like(gradients)

        def reduce(group: Group = group) -> None:
            group.reduce()
            group.finish()

        methods: dict[str, Callable[[], Any]] = {
            "memcpy": lambda target=target, gradients=gradients: np.copyto(target, gradients),
            "retape": reduce,
        }
        if gloo is not None:
            methods["gloo"] = gloo(target)
        seconds: dict[str, list[float]] = {method: [] for method in methods}
        rounds = max(3, _ROUNDS[size] // (4 if options.quick else 1))
        for number in range(rounds + 2):
            for method, call in methods.items():
                group.slots[0][0][...] = gradients
                target[...] = gradients
                group.finish()
                start = time.perf_counter()
                call()
                slowest = group.finish((time.perf_counter() - start,)).max()
                if number >= 2:  # the first rounds touch the memory for the first time
                    seconds[method].append(float(slowest))
        figures.append({"size": name, "seconds": {method: statistics.median(times) for method, times in seconds.items()}})
        group.finish()
        group.close()
    if options.rank == 0:
        (Path(options.folder) / "figures.json").write_text(json.dumps(figures))


def _gloo(options: argparse.Namespace) -> Callable[[np.ndarray], Callable[[], Any]] | None:
    """A maker of PyTorch's all-reduce of an array, in place; None where PyTorch is not installed."""
    if find_spec("torch") is None:
        return None
    import torch

    distributed = join_gloo(options, options.world)

    def make(target: np.ndarray) -> Callable[[], Any]:
        tensor = torch.from_numpy(target)
        return lambda: distributed.all_reduce(tensor)

    return make


if __name__ == "__main__":
    main(__doc__, table, _rank, numbers=("--rank", "--world"))
