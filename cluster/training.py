"""Makes one worker's steps in one formation: gradients of its shards, the sum, the update, and what follows a step."""

import time
from collections.abc import Callable, Iterator

import numpy as np

from ..runtime.trees import flatten, map_leaves, unflatten
from . import snapshot as snapshots
from .comm.formation import Formation
from .comm.group import Group
from .comm.layout import Layout
from .data import Feed, check_length, take
from .errors import NonFiniteLossError
from .gradients import Gradients
from .job import Job, TrainConfig
from .optimizers import clipped, global_norm, rate_at
from .replica import Replica
from .rows import Row, Rows
from .saving import Saver
from .sharding import Shards
from .shards import by_shard, cut
from .told import COLUMNS, Told
from .validating import MOST_NAMES, validated
from .verdicts import check_data, check_replicas, check_together, check_used_rows, digest_words, nonfinite

INTERRUPT, REGROUP = 2, 1


def figure_count(formation: Formation, layout: Layout) -> int:
    """How many figures a rank tells the others at once, at most."""
    most = max(end - start for start, end in formation.runs)
    return max(COLUMNS + most * (1 + MOST_NAMES), len(layout.places))


def is_sharded(config: TrainConfig, formation: Formation) -> bool:
    """Whether the formation's workers share the optimizer state out."""
    return config.shard_optimizer and formation.world > 1


