"""The time from a killed worker to the next step under peers: torchrun, whose ranks sum by gloo, and Ray Train, whose workers
run retape's loop.

Both start all workers again, so that the steps which they then do once more count as next steps, too.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from recovery_job import PARAMETERS, PAUSE_SECONDS, settings

_PATIENCE_SECONDS = 90.0
_TORCHRUN, _RAY_TRAIN = "killed, torchrun", "killed, Ray Train"


def peers() -> dict[str, Callable[[int], list[float]]]:
    """The peers that are installed: each takes a number of faults, and returns the seconds from each to the next step."""
    found: dict[str, Callable[[int], list[float]]] = {}
    if find_spec("torch") is not None:
        found[_TORCHRUN] = _torchrun
    if find_spec("pandas") is not None and find_spec("pyarrow") is not None:
        found[_RAY_TRAIN] = _ray_train
    return found


class _Scene:
    """A folder in which ranks leave their process numbers, and one of them the time of each step."""

    def __init__(self, folder: Path) -> None:
        self.pids, self.steps = folder / "pids", folder / "steps"
        self.pids.mkdir(exist_ok=True)

    def report(self, rank: int) -> None:
        """Called by a rank in each step."""
        (self.pids / str(os.getpid())).touch()
        if rank == 0:
            with self.steps.open("a", encoding="ascii") as file:
                file.write(f"{time.monotonic()}\n")

    def alive(self) -> list[int]:
        """The ranks' processes."""
        return [int(path.name) for path in self.pids.iterdir() if Path("/proc", path.name).exists()]

    def step_after(self, since: float) -> float | None:
        """When the first step after ``since`` was done, which is waited for."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            for line in self.steps.read_text(encoding="ascii").splitlines() if self.steps.exists() else ():
                if float(line) > since:
                    return float(line)
            time.sleep(0.05)
        return None

    def strike(self, faults: int) -> Iterator[float]:
        """Kills a rank so many times, some seconds after the last recovery; gives the seconds to each next step."""
        draw = random.Random(0)
        for _ in range(faults):
            if self.step_after(time.monotonic()) is None:
                return
            time.sleep(2.0 + draw.random())
            at = time.monotonic()
            self.kill(draw)
            # A step that was as good as done may end after the kill.
            after = self.step_after(at + 0.1)
            if after is None:
                return
            yield after - at

    def kill(self, draw: random.Random) -> None:
        """Kills one rank."""
        with suppress(ProcessLookupError):
            os.kill(draw.choice(self.alive()), signal.SIGKILL)


def _torchrun(faults: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        scene = _Scene(Path(folder))
        options = ["--standalone", "--nproc-per-node=2", f"--max-restarts={faults}"]
        command = [sys.executable, "-m", "torch.distributed.run", *options, __file__, folder]
        with _started(command) as process:
            made = list(scene.strike(faults))
            process.terminate()
        return made


@contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
        process.wait(timeout=30)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _torch_rank(folder: Path) -> None:
    import torch

    scene = _Scene(folder)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    while True:
        gradient = torch.ones(PARAMETERS)
        time.sleep(2 * PAUSE_SECONDS)  # a rank's two shards
        torch.distributed.all_reduce(gradient)
        scene.report(rank)


def _ray_train(faults: int) -> list[float]:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    from retape.cluster.engine import cluster
    from retape.cluster.ray_train import train_loop

    with tempfile.TemporaryDirectory() as folder, cluster(None, cpus=4, payload_bytes=0, oversubscribe=True):
        scene = _Scene(Path(folder))

        def note() -> None:
            from ray.train import get_context

            scene.report(get_context().get_world_rank())

        loop = train_loop(**settings(Path(folder) / "out", note))
        storage = RunConfig(name="run", storage_path=f"{folder}/ray", failure_config=FailureConfig(max_failures=faults))
        trainer = DataParallelTrainer(loop, scaling_config=ScalingConfig(num_workers=2), run_config=storage)

        def fit() -> None:
            with suppress(Exception):  # the last fault is one too many
                trainer.fit()

        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        made = list(scene.strike(faults))
        scene.kill(random.Random(0))
        thread.join(timeout=_PATIENCE_SECONDS)
        return made


if __name__ == "__main__":
    _torch_rank(Path(sys.argv[1]))
