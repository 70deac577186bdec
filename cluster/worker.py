"""Makes one worker's part of a run: its training state, and what it does in one formation of workers after the other.

The class is plain Python; the driver makes a Ray actor of it. Its loop is its own: the driver asks nothing of it per step,
and only reads rows, asks for a sign of life and sets flags from other threads of the actor. A worker belongs to one
formation of workers at a time; when that ends, because another worker died or more want to join, it keeps its state and
waits for the next.
"""

import socket
import traceback
from dataclasses import replace

from ..scheduler.microbatch import accumulate
from . import snapshot as snapshots
from .comm.formation import Formation
from .comm.group import Group
from .comm.mesh import Address, listen
from .engine import make_own, whereabouts
from .errors import AbortedError, DeadlineError, MessageError, no_exit
from .fingerprint import fingerprint
from .gradients import Gradients
from .host import free_bytes
from .job import Failure, Job, Outcome, Pulse, Ready, State
from .processes import own_process
from .replica import Replica
from .rows import Row, Rows
from .saving import Saver
from .sharding import SHARED_SLOTS
from .training import INTERRUPT, REGROUP, Training, figure_count, is_sharded


class Worker:
    """One worker of a run. ``prepare`` makes or loads the training state, ``run`` trains in a formation until it ends."""

    def __init__(self, job: Job) -> None:
        """Holds the job; nothing is computed yet."""
        make_own(has_budget=job.config.memory_budget is not None)
        self.job = job
        self._process = own_process()
        self._node, self._host = whereabouts()
        self._stop = 0
        self._called_off = -1
        self._generation = -1
        self._replica: Replica | None = None
        self._training: Training | None = None
        self._listener: socket.socket | None = None
        self._rows = Rows(job.out)
        self._saver = Saver(job, lambda sentence: self._rows.record({"step": self.replica.step, "warning": sentence}))

    @property
    def replica(self) -> Replica:
        """The training state, which is there once the worker is prepared."""
        assert self._replica is not None
        return self._replica

    def prepare(self, resume: snapshots.Where | None = None) -> Ready:
        """Makes the parameters and optimizer state, or loads the snapshot ``resume`` (else the job's).

        Raises ``SnapshotError`` for a bad snapshot and ``RunError`` for parameters that cannot be trained.
        """
        with no_exit():
            replica = self._replica = Replica.of(self.job, resume or self.job.resume)
        self._rows.keep_until(replica.step)
        shards = replica.config.shard_count
        place = self._process, self._node, self._host
        return Ready(*place, fingerprint(), replica.step, shards, replica.made, free_bytes())

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
        generation, replica, config = formation.generation, self.replica, self.replica.config
        group: Group | None = None
        gradients: Gradients | None = None
        training: Training | None = None
        status = "failed"
        try:
            if generation <= self._generation:
                raise AbortedError(f"generation {generation} is over: this worker has seen generation {self._generation}")
            self._generation, self._stop = generation, 0
            if shrink:
                replica.shrink(self.job)
            step = accumulate(replica.loss(self.job), microbatch=replica.microbatch, memory_budget=config.memory_budget)
            layout = replica.layout
            group = Group(
                formation,
                rank,
                layout,
                figures=figure_count(formation, layout),
                shared=SHARED_SLOTS if is_sharded(config, formation) else 0,
                listener=self._listener,
                is_called_off=lambda: generation <= self._called_off,
            )
            gradients = Gradients(step, group, seed=config.seed)
            means = {"rows": self._rows, "saver": self._saver, "stop": lambda: self._stop}
            self._training = training = Training(self.job, replica, group, gradients, **means)
            with no_exit():
                status = training.run()
            return Outcome(rank, status, replica.step)
        except Exception as error:
            if group is not None:
                group.abort()
            # A message that was damaged on its way, or that is none of this run's, costs a new formation and no more.
            status = "aborted" if isinstance(error, AbortedError | DeadlineError | MessageError) else "failed"
            if training is not None and training.shares_state:
                replica.is_whole = False  # the others' parts of the optimizer state may be gone
            return Outcome(rank, status, replica.step, Failure.of(error, traceback.format_exc()), replica.is_whole)
        finally:
            if status not in ("aborted", "regrouped"):
                self._saver.close()
            self._rows.close()
            if gradients is not None:
                gradients.close()
            if group is not None:
                group.close()
            if training is not None:
                training.close()
                self._training = None

    def rows(self, step: int) -> tuple[Row, ...]:
        """The metrics rows of ``step`` and the steps after it, as far as this worker still has them."""
        return self._rows.since(step)

    def pulse(self, rows_of: int | None = None) -> Pulse:
        """A sign of life, with the metrics rows of step ``rows_of`` and the steps after it."""
        replica, training = self._replica, self._training
        if replica is None:
            return Pulse(self._process, self._node, 0, "starting")
        rows = () if rows_of is None else self.rows(rows_of)
        return Pulse(self._process, self._node, replica.step, "waiting" if training is None else training.phase, rows)

    def stop(self) -> None:
        """Asks for an end after the step in progress, with a snapshot; every rank stops at the same step."""
        self._stop = INTERRUPT

    def regroup(self) -> None:
        """Asks for an end of the formation after the step in progress, so that workers can join or leave."""
        self._stop = max(self._stop, REGROUP)

    def call_off(self, generation: int) -> None:
        """Ends the formations up to ``generation`` now: another worker is gone."""
        self._called_off = max(self._called_off, generation)

    def hand_over(self) -> State:
        """All that another worker needs to go on from here."""
        return self.replica.hand_over(self._rows.since(0))

    def take_over(self, given: State) -> int:
        """Makes another worker's state this one's own; returns its step."""
        self.replica.take_over(self.job, given)
        self._rows.take_over(given.rows)
        return self.replica.step
