"""The training script's models, each run by two workers of which one is killed: the bits of an undisturbed run."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_sharding import crew, together
from test_worker import _Failing

from retape.checkpoint.units import parse_bytes
from retape.cluster import TrainConfig, adamw, train, warmup_cosine
from retape.cluster.job import Job
from retape.cluster.models import BUILDERS, ModelOptions, build
from retape.runtime.trees import flatten

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
STEPS = 12
# What is not as in the models' defaults, and a budget below what a logical shard needs.
SETTINGS: dict[str, tuple[dict[str, Any], int, str]] = {
    "transformer": ({"layers": 1, "width": 16, "heads": 2, "context": 8}, 8192, "6MiB"),
    "digits": ({"layers": 3, "width": 64}, 256, "150KiB"),
    "convolution": ({"layers": 2, "width": 8}, 256, "300KiB"),
    "class-tree": ({"layers": 2, "width": 32}, 128, "60KiB"),
    "cbow": ({"width": 32, "context": 4}, 1024, "2MiB"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convolution", "class-tree", "cbow"])
def test_a_job_whose_worker_fails_in_the_middle_has_the_bits_of_an_undisturbed_one(tmp_path, name):
    options, _, budget = SETTINGS[name]
    model = build(name, ModelOptions(**options))
    numbers = TrainConfig(steps=4, global_batch=32, workers=1, shards=4, memory_budget=parse_bytes(budget))
    job = Job(
        model.loss,
        model.init,
        model.train,
        adamw(),
        warmup_cosine(1e-2, steps=4),
        numbers,
        tmp_path,
        used_rows=model.used_rows,
    )
    [alone] = crew(1, job)
    assert together([alone])[0].status == "finished"
    workers = crew(2, job)
    # Each reads two shards in a step, and with rows the global batch besides; a batch or two are read ahead.
    workers[1].job = replace(job, data=_Failing(job.data, 8))
    assert [outcome.status for outcome in together(workers)] == ["aborted", "failed"]
    assert 0 < workers[0].replica.step < 4
    assert together(workers[:1], generation=2)[0].status == "finished"
    for made, expected in zip(
        flatten((workers[0].replica.params, workers[0].replica.state))[0],
        flatten((alone.replica.params, alone.replica.state))[0],
        strict=True,
    ):
        assert np.asarray(made).tobytes() == np.asarray(expected).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("name", BUILDERS)
def test_a_job_that_loses_a_worker_has_the_bits_of_an_undisturbed_one(ray, tmp_path, name):
    options, global_batch, budget = SETTINGS[name]
    model = build(name, ModelOptions(**options))
    pids, killed = tmp_path / "pids", []
    pids.mkdir()

    def loss(params, batch):
        (pids / str(os.getpid())).touch()
        time.sleep(0.02)
        return model.loss(params, batch)

    def strike(row):
        if row["step"] >= 3 and not killed:
            pid = next(int(path.name) for path in pids.iterdir() if Path("/proc", path.name).exists())
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    def run(out, workers, on_row):
        return train(
            loss=loss,
            init=model.init,
            data=model.train,
            optimizer=adamw(),
            rate=1e-2,
            steps=STEPS,
            global_batch=global_batch,
            workers=workers,
            memory_budget=budget,
            validation=model.validation,
            evaluate=model.evaluate,
            validate_every=4,
            out=tmp_path / out,
            on_row=on_row,
            used_rows=model.used_rows,
        )

    struck, alone = run("struck", 2, strike), run("alone", 1, None)
    assert killed and [row["step"] for row in struck.rows if "loss" in row] == list(range(1, STEPS + 1))
    for made, expected in zip(
        flatten((struck.params, struck.state))[0], flatten((alone.params, alone.state))[0], strict=True
    ):
        assert np.asarray(made).tobytes() == np.asarray(expected).tobytes()
    figures = [[row.get(name) for row in result.rows for name in ("loss", "val_loss")] for result in (struck, alone)]
    assert figures[0] == figures[1]
    losses = [row["loss"] for row in struck.rows if "loss" in row]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert all(row["peak_bytes"] <= row["projected_bytes"] <= row["budget_bytes"] for row in struck.rows if "loss" in row)
