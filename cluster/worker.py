"""Makes one worker's part of a run: gradients of its shard, the all-reduce, the update, and rank 0's files.

The class is plain Python; the driver makes a Ray actor of it. Its loop is its own: the driver asks nothing of
it per step, and only reads rows and sets the stop flag from a second thread of the actor.
"""

import hashlib
import os
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.trees import flatten, flatten_with_paths, unflatten
from ..scheduler.microbatch import accumulate
from . import snapshot as snapshots
from .arena import Arena, Layout
from .data import Order, shard, take
from .errors import NonFiniteLossError, ReplicaMismatchError, RunError
from .job import Failure, Job, Outcome, TrainConfig
from .metrics import METRICS_NAME, MetricsFile
from .optimizers import clip_by_global_norm, global_norm

SNAPSHOT_FOLDER = "snapshots"


class Worker:
    """Rank ``rank`` of a run. ``prepare`` makes or loads the training state, ``run`` trains until the end or
    a stop."""

    def __init__(self, rank: int, job: Job) -> None:
        """Holds the job; nothing is computed yet."""
        self.rank, self.job = rank, job
        self._arena: Arena | None = None
        self._stop = threading.Event()
        self._called_off = threading.Event()
        self._rows: list[dict[str, Any]] = []
        self._microbatch = job.config.microbatch

    def prepare(self) -> int:
        """Makes the parameters and optimizer state, or loads the snapshot to resume; returns this process's
        id.

        Raises ``SnapshotError`` for a bad snapshot and ``RunError`` for parameters that cannot be trained.
        """
        job, config = self.job, self.job.config
        params = job.init(config.seed)
        state = job.optimizer.init(params)
        self.step, self.order = 0, Order(config.seed)
        if job.resume is not None:
            loaded = snapshots.load(job.resume, params_like=params, state_like=state)
            params, state, self.step = loaded.params, loaded.state, loaded.step
            self.order = Order(**loaded.order)
            self._microbatch = _resumed_microbatch(config, loaded.settings)
        # Copies of plain arrays: the update writes in place, and `init` may return views or read-only arrays.
        leaves, treedef = flatten(params)
        self.params = unflatten(treedef, [np.array(leaf, order="C") for leaf in leaves])
        self.state = state
        self._layout = Layout.of(flatten(self.params)[0])
        self._step_function = accumulate(job.loss, microbatch=self._microbatch, memory_budget=config.memory_budget)
        return os.getpid()

    def run(self, path: str, generation: int) -> Outcome:
        """Trains, meeting the other ranks in the arena at ``path``; failures come back inside the outcome."""
        try:
            config = self.job.config
            self._arena = Arena(
                path,
                self.rank,
                config.workers,
                self._layout,
                generation=generation,
                deadline_seconds=config.deadline_seconds,
            )
            if self._called_off.is_set():
                self._arena.abort()
            return Outcome(self.rank, self._train(), self.step)
        except Exception as error:
            if self._arena is not None:
                self._arena.abort()
            return Outcome(self.rank, "failed", self.step, Failure.of(error, traceback.format_exc()))
        finally:
            if self._arena is not None:
                self._arena.close()

    def rows(self, start: int) -> list[dict[str, Any]]:
        """The metrics rows from number ``start`` on (rank 0 has them)."""
        return self._rows[start:]

    def stop(self) -> None:
        """Asks for an end after the step in progress, with a snapshot; every rank stops at the same step."""
        self._stop.set()

    def call_off(self) -> None:
        """Ends the run now: another worker is gone."""
        self._called_off.set()
        if self._arena is not None:
            self._arena.abort()

    def _train(self) -> str:
        config = self.job.config
        metrics = MetricsFile(self.job.out / METRICS_NAME, step=self.step) if self.rank == 0 else None
        try:
            if self.rank == 0 and self.job.resume is None:
                self._save()
            stopped = False
            while self.step < config.steps and not stopped:
                row, stopped = self._one_step()
                self._record(row, metrics)
                last = stopped or self.step == config.steps
                if last or self.step % config.validate_every == 0:
                    self._validate(metrics, whole=self.step == config.steps)
                if last or self.step % config.snapshot_every == 0:
                    self._check_replicas(self._need_arena().gather(_digest_words(self.params)))
                    if self.rank == 0:
                        self._save()
            # No rank leaves before rank 0's snapshot is on the disk.
            self._need_arena().barrier("write the last snapshot")
            return "interrupted" if self.step < config.steps else "finished"
        finally:
            if metrics is not None:
                metrics.close()

    def _one_step(self) -> tuple[dict[str, Any], bool]:
        """One update of the parameters; returns the step's metrics and whether a stop was asked for."""
        job, config, arena = self.job, self.job.config, self._need_arena()
        started = time.perf_counter()
        indices, order = take(self.order, config.global_batch, len(job.data))
        # A loss that draws from np.random gets the same numbers at this step whenever the run was resumed.
        np.random.seed([config.seed % 2**32, self.step, self.rank])
        batch = job.data.batch(shard(indices, self.rank, config.workers))
        value, grads = self._step_function(self.params, batch)
        report = self._step_function.report
        if report is not None:
            self._microbatch = report.microbatch
        computed = time.perf_counter()
        due = self.step % config.check_every == 0
        digest = _digest_words(self.params) if due else (0.0, 0.0)
        leaves, treedef = flatten(grads)
        # Without a budget nothing is measured; -1 stands for that among the numbers.
        peak, projected = (-1, -1) if report is None else (report.peak_bytes, report.projected_bytes)
        figures = (float(value), float(peak), float(projected), float(self._stop.is_set()))
        mean, gathered = arena.all_reduce(leaves, weight=config.worker_batch, scalars=digest + figures)
        del grads, leaves
        reduced = time.perf_counter()
        self._check_replicas(gathered[:, :2])
        losses = gathered[:, 2]
        self._check_finite(losses, "loss")
        mean_grads = unflatten(treedef, mean)
        if config.clip_norm is None:
            norm = global_norm(mean_grads)
        else:
            mean_grads, norm = clip_by_global_norm(mean_grads, config.clip_norm)
        self._check_finite(np.array([norm]), "gradient's norm")
        rate = job.rate(self.step)
        self.params, self.state = job.optimizer.update(self.params, mean_grads, self.state, rate)
        self.step, self.order = self.step + 1, order
        ended = time.perf_counter()
        row = {
            "step": self.step,
            "loss": float(losses.mean()),
            "tokens_per_second": config.global_batch * config.units / (ended - started),
            "budget_bytes": config.memory_budget,
            "projected_bytes": int(gathered[:, 4].max()) if report is not None else None,
            "peak_bytes": int(gathered[:, 3].max()) if report is not None else None,
            "rate": rate,
            "gradient_norm": norm,
            "microbatch": self._microbatch,
            "extra_work": report.extra_work if report is not None else None,
            "step_seconds": ended - started,
            "gradient_seconds": computed - started,
            "reduce_seconds": reduced - computed,
        }
        return row, bool(gathered[0, 5])

    def _validate(self, metrics: MetricsFile | None, *, whole: bool) -> None:
        """Evaluates this rank's part of the validation data (all of it, or an even sample) and records the
        means."""
        job, config = self.job, self.job.config
        if job.validation is None or job.evaluate is None:
            return
        total = len(job.validation)
        count = total if whole else min(total, config.validate_examples)
        chosen = np.arange(count, dtype=np.int64) * total // count
        mine = shard(chosen, self.rank, config.workers)
        piece = self._microbatch if isinstance(self._microbatch, int) else config.worker_batch
        sums: dict[str, float] = {}
        for start in range(0, len(mine), piece):
            indices = mine[start : start + piece]
            for name, mean in job.evaluate(self.params, job.validation.batch(indices)).items():
                sums[name] = sums.get(name, 0.0) + mean * len(indices)
            self._need_arena().beat()
        names = sorted(sums)
        gathered = self._need_arena().gather([float(len(mine)), *(sums[name] for name in names)])
        means = gathered[:, 1:].sum(axis=0) / gathered[:, 0].sum()
        row = {"step": self.step, **{name: float(mean) for name, mean in zip(names, means, strict=True)}}
        self._record({**row, "examples": count}, metrics)

    def _record(self, row: dict[str, Any], metrics: MetricsFile | None) -> None:
        if metrics is not None:
            metrics.write(row)
            self._rows.append(row)

    def _save(self) -> Path:
        config = self.job.config
        return snapshots.save(
            self.job.out / SNAPSHOT_FOLDER,
            snapshots.Snapshot(
                step=self.step,
                params=self.params,
                state=self.state,
                order=self.order.as_dict(),
                random={"seed": config.seed, "step": self.step},
                settings={
                    "workers": config.workers,
                    "global_batch": config.global_batch,
                    "memory_budget": config.memory_budget,
                    "microbatch": self._microbatch,
                    "optimizer": self.job.optimizer.name,
                },
            ),
            keep=config.keep,
        )

    def _check_finite(self, values: np.ndarray, what: str) -> None:
        bad = [(rank, value) for rank, value in enumerate(values.tolist()) if not np.isfinite(value)]
        if bad:
            where = ", ".join(f"{value} on worker {rank}" for rank, value in bad) if len(values) > 1 else f"{bad[0][1]}"
            raise NonFiniteLossError(
                f"step {self.step + 1}: the {what} is {where}; the parameters were not updated. Lower the "
                "rate, lengthen "
                "its warm-up, or look for a division by zero or an overflow in the loss"
            )

    def _check_replicas(self, digests: np.ndarray) -> None:
        different = [rank for rank in range(len(digests)) if (digests[rank] != digests[0]).any()]
        if different:
            raise ReplicaMismatchError(
                f"after step {self.step} the parameters of workers {different} differ from worker 0's; a "
                "loss that "
                "writes into the parameters, or an update that depends on the worker, does this"
            )

    def _need_arena(self) -> Arena:
        if self._arena is None:
            raise RunError("the worker has not joined an arena")
        return self._arena


def _digest_words(params: Any) -> tuple[float, float]:
    """A checksum of paths and bytes, as two whole numbers below 2**32 that a float64 carries exactly."""
    digest = hashlib.blake2b(digest_size=8)
    paths, leaves, _ = flatten_with_paths(params)
    for path, leaf in zip(paths, leaves, strict=True):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(leaf).data)
    word = int.from_bytes(digest.digest(), "little")
    return float(word >> 32), float(word & 0xFFFFFFFF)


def _resumed_microbatch(config: TrainConfig, settings: Mapping[str, Any]) -> int | str:
    """The microbatch that the snapshot's run had settled on, where "auto" would ask the same question
    again."""
    same = all(settings.get(name) == getattr(config, name) for name in ("workers", "global_batch", "memory_budget"))
    if config.microbatch == "auto" and same:
        return settings.get("microbatch", "auto")
    return config.microbatch
