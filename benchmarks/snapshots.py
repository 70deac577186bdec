"""The cost of snapshots per step: none, written in the background, and waited for, in one worker without Ray."""

from __future__ import annotations

import secrets
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tables

_EVERY = 10
_WAYS = ("none", "background", "waited for")


def table(*, quick: bool) -> dict[str, Any]:
    """Print the table and return its figures: seconds of a step, of the clock and of the processor, for each size of the
    state and each way to save it."""
    figures: dict[str, Any] = {}
    rows = []
    for megabytes in (1, 10) if quick else (1, 10, 100):
        rounds = [{way: _seconds(megabytes, way, 3 * _EVERY) for way in _WAYS} for _ in range(2 if quick else 3)]
        walls = {way: statistics.median(one[way][0] for one in rounds) for way in _WAYS}
        cpus = {way: statistics.median(one[way][1] for one in rounds) for way in _WAYS}
        figures[f"{megabytes} MB"] = {"seconds": walls, "cpu_seconds": cpus}
        rows.append(
            [f"{megabytes} MB"]
            + [f"{seconds * 1e3:.2f}" for seconds in walls.values()]
            + [tables.ratio(walls[way] / walls["none"]) for way in _WAYS[1:]]
            + [f"{(cpus['background'] - cpus['none']) * 1e3:+.2f}"]
        )
    tables.table(
        f"A snapshot every {_EVERY} steps: milliseconds of a step, and against none",
        ["parameters and optimizer state", *_WAYS, "background / none", "waited / none", "background, CPU"],
        rows,
        notes=[
            "AdamW on one worker; the medians over rounds in turn of the mean over 30 steps, 3 snapshots among them",
            f"a step is as long as its update takes: where it computes more, {_EVERY} steps hide more of the write",
        ],
    )
    return figures


def _seconds(megabytes: int, way: str, steps: int) -> tuple[float, float]:
    """The mean seconds of a step, of the clock and of the processor."""
    from retape.cluster import TrainConfig, adamw, constant
    from retape.cluster import snapshot as snapshots
    from retape.cluster.comm.formation import Formation
    from retape.cluster.data import as_source
    from retape.cluster.job import Job
    from retape.cluster.worker import Worker

    numbers = megabytes * 10**6 // 4 // 3
    with tempfile.TemporaryDirectory() as folder:
        config = TrainConfig(
            steps=steps + 1,  # the run's first and last snapshots are waited for whatever the way: they are not looked at
            global_batch=4,
            workers=1,
            shards=1,
            snapshot_every=10**6 if way == "none" else _EVERY,
            check_every=10**6,
        )

        def loss(params: Any, batch: Any) -> Any:
            return np.mean(batch) * np.mean(params["w"] * params["w"])

        def init(seed: int) -> Any:
            return {"w": np.ones(numbers, np.float32)}

        data = as_source(np.ones((64, 1), np.float32))
        worker = Worker(Job(loss, init, data, adamw(), constant(1e-3), config, Path(folder)))
        worker.prepare()
        if way == "waited for":
            save = worker._saver.save

            def wait(share: snapshots.Share, *, is_last: bool, **fields: Any) -> None:
                save(share, is_last=True, **fields)

            worker._saver.save = wait
        record, ends = worker._rows.record, []

        def clock(row: dict[str, Any]) -> None:
            record(row)
            ends.append((time.perf_counter(), time.process_time()))

        worker._rows.record = clock
        outcome = worker.run(Formation(secrets.token_hex(16), 1, 1), 0)
        assert outcome.status == "finished" and len(ends) == steps + 1, outcome
        return (ends[-1][0] - ends[0][0]) / steps, (ends[-1][1] - ends[0][1]) / steps
