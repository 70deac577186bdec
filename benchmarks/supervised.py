"""The time that a supervised worker's step takes over the same step of a bare loop, in turns in one run on a local Ray."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np
import tables

# Width of the three layers, and the batch: steps of milliseconds, and of tens of them.
_SIZES = {"small": (128, 128), "middle": (512, 256), "large": (768, 256)}
_DATA_BYTES = 2**24
_STEPS = 60
_WARM_UP = 5
_LAYERS = 3


def table(*, quick: bool) -> dict[str, Any]:
    """Print the table and return its figures: wall-clock and CPU seconds of each step, supervised and bare."""
    from retape.cluster.engine import cluster

    with cluster(None, cpus=1, payload_bytes=_DATA_BYTES, oversubscribe=True):
        figures = {name: _measure(*size, 20 if quick else _STEPS) for name, size in _SIZES.items()}
    rows = []
    for name, pairs in figures.items():
        wall, cpu, bare_wall, bare_cpu = (statistics.median(column) for column in zip(*pairs, strict=True))
        width, batch = _SIZES[name]
        rows.append(
            [
                f"{_LAYERS} layers of {width}x{width}, batch {batch}",
                f"{1e3 * bare_wall:.2f}",
                f"{1e3 * wall:.2f}",
                f"{100 * (wall / bare_wall - 1):.1f} %",
                f"{1e3 * bare_cpu:.2f}",
                f"{1e3 * cpu:.2f}",
                f"{100 * (cpu / bare_cpu - 1):.1f} %",
            ]
        )
    tables.table(
        "One supervised worker over a bare loop of value_and_grad and the same optimizer",
        ["model", "bare ms", "supervised ms", "more", "bare CPU ms", "supervised CPU ms", "more CPU"],
        rows,
        notes=[
            f"{os.cpu_count()} cores; {len(figures['small'])} steps of each, in turns; medians; a supervised step is all "
            "that its process does from one batch to the next: checks, metrics and signs of life included",
            "on a busy machine look at the CPU time, which hardly depends on who else is running",
        ],
    )
    return figures


def _loss(params: Any, batch: Any) -> Any:
    for w in params:
        batch = np.tanh(batch @ w)
    return np.mean(batch * batch)


def _init(width: int) -> list[np.ndarray]:
    return [np.random.default_rng(layer).standard_normal((width, width), np.float32) / 32 for layer in range(_LAYERS)]


class _Turns:
    """Examples that, when a worker asks for a batch, have the bare loop take a step first, and note both their times."""

    def __init__(self, width: int, batch: int, address: str, key: bytes, notes: str) -> None:
        self._examples = np.random.default_rng(9).standard_normal((batch, width), np.float32)
        self._address, self._key, self._notes = address, key, notes
        self._bare: Connection | None = None
        self._since = _clocks()

    def __len__(self) -> int:
        return len(self._examples)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        if self._bare is None:
            self._bare = Client(self._address, authkey=self._key)
        supervised = _since(self._since)
        self._bare.send(os.nice(0))  # Ray lets its workers run at a lower priority
        with open(self._notes, "a", encoding="utf-8") as notes:
            print(*supervised, *self._bare.recv(), file=notes)
        self._since = _clocks()
        return self._examples[indices]


def _measure(width: int, batch: int, steps: int) -> list[tuple[float, ...]]:
    from retape.cluster import adamw, train

    with tempfile.TemporaryDirectory() as folder:
        address, key, notes = f"{folder}/bare", os.urandom(16), f"{folder}/notes"
        command = [sys.executable, __file__, address, key.hex(), str(width), str(batch)]
        bare = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
        try:
            while not Path(address).exists():
                time.sleep(0.05)
                if bare.poll() is not None:
                    raise SystemExit("the bare loop of the supervised benchmark failed")
            train(
                loss=_loss,
                init=lambda seed: _init(width),
                data=_Turns(width, batch, address, key, notes),
                optimizer=adamw(),
                steps=steps + _WARM_UP,
                global_batch=batch,
                workers=1,
                shards=1,
                clip_norm=None,
                snapshot_every=10**6,
                out=Path(folder) / "out",
            )
        finally:
            bare.kill()
            bare.wait()
        lines = Path(notes).read_text(encoding="utf-8").splitlines()
    # Of a supervised step the end is known when the next batch is asked for: it stands beside the bare one after it.
    return [tuple(map(float, line.split())) for line in lines[_WARM_UP:]]


def _clocks() -> tuple[float, float]:
    """Wall-clock and CPU seconds of this process."""
    return time.perf_counter(), time.process_time()


def _since(start: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = _clocks()
    return wall - start[0], cpu - start[1]


def _bare_loop(width: int, batch: int, worker: Connection) -> None:
    """Takes a step whenever told to, and tells its wall-clock and CPU seconds."""
    from retape import value_and_grad
    from retape.cluster import adamw

    params, optimizer, step = _init(width), adamw(), value_and_grad(_loss)
    state = optimizer.init(params)
    examples, draw = np.random.default_rng(9).standard_normal((batch, width), np.float32), np.random.default_rng(0)
    with suppress(EOFError):
        while True:
            os.setpriority(os.PRIO_PROCESS, 0, worker.recv())
            start = _clocks()
            _, grads = step(params, examples[draw.permutation(batch)])
            params, state = optimizer.update(params, grads, state, 1e-3)
            worker.send(_since(start))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        table(quick="--quick" in sys.argv)
    else:
        place, secret, *sizes = sys.argv[1:]
        with Listener(place, authkey=bytes.fromhex(secret)) as listener, listener.accept() as connection:
            _bare_loop(int(sizes[0]), int(sizes[1]), connection)
