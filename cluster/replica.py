"""Makes one worker's training state: begun from the user's ``init``, loaded from a snapshot, or taken over from another."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..runtime.trees import flatten, map_leaves, unflatten
from ..scheduler.planning import plan
from . import snapshot as snapshots
from .comm.layout import Layout
from .data import Order, fetch, take
from .errors import RunError
from .fingerprint import parameters
from .job import Job, State, TrainConfig
from .patience import Patience
from .rows import Row
from .tables import Tables


@dataclass
class Replica:
    """What all workers of a run have alike after ``step``: parameters, optimizer state, the place in the data.

    ``after_step`` is the step after which all that follows a step (validation, a snapshot) was done. Unless ``is_whole``,
    an update was interrupted. ``state`` is ``None`` while the workers share it out, ``made`` tells what ``init`` made.
    """

    config: TrainConfig
    params: Any
    state: Any
    step: int
    after_step: int
    order: Order
    microbatch: int | str
    patience: Patience
    examples: int
    tables: Tables | None
    made: dict[str, str]
    is_whole: bool = True

    @staticmethod
    def of(job: Job, resume: snapshots.Where | None) -> "Replica":
        """The state at a run's beginning, or that of the snapshot ``resume``.

        Raises ``SnapshotError`` for a bad snapshot and ``RunError`` for parameters that cannot be trained.
        """
        config, examples = job.config, len(job.data)
        params = job.init(config.seed)
        made = parameters(params)
        state = job.optimizer.init(params)
        step, after_step, order = 0, -1, Order(config.seed)
        saved: Mapping[str, Any] = {}
        microbatch: int | str = config.microbatch
        if resume is not None:
            loaded = snapshots.load(resume, params_like=params, state_like=state)
            snapshots.check_same_run(loaded, resume, optimizer=job.optimizer.name, examples=examples)
            params, state, step, saved = loaded.params, loaded.state, loaded.step, loaded.settings
            order, after_step = Order(**loaded.order), step
            if config.shards is None:
                config = replace(config, shards=saved.get("shards"))
            if microbatch == "auto":
                microbatch = saved.get("microbatch") or "auto"
        config = replace(config, shards=config.shard_count)
        # Copies of plain arrays: the update writes in place, and `init` may return views or read-only arrays.
        params = map_leaves(lambda leaf: np.array(leaf, order="C"), params)
        tables = Tables.of(job.loss, job.used_rows, params, job.data, config) if job.used_rows is not None else None
        patience = Patience.of(saved.get("patience"))
        return Replica(config, params, state, step, after_step, order, microbatch, patience, examples, tables, made)

    @property
    def layout(self) -> Layout:
        """Where the gradients lie."""
        return Layout.of(flatten(self.params)[0]) if self.tables is None else self.tables.layout(self.params)

    def hand_over(self, rows: tuple[Row, ...]) -> State:
        """All that another worker needs to go on from here, with the newest ``rows`` of the metrics."""
        if not self.is_whole:
            raise RunError("this worker was stopped in the middle of an update: its state is not to be used")
        return State(
            step=self.step,
            after_step=self.after_step,
            params=flatten(self.params)[0],
            state=None if self.state is None else flatten(self.state)[0],
            order=self.order.as_dict(),
            microbatch=self.microbatch,
            rows=rows,
            patience=self.patience,
        )

    def take_over(self, job: Job, given: State) -> None:
        """Becomes the same as another worker's."""
        for place, leaf in zip(flatten(self.params)[0], given.params, strict=True):
            np.copyto(place, leaf)
        treedef = flatten(job.optimizer.init(self.params))[1]
        self.state = None if given.state is None else unflatten(treedef, [np.array(leaf) for leaf in given.state])
        self.step, self.after_step, self.order = given.step, given.after_step, Order(**given.order)
        self.microbatch, self.is_whole, self.patience = given.microbatch, True, given.patience

    def loss(self, job: Job) -> Callable[[Any, Any], Any]:
        """What is differentiated, of what :meth:`small` gives."""
        return job.loss if self.tables is None else self.tables.loss

    def small(self, job: Job, indices: np.ndarray) -> Any:
        """The parameters, or of those that travel by rows what the examples of a global batch use."""
        if self.tables is None:
            return self.params
        return self.tables.small(self.params, fetch(job.data, indices))

    def shrink(self, job: Job) -> None:
        """Makes the microbatch the largest, by halves, that needs at most half the memory of the one in use by its plan."""
        rows = self.microbatch if isinstance(self.microbatch, int) else self.config.shard_batch
        indices, _ = take(self.order, self.config.global_batch, self.examples, last=self.config.last_batch)
        params = self.small(job, indices)

        def needed_bytes(count: int) -> int:
            batch = fetch(job.data, indices[:count])
            return plan(self.loss(job), params, batch, memory_budget=None).unbudgeted_peak_bytes

        if rows == 1:
            raise RunError(f"a worker ran out of memory with one example at a time, which needs {needed_bytes(1)} bytes")
        allowed, size = needed_bytes(rows) // 2, rows
        while size > 1:
            size = -(-size // 2)
            if needed_bytes(size) <= allowed:
                break
        self.microbatch = size