class Training:
    """What a worker does in one formation; ``phase`` is what it does now."""

    def __init__(
        self,
        job: Job,
        replica: Replica,
        group: Group,
        gradients: Gradients,
        *,
        rows: Rows,
        saver: Saver,
        stop: Callable[[], int],
    ) -> None:
        """Takes no step yet. ``stop()`` is asked in each step for REGROUP, INTERRUPT or nothing (0)."""
        self.job, self.replica, self.config = job, replica, replica.config
        self.phase = "starting"
        self._group, self._gradients, self._rows, self._saver, self._stop = group, gradients, rows, saver, stop
        self._shards: Shards | None = None
        self._kept_bytes = 0  # of parameters and optimizer state that are this worker's own
        self._scores: dict[str, float] = {}

    def run(self) -> str:
        """Trains until the run or the formation ends; returns the outcome's status. Raises what the steps raise."""
        self._muster()
        self._take_state()
        config = self.config
        with Feed(
            self.job.data,
            self._wanted(),
            ahead_bytes=config.ahead_bytes,
            deadline_seconds=config.deadline_seconds / 2,
        ) as feed:
            return self._steps(feed)

    def close(self) -> None:
        """Gives the replica parameters of its own, where they were in shared memory."""
        if self._shards is not None:
            self.replica.params, self._shards = map_leaves(np.array, self.replica.params), None

    @property
    def shares_state(self) -> bool:
        """Whether this rank has its part of the optimizer state only."""
        return self._shards is not None

    def _steps(self, feed: Feed) -> str:
        replica, config = self.replica, self.config
        if self._group.rank == 0:
            self._rows.open(replica.step)
        while True:
            if replica.after_step < replica.step:
                self._after_step(is_last=replica.step >= config.steps)
            if replica.step >= config.steps:
                return "finished"
            if replica.patience.is_out(config.patience):
                return "stopped early"
            row, stop = self._one_step(feed)
            self._rows.record(row)
            self._saver.tell_news()
            if stop == INTERRUPT:
                self._after_step(is_last=True)
                return "interrupted" if replica.step < config.steps else "finished"
            if stop == REGROUP:
                if self._shards is not None:
                    self._save(is_last=True)
                return "regrouped"

    def _muster(self) -> None:
        """Agrees on where to go on: all must have done the same steps, and what follows a step is done again by all."""
        replica = self.replica
        known = float(replica.step), float(replica.after_step), *digest_words(replica.params), float(replica.examples)
        table = self._group.finish(known)
        check_together(table[:, 0])
        check_data(table[:, 4])
        check_replicas(table[:, 2:4], replica.step)
        replica.after_step = int(table[:, 1].min())

    def _take_state(self) -> None:
        """Has the optimizer state, or this rank's part of it, that the formation needs."""
        replica, optimizer = self.replica, self.job.optimizer
        if replica.state is None:
            # It was sharded in another way: when a formation ends so that workers can join or leave, a snapshot has it.
            like = optimizer.init(replica.params)
            file = snapshots.of_step(self.job.snapshot_folder, replica.step)
            replica.state = snapshots.load(file, params_like=replica.params, state_like=like).state
        if is_sharded(self.config, self._group.formation):
            self._shards = Shards(optimizer, self._group, replica.params, replica.state)
            replica.params, replica.state = self._shards.params, None
            self._kept_bytes = self._shards.state_bytes
        else:
            self._kept_bytes = sum(np.asarray(leaf).nbytes for leaf in flatten((replica.params, replica.state))[0])

    def _wanted(self) -> Iterator[np.ndarray]:
        """The examples of this worker's shards, from where it stands, in the order in which it asks for them."""
        order, config = self.replica.order, self.config
        while True:
            indices, order = take(order, config.global_batch, self.replica.examples, last=config.last_batch)
            pieces = cut(indices, config.shard_count)
            yield from (pieces[put.shard] for put in self._group.puts if len(pieces[put.shard]))

    def _one_step(self, feed: Feed) -> tuple[Row, int]:
        """One update of the parameters; returns the step's metrics and whether a stop was asked for."""
        job, config, replica, group, gradients = self.job, self.config, self.replica, self._group, self._gradients
        started = time.perf_counter()
        self.phase = "gradients"
        check_length(job.data, replica.examples)
        indices, order = take(replica.order, config.global_batch, replica.examples, last=config.last_batch)
        pieces = cut(indices, config.shard_count)
        waited, tables = feed.data_seconds, replica.tables
        params = replica.small(job, indices)
        if tables is not None:
            group.narrow(tables.rows)
        losses = gradients.compute(params, replica.step, feed.next, pieces)
        report = gradients.report
        computed, self.phase = time.perf_counter(), "reducing"
        due = group.formation.world > 1 and replica.step % config.check_every == 0
        digest = digest_words(replica.params) if due else (0.0, 0.0)
        peak, projected = (-1, -1) if report is None else (report.peak_bytes, report.projected_bytes)
        gradients.reduce(len(pieces))
        held = max(peak, 0) + self._kept_bytes + self._saver.held_bytes + feed.held_bytes
        mine = Told(
            *digest, peak, projected, self._stop(), computed - started, held, 0 if tables is None else tables.checksum
        )
        table = group.finish((*mine, *losses))
        gradients.learn()
        reduced, self.phase = time.perf_counter(), "updating"
        told = Told.by_all(table)
        check_replicas(told.digests, replica.step)
        check_used_rows(told.rows_checksum)
        by_shards = by_shard(group.formation.runs, table[:, COLUMNS:], 1)
        loss = sum(float(each[0]) * len(piece) for each, piece in zip(by_shards, pieces, strict=True)) / len(indices)
        rate = rate_at(job.rate, replica.step)
        norm, problem = self._update(loss, rate)
        if problem is not None and config.nonfinite == "stop":
            raise problem
        replica.step, replica.order, replica.is_whole = replica.step + 1, order, True
        ended = time.perf_counter()
        row = {
            "step": replica.step,
            "loss": loss,
            "tokens_per_second": len(indices) * config.units / (ended - started),
            "budget_bytes": config.memory_budget,
            **told.row(group, report),
            "rate": rate,
            "gradient_norm": norm,
            "microbatch": replica.microbatch if report is None else report.microbatch,
            "extra_work": report.extra_work if report is not None else None,
            "step_seconds": ended - started,
            "gradient_seconds": computed - started,
            "reduce_seconds": reduced - computed,
            "data_seconds": feed.data_seconds - waited,
            "ahead_bytes": feed.held_bytes,
            "workers": group.formation.world,
            "gradient_bytes": sum(leaf.nbytes for leaf in group.result),
        }
        return row | ({} if problem is None else {"skipped": True}), int(told.stop.max())

    def _update(self, loss: float, rate: float) -> tuple[float, NonFiniteLossError | None]:
        """Updates the parameters with the mean gradient, unless it or the ``loss`` is not finite; returns its norm."""
        replica, config = self.replica, self.config
        problem = nonfinite(replica.step, loss, "loss", config.loss_limit)
        if problem is not None:
            return float("nan"), problem
        mean_grads = unflatten(flatten(replica.params)[1], self._group.result)
        norm = global_norm(mean_grads)
        problem = nonfinite(replica.step, norm, "gradient's norm")
        if problem is not None:
            return norm, problem
        replica.is_whole = False
        if self._shards is not None:
            self._shards.update(mean_grads, rate, norm, config.clip_norm)
            return norm, None
        if config.clip_norm is not None:
            mean_grads = clipped(mean_grads, norm, config.clip_norm)
        params, state, optimizer = replica.params, replica.state, self.job.optimizer
        if replica.tables is not None:
            replica.state = replica.tables.update(optimizer, params, mean_grads, state, rate)
        else:
            replica.params, replica.state = optimizer.update(params, mean_grads, state, rate)
        return norm, None

    def _after_step(self, *, is_last: bool) -> None:
        """What follows a step: validation and a snapshot, where they are due."""
        replica, config, group = self.replica, self.config, self._group
        self._scores = {}
        if replica.step and (is_last or replica.step % config.validate_every == 0):
            self._validate(is_whole=replica.step >= config.steps)
            is_last = is_last or replica.patience.is_out(config.patience)
        if is_last or replica.step % config.snapshot_every == 0:
            check_replicas(group.finish(digest_words(replica.params))[:, :2], replica.step)
            self._save(is_last=is_last)
        if is_last:
            # Whoever is left when the first rank is lost must know whether the last snapshot is on the disk.
            group.finish()
        replica.after_step = replica.step

    def _validate(self, *, is_whole: bool) -> None:
        """Evaluates the validation data, if there are any, and records the means."""
        if self.job.validation is None or self.job.evaluate is None:
            return
        replica, config = self.replica, self.config
        self.phase = "validating"
        self._scores, count = validated(self.job, replica, self._group, is_whole=is_whole)
        # One that an interruption brings about is not counted: the run that is resumed must stop where it would have.
        if config.best is not None and replica.step % config.validate_every == 0:
            rule = snapshots.Best.of(config.best)
            replica.patience = replica.patience.after(replica.step, self._scores, rule, min_delta=config.min_delta)
        self._rows.record({"step": replica.step, **self._scores, "examples": count})

    def _save(self, *, is_last: bool) -> None:
        """Has this worker's share of a snapshot written in the background."""
        self.phase = "saving"
        group, replica, config = self._group, self.replica, self.config
        group.check()  # a rank that was replaced while it stood still must not write over what its successors wrote
        formation = group.formation
        state = replica.state if self._shards is None else self._shards.whole_state()
        self._saver.save(
            snapshots.Share(group.rank, formation.world, f"{formation.generation}_{formation.token[:8]}"),
            is_last=is_last,
            check=group.check,
            step=replica.step,
            params=replica.params,
            state=state,
            order=replica.order.as_dict(),
            random={"seed": config.seed, "step": replica.step},
            settings={
                "workers": formation.world,
                "shards": config.shard_count,
                "global_batch": config.global_batch,
                "memory_budget": config.memory_budget,
                "microbatch": replica.microbatch,
                "optimizer": self.job.optimizer.name,
                "examples": replica.examples,
                "patience": replica.patience.as_list(),
            },
            scores=self._scores,
        )
        if self._shards is not None:
            group.finish()  # each has its copy: the memory in which the state was put together is free again
