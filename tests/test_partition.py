"""Nodes that are cut off from one another, and lost, as machines made of namespaces: the run goes on, with the same bits."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from namespaces import Machine, machine, why_not

import retape
from retape.cluster import adamw, latest_snapshot, load_snapshot, train

pytest.importorskip("ray")

RAY = Path(sys.executable).parent / "ray"
NETWORK = "10.98.0"
VARIABLES = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}


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
        "init": lambda seed: {"w": np.random.default_rng(seed).standard_normal((5, 2), np.float32), "big": np.ones(100_000)},
        "data": (x, np.tanh(x @ draw.standard_normal((5, 2), np.float32))),
        "optimizer": adamw(),
        "global_batch": 8,
        "shards": 4,
    }


def drive(folder):
    """The run, on the first machine; a line for each row and each event, as it comes."""
    with (folder / "told").open("a", buffering=1) as told:

        def tell(**facts):
            told.write(json.dumps({"at": time.monotonic(), **facts}) + "\n")

        def row(row):
            tell(step=row["step"], workers=row["workers"])
            if (folder / "enough").exists():
                os.kill(os.getpid(), signal.SIGTERM)

        train(
            **settings(0.01),
            steps=10**6,
            address=f"{NETWORK}.1:6379",
            workers=3,
            out=folder / "three",
            on_row=row,
            on_event=lambda sentence: tell(event=sentence),
        )


class Told:
    """What the run has told so far."""

    def __init__(self, path):
        self.path = path

    def __iter__(self):
        text = self.path.read_text() if self.path.exists() else ""
        return iter([json.loads(line) for line in text.splitlines() if line.endswith("}")])

    def until(self, matches, run, seconds=240.0):
        """The first fact that matches, when it is there."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = next((fact for fact in self if matches(fact)), None)
            if found is not None:
                return found
            assert run.poll() is None, run.communicate()[0]
            time.sleep(0.05)
        raise AssertionError(f"not within {seconds} s: {list(self)[-20:]}")


def joined(stack, folder, count) -> list[Machine]:
    """Machines with addresses of their own on one network, whose bridge is a machine too."""
    machines = []
    for number in range(count + 1):
        place = folder / f"machine{number}"
        place.mkdir()
        machines.append(stack.enter_context(machine(place, **VARIABLES, PYTHONPATH=str(Path(retape.__path__[0]).parent))))
    bridge, *nodes = machines
    bridge.run("ip", "link", "add", "bridge", "type", "bridge")
    bridge.run("ip", "link", "set", "bridge", "up")
    for number, node in enumerate(nodes, start=1):
        # From the outside, where the number of the other's process is known.
        port = f"port{number}"
        ends = ["type", "veth", "peer", "name", "eth0", "netns", str(node.pid)]
        subprocess.run(["nsenter", f"--target={bridge.pid}", "--net", "ip", "link", "add", port, *ends], check=True)
        bridge.run("ip", "link", "set", port, "master", "bridge", "up")
        node.run("ip", "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        node.run("ip", "link", "set", "eth0", "up")
    return machines


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.parametrize("fault", ["a link is cut", "a node is lost"])
def test_a_run_over_three_machines_goes_on_when(tmp_path, fault):
    with ExitStack() as stack:
        bridge, *nodes = joined(stack, tmp_path, 4)
        start = [RAY, "start", "--num-cpus=1", f"--object-store-memory={80 * 2**20}", "--disable-usage-stats"]
        nodes[0].run(*start, "--head", "--port=6379", "--include-dashboard=false", f"--node-ip-address={NETWORK}.1")

        def join(number):
            nodes[number - 1].run(*start, f"--address={NETWORK}.1:6379", f"--node-ip-address={NETWORK}.{number}")

        join(2)
        join(3)
        run = nodes[0].start(sys.executable, __file__, tmp_path, folder=tmp_path)
        stack.callback(run.kill)
        told = Told(tmp_path / "told")
        told.until(lambda fact: fact.get("step", 0) >= 50 and fact["workers"] == 3, run)
        at = time.monotonic()
        if fault == "a node is lost":
            os.kill(nodes[2].pid, 9)
        bridge.run("ip", "link", "set", "port3", "down")
        # On a busy machine a worker may have been lost before.
        notice = told.until(lambda fact: fact["at"] > at and "was lost after step" in fact.get("event", ""), run)
        after = told.until(lambda fact: fact["at"] > notice["at"] and fact.get("workers") == 2, run)
        print(f"{fault}: noticed after {notice['at'] - at:.2f} s, next step after {after['at'] - at:.2f} s")
        if fault == "a link is cut":
            time.sleep(2.0)
            bridge.run("ip", "link", "set", "port3", "up")  # what was cut off is back, and has to stay out
        else:
            join(4)
        back = told.until(lambda fact: fact["at"] > after["at"] and fact.get("workers") == 3, run)
        print(f"three workers are there again after {back['at'] - at:.1f} s")
        told.until(lambda fact: fact.get("step", 0) >= back["step"] + 50, run)
        (tmp_path / "enough").touch()
        output = run.communicate(timeout=100)[0]
        assert run.returncode == 0, output
    print([fact["event"] for fact in told if "event" in fact])
    steps = [fact["step"] for fact in told if "step" in fact]
    assert steps == list(range(1, steps[-1] + 1))
    whole = train(**settings(0.0), steps=steps[-1], workers=1, out=tmp_path / "one")
    snapshot = load_snapshot(
        latest_snapshot(tmp_path / "three" / "snapshots")[0], params_like=whole.params, state_like=whole.state
    )
    for name in ("w", "big"):
        assert snapshot.params[name].tobytes() == whole.params[name].tobytes()
        assert snapshot.state["mean"][name].tobytes() == whole.state["mean"][name].tobytes()


if __name__ == "__main__":
    drive(Path(sys.argv[1]))
