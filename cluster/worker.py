"""Makes one worker's part of a run: gradients of its shards, the all-reduce, the update, and the first rank's files.

The class is plain Python; the driver makes a Ray actor of it. Its loop is its own: the driver asks nothing of it per step,
and only reads rows, asks for a sign of life and sets flags from other threads of the actor. A worker belongs to one
formation of workers at a time; when that ends, because another worker died or more want to join, it keeps its state and
waits for the next.
"""

import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..runtime.trees import flatten, map_leaves, unflatten
from ..scheduler.microbatch import accumulate
from ..scheduler.planning import plan
from . import snapshot as snapshots
from .comm.group import Formation, Group
from .comm.layout import Layout
from .comm.mesh import Address, listen
from .data import Feed, Order, check_length, fetch, take
from .engine import end_when_told, whereabouts
from .errors import AbortedError, DeadlineError, MessageError, RunError
from .fingerprint import fingerprint, parameters
from .gradients import Gradients
from .job import Failure, Job, Outcome, Pulse, Ready, State
from .optimizers import clipped, global_norm
from .patience import Patience
from .processes import own_process
from .rows import Row, Rows
from .saving import Saver
from .sharding import SHARED_SLOTS, Shards
from .shards import by_shard, cut
from .tables import Tables
from .verdicts import (
    check_best,
    check_data,
    check_names,
    check_replicas,
    check_together,
    check_used_rows,
    digest_words,
    name_word,
    nonfinite,
)

_INTERRUPT, _REGROUP = 2, 1
# Figures that every rank tells of each step, before those of its shards; and the most names that `evaluate` may return.
_STEP_COLUMNS, _NAMES = 8, 16


