"""The time that two nodes take to sum gradients over a link of 1 Gbit/s, against PyTorch's gloo: two network namespaces.

Needs Linux, root and the ip and tc commands: `sudo python benchmarks/slow_link.py`.
"""

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
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tables
from ranks import join_gloo, main

_BYTES = 32 * 2**20
_LINK_BYTES_PER_SECOND = 125e6
_DEVICE = "wire0"
_ROUNDS = 10


def table(*, quick: bool) -> dict[str, Any]:
    """Print the table and return its figures: seconds of the slower node, round by round; the methods take turns."""
    figures = two_nodes(Path(__file__), quick=quick)
    ideal = _BYTES / _LINK_BYTES_PER_SECOND
    rows = [
        [
            name,
            f"{1e3 * statistics.median(seconds):.0f}",
            f"{1e3 * min(seconds):.0f}",
            f"{ideal / statistics.median(seconds):.2f}",
        ]
        for name, seconds in figures.items()
    ]
    tables.table(
        f"Sum of {_BYTES // 2**20} MiB of float32 gradients between two nodes at 1 Gbit/s",
        ["method", "ms", "least ms", "of line rate"],
        rows,
        notes=["line rate: each node sends and receives as many bytes as there are gradients"],
    )
    return figures


def two_nodes(script: Path, *, quick: bool) -> dict[str, Any]:
    """The figures that two ranks of `script`, each in a network namespace of its own, leave in ``figures.json``."""
    with _namespaces() as names, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(script), "--folder", folder, "--token", secrets.token_hex(16)]
        ranks = [
            subprocess.Popen(
                ["ip", "netns", "exec", name, *command, "--rank", str(rank), *(["--quick"] if quick else [])],
                env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": _DEVICE},
            )
            for rank, name in enumerate(names)
        ]
        if any([process.wait() for process in ranks]):
            raise SystemExit("a rank of the benchmark failed")
        return json.loads((Path(folder) / "figures.json").read_text())


@contextmanager
def _namespaces() -> Iterator[list[str]]:
    """Two network namespaces, joined by a link that is shaped to 1 Gbit/s both ways."""
    names = [f"retape{os.getpid()}{side}" for side in "ab"]
    try:
        for name in names:
            _ip("netns", "add", name)
        _ip("link", "add", _DEVICE, "netns", names[0], "type", "veth", "peer", "name", _DEVICE, "netns", names[1])
        for number, name in enumerate(names, start=1):
            inside = ["ip", "netns", "exec", name]
            subprocess.run([*inside, "ip", "addr", "add", f"10.99.0.{number}/24", "dev", _DEVICE], check=True)
            for device in ("lo", _DEVICE):
                subprocess.run([*inside, "ip", "link", "set", device, "up"], check=True)
            shape = ["tc", "qdisc", "add", "dev", _DEVICE, "root", "tbf", "rate", "1gbit", "burst", "256k", "latency", "50ms"]
            subprocess.run([*inside, *shape], check=True)
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _rank(options: argparse.Namespace) -> None:
    from retape.cluster.comm.formation import Formation
    from retape.cluster.comm.group import Group
    from retape.cluster.comm.layout import Layout
    from retape.cluster.comm.mesh import listen

    gradients = np.random.default_rng(options.rank).standard_normal(_BYTES // 4, np.float32)
    listener = listen(f"10.99.0.{1 + options.rank}")
    addresses = exchange(Path(options.folder), options.rank, listener.getsockname())
    methods = {}
    groups = []
    for generation, wire in enumerate(("float32", "bfloat16"), start=1):
        formation = Formation(options.token, generation, 2, (1, 1), addresses, wire=wire)
        group = Group(formation, options.rank, Layout.of([gradients]), figures=1, listener=listener)
        group.slots[0][0][...] = gradients
        groups.append(group)
        methods[f"retape, {wire}"] = lambda group=group: (group.reduce(), group.finish())
    if find_spec("torch") is not None:
        import torch

        distributed = join_gloo(options, 2)
        tensor = torch.from_numpy(gradients.copy())
        methods["gloo"] = lambda: distributed.all_reduce(tensor)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for number in range((2 if options.quick else _ROUNDS) + 1):
        for name, call in methods.items():
            groups[0].finish()
            start = time.perf_counter()
            call()
            slowest = groups[0].finish((time.perf_counter() - start,)).max()
            if number:
                seconds[name].append(float(slowest))
    for group in groups:
        group.finish()
        group.close()
    if options.rank == 0:
        (Path(options.folder) / "figures.json").write_text(json.dumps(seconds))


def exchange(folder: Path, rank: int, address: Any) -> tuple[Any, ...]:
    """Both ranks' addresses, through files."""
    (folder / f"partial-{rank}").write_text(json.dumps(address[:2]))
    os.replace(folder / f"partial-{rank}", folder / f"address-{rank}")
    while not all((folder / f"address-{other}").exists() for other in range(2)):
        time.sleep(0.01)
    return tuple(tuple(json.loads((folder / f"address-{other}").read_text())) for other in range(2))


if __name__ == "__main__":
    main(__doc__, table, _rank)
