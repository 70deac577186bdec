"""A run over several nodes, which are raylets of this machine, and the loss of one of them."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retape.cluster import adamw, train


def settings(pause) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((64, 5), np.float32)

    def loss(params, batch):
        time.sleep(pause)
        x, targets = batch
        error = np.tanh(x @ params["w"]) - targets
        return np.mean(error * error) + np.mean(params["big"] ** 2)

    return {
        "loss": loss,
        "init": lambda seed: {"w": np.random.default_rng(seed).standard_normal((5, 2), np.float32), "big": np.ones(300_000)},
        "data": (x, np.tanh(x @ draw.standard_normal((5, 2), np.float32))),
        "optimizer": adamw(),
        "global_batch": 8,
        "steps": 150,
    }


def scenario(folder):
    import ray
    from ray.cluster_utils import Cluster

    told, rows = [], []
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 * 2**20})
    try:
        others = [cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20) for _ in range(2)]
        ray.init(address=cluster.address, log_to_driver=False)

        def lose_a_node():
            while len(rows) < 40:
                time.sleep(0.05)
            cluster.remove_node(others[0], allow_graceful=False)

        thread = threading.Thread(target=lose_a_node, daemon=True)
        thread.start()
        result = train(**settings(0.01), workers=3, shards=4, out=folder / "three", on_row=rows.append, on_event=told.append)
        thread.join(timeout=60)
        whole = train(**settings(0.0), workers=1, shards=4, out=folder / "one")
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert {row["workers"] for row in result.rows} == {2, 3}, told
    assert [row["step"] for row in result.rows] == list(range(1, 151))
    for name in ("w", "big"):
        assert result.params[name].tobytes() == whole.params[name].tobytes()


@pytest.mark.slow
def test_a_run_over_three_nodes_outlives_the_loss_of_one_with_the_same_bits(tmp_path):
    pytest.importorskip("ray")
    # In a process of its own, for a process has one Ray.
    variables = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-P", __file__, str(tmp_path)],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert not [name for name in os.listdir("/dev/shm") if name.startswith("retape-")]


if __name__ == "__main__":
    scenario(Path(sys.argv[1]))
