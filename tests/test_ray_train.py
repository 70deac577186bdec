"""The loop for Ray Train's workers: the bits of `train`, checkpoints, and a worker that is lost on the way."""

import os
import signal
import sys

import numpy as np
import pytest

from retape.cluster import adamw, latest_snapshot, load_snapshot, train, warmup_cosine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"),
]

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((64, 5))


def init(seed):
    return {"a": np.random.default_rng(seed).standard_normal((5, 4)) * 0.3}


def loss(params, batch):
    return np.mean((np.tanh(batch @ params["a"]) - 0.5) ** 2)


PROBLEM = {
    "init": init,
    "data": X,
    "optimizer": adamw(),
    "rate": warmup_cosine(0.05, steps=14, warmup=2),
    "steps": 14,
    "global_batch": 16,
    "snapshot_every": 4,
    "memory_budget": "1MiB",
}


@pytest.fixture
def fit(ray, tmp_path, monkeypatch):
    """Runs a loop with two workers of Ray Train; returns its result."""
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
    pytest.importorskip("ray.train", reason="needs ray[train]", exc_type=ImportError)
    from ray import cloudpickle
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from retape.cluster.ray_train import train_loop

    def fit(loss):
        loop = train_loop(**PROBLEM, loss=loss, out=tmp_path / "out")
        storage = RunConfig(name="run", storage_path=str(tmp_path / "ray"), failure_config=FailureConfig(max_failures=2))
        return DataParallelTrainer(loop, scaling_config=ScalingConfig(num_workers=2), run_config=storage).fit()

    # Ray Train's workers look for modules elsewhere than this process.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield fit
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def parameters(folder):
    path, _ = latest_snapshot(folder)
    return load_snapshot(path, params_like=init(0), state_like=adamw().init(init(0)))


def test_workers_of_ray_train_end_with_the_bits_of_train_and_a_checkpoint_that_holds_them(ray, fit, tmp_path):
    result = fit(loss)
    assert result.error is None and result.metrics["step"] == 14
    assert 0 < result.metrics["peak_bytes"] <= result.metrics["budget_bytes"]
    whole = train(**PROBLEM, loss=loss, out=tmp_path / "whole")
    with result.checkpoint.as_directory() as folder:
        last = parameters(folder)
    assert last.step == 14 and last.params["a"].tobytes() == whole.params["a"].tobytes()
    assert len(result.best_checkpoints) == 4  # steps 4, 8, 12 and 14


def test_a_lost_worker_of_ray_train_goes_on_from_a_snapshot_to_the_same_bits(ray, fit, tmp_path):
    died = tmp_path / "died"

    def deadly(params, batch):
        if (tmp_path / "out" / "snapshots" / "step-000000008.snapshot").exists() and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return loss(params, batch)

    result = fit(deadly)
    assert died.exists() and result.metrics["step"] == 14
    whole = train(**PROBLEM, loss=loss, out=tmp_path / "whole")
    assert parameters(tmp_path / "out" / "snapshots").params["a"].tobytes() == whole.params["a"].tobytes()