class Worker:
    """One worker of a run. ``prepare`` makes or loads the training state, ``run`` trains in a formation until it ends."""

    def __init__(self, job: Job) -> None:
        """Holds the job; nothing is computed yet."""
        end_when_told()
        self.job = job
        self.step = 0
        self._process = own_process()
        self._node, self._host = whereabouts()
        self._stop = 0
        self._called_off = -1
        self._generation = -1
        self._group: Group | None = None
        self._gradients: Gradients | None = None
        self._shards: Shards | None = None
        self._listener: socket.socket | None = None
        self._rows = Rows(job.out)
        self._saver = Saver(job, self._warn)
        self._is_whole = True
        self._kept_bytes = 0  # of parameters and optimizer state that are this worker's own
        self._phase = "starting"

    def prepare(self, resume: snapshots.Where | None = None) -> Ready:
        """Makes the parameters and optimizer state, or loads the snapshot ``resume`` (else the job's).

        Raises ``SnapshotError`` for a bad snapshot and ``RunError`` for parameters that cannot be trained.
        """
        job, config = self.job, self.job.config
        self._is_whole = True
        params = job.init(config.seed)
        made = parameters(params)
        state = job.optimizer.init(params)
        self.step, self.order = 0, Order(config.seed)
        self._examples = len(job.data)
        self._microbatch: int | str = config.microbatch
        # The step after which all that follows a step (validation, a snapshot) was done.
        self.after_step = -1
        saved: Mapping[str, Any] = {}
        resume = resume or job.resume
        if resume is not None:
            loaded = snapshots.load(resume, params_like=params, state_like=state)
            snapshots.check_same_run(loaded, resume, optimizer=job.optimizer.name, examples=self._examples)
            params, state, self.step, saved = loaded.params, loaded.state, loaded.step, loaded.settings
            self.order, self.after_step = Order(**loaded.order), loaded.step
            if config.shards is None:
                config = replace(config, shards=saved.get("shards"))
            if config.microbatch == "auto":
                self._microbatch = saved.get("microbatch") or "auto"
        self.config = replace(config, shards=config.shard_count)
        # Copies of plain arrays: the update writes in place, and `init` may return views or read-only arrays.
        leaves, treedef = flatten(params)
        self.params = unflatten(treedef, [np.array(leaf, order="C") for leaf in leaves])
        self.state = state
        self._tables: Tables | None = None
        if job.used_rows is not None:
            self._tables = Tables.of(job.loss, job.used_rows, self.params, job.data, self.config)
        self.layout = Layout.of(flatten(self.params)[0]) if self._tables is None else self._tables.layout(self.params)
        self._rows.keep_until(self.step)
        self._scores: dict[str, float] = {}
        self._patience = Patience.of(saved.get("patience"))
        return Ready(self._process, self._node, self._host, fingerprint(), self.step, self.config.shard_count, made)

    def listen(self) -> Address:
        """Where other nodes reach this worker when it is the first of its node."""
        if self._listener is None:
            self._listener = listen(self._host)
        host, port = self._listener.getsockname()[:2]
        return host, port

    def run(self, formation: Formation, rank: int, shrink: bool = False, *addresses: Address) -> Outcome:
        """Trains as ``rank`` of a formation; failures come back inside the outcome.

        With ``shrink``, the microbatches are made smaller first, for one worker ran out of memory. ``addresses`` is where the
        nodes' first ranks listen. A formation that is older than one seen before is refused.
        """
        formation = replace(formation, addresses=addresses)
        generation = formation.generation
        self.rank, status = rank, "failed"
        try:
            if generation <= self._generation:
                raise AbortedError(f"generation {generation} is over: this worker has seen generation {self._generation}")
            self._generation, self._stop = generation, 0
            if shrink:
                self._microbatch = self._smaller_microbatch()
            step = accumulate(self._loss, microbatch=self._microbatch, memory_budget=self.config.memory_budget)
            most = max(end - start for start, end in formation.runs)
            self._group = Group(
                formation,
                rank,
                self.layout,
                figures=max(_STEP_COLUMNS + most * (1 + _NAMES), len(self.layout.places)),
                shared=SHARED_SLOTS if self._is_sharded(formation) else 0,
                listener=self._listener,
                is_called_off=lambda: generation <= self._called_off,
            )
            self._gradients = Gradients(step, self._group, seed=self.config.seed)
            status = self._train(self._group, self._gradients)
            return Outcome(rank, status, self.step)
        except Exception as error:
            if self._group is not None:
                self._group.abort()
            # A message that was damaged on its way, or that is none of this run's, costs a new formation and no more.
            status = "aborted" if isinstance(error, AbortedError | DeadlineError | MessageError) else "failed"
            # The others' parts of the optimizer state may be gone.
            self._is_whole = self._is_whole and self._shards is None
            return Outcome(rank, status, self.step, Failure.of(error, traceback.format_exc()), self._is_whole)
        finally:
            if status not in ("aborted", "regrouped"):
                self._saver.close()
            self._rows.close()
            if self._gradients is not None:
                self._gradients.close()
            if self._group is not None:
                self._group.close()
            if self._shards is not None:
                self.params, self._shards = map_leaves(np.array, self.params), None
            self._group = self._gradients = None

    def rows(self, step: int) -> tuple[Row, ...]:
        """The metrics rows of ``step`` and the steps after it, as far as this worker still has them."""
        return self._rows.since(step)

    def pulse(self) -> Pulse:
        """A sign of life."""
        return Pulse(self._process, self._node, self.step, self._phase)

    def stop(self) -> None:
        """Asks for an end after the step in progress, with a snapshot; every rank stops at the same step."""
        self._stop = _INTERRUPT

    def regroup(self) -> None:
        """Asks for an end of the formation after the step in progress, so that workers can join or leave."""
        self._stop = max(self._stop, _REGROUP)

    def call_off(self, generation: int) -> None:
        """Ends the formations up to ``generation`` now: another worker is gone."""
        self._called_off = max(self._called_off, generation)

    def hand_over(self) -> State:
        """All that another worker needs to go on from here."""
        if not self._is_whole:
            raise RunError("this worker was stopped in the middle of an update: its state is not to be used")
        return State(
            step=self.step,
            after_step=self.after_step,
            params=flatten(self.params)[0],
            state=None if self.state is None else flatten(self.state)[0],
            order=self.order.as_dict(),
            microbatch=self._microbatch,
            rows=self._rows.since(0),
            patience=self._patience,
        )

    def take_over(self, given: State) -> int:
        """Makes another worker's state this one's own; returns its step."""
        for place, leaf in zip(flatten(self.params)[0], given.params, strict=True):
            np.copyto(place, leaf)
        treedef = flatten(self.job.optimizer.init(self.params))[1]
        self.state = None if given.state is None else unflatten(treedef, [np.array(leaf) for leaf in given.state])
        self.step, self.after_step, self.order = given.step, given.after_step, Order(**given.order)
        self._microbatch, self._is_whole, self._patience = given.microbatch, True, given.patience
        self._rows.take_over(given.rows)
        return self.step

    def _train(self, group: Group, gradients: Gradients) -> str:
        self._muster(group)
        self._take_state(group)
        config = self.config
        with Feed(
            self.job.data,
            self._wanted(group),
            ahead_bytes=config.ahead_bytes,
            deadline_seconds=config.deadline_seconds / 2,
        ) as feed:
            return self._steps(group, gradients, feed)

    def _steps(self, group: Group, gradients: Gradients, feed: Feed) -> str:
        if self.rank == 0:
            self._rows.open(self.step)
        while True:
            if self.after_step < self.step:
                self._after_step(group, is_last=self.step >= self.config.steps)
            if self.step >= self.config.steps:
                return "finished"
            if self._patience.is_out(self.config.patience):
                return "stopped early"
            row, stop = self._one_step(group, gradients, feed)
            self._rows.record(row)
            self._saver.tell_news()
            if stop == _INTERRUPT:
                self._after_step(group, is_last=True)
                return "interrupted" if self.step < self.config.steps else "finished"
            if stop == _REGROUP:
                if self._shards is not None:
                    self._save(group, is_last=True)
                return "regrouped"

    def _muster(self, group: Group) -> None:
        """Agrees on where to go on: all must have done the same steps, and what follows a step is done again by all."""
        table = group.finish((float(self.step), float(self.after_step), *digest_words(self.params), float(self._examples)))
        check_together(table[:, 0])
        check_data(table[:, 4])
        check_replicas(table[:, 2:4], self.step)
        self.after_step = int(table[:, 1].min())

    def _is_sharded(self, formation: Formation) -> bool:
        return self.config.shard_optimizer and formation.world > 1

    def _take_state(self, group: Group) -> None:
        """Has the optimizer state, or this rank's part of it, that the formation needs."""
        if self.state is None:
            # It was sharded in another way: when a formation ends so that workers can join or leave, a snapshot has it.
            like = self.job.optimizer.init(self.params)
            file = snapshots.of_step(self.job.snapshot_folder, self.step)
            self.state = snapshots.load(file, params_like=self.params, state_like=like).state
        if self._is_sharded(group.formation):
            self._shards = Shards(self.job.optimizer, group, self.params, self.state)
            self.params, self.state = self._shards.params, None
            self._kept_bytes = self._shards.state_bytes
        else:
            self._kept_bytes = sum(np.asarray(leaf).nbytes for leaf in flatten((self.params, self.state))[0])

    def _wanted(self, group: Group) -> Iterator[np.ndarray]:
        """The examples of this worker's shards, from where it stands, in the order in which it asks for them."""
        order, config = self.order, self.config
        while True:
            indices, order = take(order, config.global_batch, self._examples, last=config.last_batch)
            pieces = cut(indices, config.shard_count)
            yield from (pieces[put.shard] for put in group.puts if len(pieces[put.shard]))

    def _one_step(self, group: Group, gradients: Gradients, feed: Feed) -> tuple[Row, int]:
        """One update of the parameters; returns the step's metrics and whether a stop was asked for."""
        job, config = self.job, self.config
        started = time.perf_counter()
        self._phase = "gradients"
        check_length(job.data, self._examples)
        indices, order = take(self.order, config.global_batch, self._examples, last=config.last_batch)
        pieces = cut(indices, config.shard_count)
        waited = feed.data_seconds
        params = self._small(indices)
        if self._tables is not None:
            group.narrow(self._tables.rows)
        losses = gradients.compute(params, self.step, feed.next, pieces)
        report = gradients.report
        computed, self._phase = time.perf_counter(), "reducing"
        due = group.formation.world > 1 and self.step % config.check_every == 0
        digest = digest_words(self.params) if due else (0.0, 0.0)
        # Without a budget nothing is measured; -1 stands for that among the numbers.
        peak, projected = (-1, -1) if report is None else (report.peak_bytes, report.projected_bytes)
        gradients.reduce(len(pieces))
        held = max(peak, 0) + self._kept_bytes + self._saver.held_bytes + feed.held_bytes
        rows = 0 if self._tables is None else self._tables.checksum
        told = (*digest, peak, projected, self._stop, computed - started, held, rows)
        table = group.finish((*map(float, told), *losses))
        gradients.learn()
        reduced, self._phase = time.perf_counter(), "updating"
        check_replicas(table[:, :2], self.step)
        check_used_rows(table[:, 7])
        by_shards = by_shard(group.formation.runs, table[:, _STEP_COLUMNS:], 1)
        loss = sum(float(each[0]) * len(piece) for each, piece in zip(by_shards, pieces, strict=True)) / len(indices)
        rate, norm, is_skipped = job.rate(self.step), float("nan"), False
        mean_grads = unflatten(flatten(self.params)[1], group.result)
        problem = nonfinite(self.step, loss, "loss", config.loss_limit)
        if problem is None:
            norm = global_norm(mean_grads)
            problem = nonfinite(self.step, norm, "gradient's norm")
        if problem is None:
            self._is_whole = False
            if self._shards is not None:
                self._shards.update(mean_grads, rate, norm, config.clip_norm)
            else:
                if config.clip_norm is not None:
                    mean_grads = clipped(mean_grads, norm, config.clip_norm)
                if self._tables is not None:
                    self.state = self._tables.update(job.optimizer, self.params, mean_grads, self.state, rate)
                else:
                    self.params, self.state = job.optimizer.update(self.params, mean_grads, self.state, rate)
        elif config.nonfinite == "stop":
            raise problem
        else:
            is_skipped = True
        self.step, self.order, self._is_whole = self.step + 1, order, True
        ended = time.perf_counter()
        row = {
            "step": self.step,
            "loss": loss,
            "tokens_per_second": len(indices) * config.units / (ended - started),
            "budget_bytes": config.memory_budget,
            "projected_bytes": int(table[:, 3].max()) if report is not None else None,
            "peak_bytes": int(table[:, 2].max()) if report is not None else None,
            # The first node's, but for what the process itself takes: its budgets, its shared memory and what it keeps.
            "host_bytes": int(table[: group.formation.nodes[0], 6].sum()) + group.arena.total_bytes if report else None,
            "rate": rate,
            "gradient_norm": norm,
            "microbatch": self._microbatch if report is None else report.microbatch,
            "extra_work": report.extra_work if report is not None else None,
            "step_seconds": ended - started,
            "gradient_seconds": computed - started,
            "reduce_seconds": reduced - computed,
            "data_seconds": feed.data_seconds - waited,
            "ahead_bytes": feed.held_bytes,
            "workers": group.formation.world,
            "gradient_bytes": sum(leaf.nbytes for leaf in group.result),
            "seconds_by_rank": [round(seconds, 6) for seconds in table[:, 5].tolist()],
        }
        return row | ({"skipped": True} if is_skipped else {}), int(table[:, 4].max())

    @property
    def _loss(self) -> Callable[[Any, Any], Any]:
        """What is differentiated, of what :meth:`_small` gives."""
        return self.job.loss if self._tables is None else self._tables.loss

    def _small(self, indices: np.ndarray) -> Any:
        """The parameters, or of those that travel by rows what the examples of a global batch use."""
        if self._tables is None:
            return self.params
        return self._tables.small(self.params, fetch(self.job.data, indices))

    def _smaller_microbatch(self) -> int:
        """The largest microbatch, by halves, that needs at most half the memory of the one in use by its plan."""
        rows = self._microbatch if isinstance(self._microbatch, int) else self.config.shard_batch
        indices, _ = take(self.order, self.config.global_batch, self._examples, last=self.config.last_batch)
        params = self._small(indices)

        def needed_bytes(count: int) -> int:
            batch = fetch(self.job.data, indices[:count])
            return plan(self._loss, params, batch, memory_budget=None).unbudgeted_peak_bytes

        if rows == 1:
            raise RunError(f"a worker ran out of memory with one example at a time, which needs {needed_bytes(1)} bytes")
        allowed, size = needed_bytes(rows) // 2, rows
        while size > 1:
            size = -(-size // 2)
            if needed_bytes(size) <= allowed:
                break
        return size

    def _after_step(self, group: Group, *, is_last: bool) -> None:
        """What follows a step: validation and a snapshot, where they are due."""
        config = self.config
        self._scores = {}
        if self.step and (is_last or self.step % config.validate_every == 0):
            self._validate(group, is_whole=self.step >= config.steps)
            is_last = is_last or self._patience.is_out(config.patience)
        if is_last or self.step % config.snapshot_every == 0:
            check_replicas(group.finish(digest_words(self.params))[:, :2], self.step)
            self._save(group, is_last=is_last)
        if is_last:
            # Whoever is left when the first rank is lost must know whether the last snapshot is on the disk.
            group.finish()
        self.after_step = self.step

    def _validate(self, group: Group, *, is_whole: bool) -> None:
        """Evaluates this rank's shards of the validation data (all of it, or an even sample) and records the means."""
        job, config = self.job, self.config
        if job.validation is None or job.evaluate is None:
            return
        self._phase = "validating"
        total = len(job.validation)
        count = total if is_whole else min(total, config.validate_examples)
        chosen = np.arange(count, dtype=np.int64) * total // count
        pieces = cut(chosen, config.shard_count)
        size = self._microbatch if isinstance(self._microbatch, int) else config.shard_batch
        names: list[str] = []
        figures: list[float] = []
        for put in group.puts:
            # A shard without examples looks at one for the names, and counts it for nothing.
            piece, weight = (pieces[put.shard], 1) if len(pieces[put.shard]) else (chosen[:1], 0)
            sums: dict[str, float] = {}
            for start in range(0, len(piece), size):
                indices = piece[start : start + size]
                for name, mean in job.evaluate(self.params, fetch(job.validation, indices)).items():
                    sums[name] = sums.get(name, 0.0) + float(mean) * len(indices) * weight
                group.beat()
            names = sorted(sums)
            if len(names) > _NAMES:
                raise RunError(f"evaluate returned {len(names)} figures ({', '.join(names)}); a run records at most {_NAMES}")
            figures += [sums[name] for name in names] + [0.0] * (_NAMES - len(names))
        table = group.finish((name_word(names), *figures))
        check_names(table[:, 0], names, self.rank)
        check_best(self.config.best, names)
        means = np.sum(by_shard(group.formation.runs, table[:, 1:], _NAMES), axis=0) / count
        row = {name: float(mean) for name, mean in zip(names, means[: len(names)], strict=True)}
        self._scores = row
        # One that an interruption brings about is not counted: the run that is resumed must stop where it would have.
        if config.best is not None and self.step % config.validate_every == 0:
            self._patience = self._patience.after(self.step, row, snapshots.Best.of(config.best), min_delta=config.min_delta)
        self._rows.record({"step": self.step, **row, "examples": count})

    def _save(self, group: Group, *, is_last: bool) -> None:
        """Has this worker's share of a snapshot written in the background."""
        self._phase = "saving"
        group.check()  # a rank that was replaced while it stood still must not write over what its successors wrote
        config, formation = self.config, group.formation
        state = self.state if self._shards is None else self._shards.whole_state()
        self._saver.save(
            snapshots.Share(self.rank, formation.world, f"{formation.generation}_{formation.token[:8]}"),
            is_last=is_last,
            check=group.check,
            step=self.step,
            params=self.params,
            state=state,
            order=self.order.as_dict(),
            random={"seed": config.seed, "step": self.step},
            settings={
                "workers": formation.world,
                "shards": config.shard_count,
                "global_batch": config.global_batch,
                "memory_budget": config.memory_budget,
                "microbatch": self._microbatch,
                "optimizer": self.job.optimizer.name,
                "examples": self._examples,
                "patience": self._patience.as_list(),
            },
            scores=self._scores,
        )
        if self._shards is not None:
            group.finish()  # each has its copy: the memory in which the state was put together is free again

    def _warn(self, sentence: str) -> None:
        self._rows.record({"step": self.step, "warning": sentence})
