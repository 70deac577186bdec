"""Makes the plan of a worker's gradient call, a microbatch of a logical shard of the first step, before a worker is there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checkpoint.errors import MemoryBudgetError
from ..checkpoint.plan import Plan
from ..runtime.trees import flatten
from ..scheduler.planning import plan
from .arguments import resolve_budget
from .comm.layout import Layout
from .data import Order, take
from .folder import find_snapshot
from .host import automatic
from .job import SNAPSHOT_FOLDER, TrainConfig
from .models import Model
from .optimizers import Optimizer
from .snapshot import Where, absolute, join, settings
from .tables import Tables


@dataclass(frozen=True)
class StepPlan:
    """The plan of a microbatch of so many ``examples``, what a whole logical shard needs without a budget, and the budget."""

    microbatch: Plan
    examples: int
    needed_bytes: int
    budget_bytes: int


@dataclass(frozen=True)
class FirstStep:
    """What is differentiated in a run's first step: the loss, its parameters, and the ``indices`` of the global batch.

    ``layout`` is that of the gradients where they travel by rows; ``params`` have small tables then.
    """

    loss: Callable[[Any, Any], Any]
    params: Any
    indices: np.ndarray
    layout: Layout | None

    @staticmethod
    def of(model: Model, whole: Any, config: TrainConfig) -> "FirstStep":
        """That of a model with the ``whole`` parameters."""
        indices, _ = take(Order(config.seed), config.global_batch, len(model.train))
        if model.used_rows is None:
            return FirstStep(model.loss, whole, indices, None)
        tables = Tables(model.loss, model.used_rows, whole, model.train.batch(indices[:1]), len(indices))
        return FirstStep(tables.loss, tables.small(whole, model.train.batch(indices)), indices, tables.layout(whole))


def plan_step(
    model: Model,
    config: TrainConfig,
    optimizer: Optimizer,
    memory_budget: str,
    *,
    spares: int,
    snapshot_before: Where | None,
) -> StepPlan:
    """The plan under a budget as the command line says it; "auto" looks at the snapshot that the run goes on from, if any.

    Raises ``MemoryBudgetError`` where not even one example fits, and ``ConfigError`` where "auto" finds nothing free.
    """
    whole = model.init(config.seed)
    first = FirstStep.of(model, whole, config)
    share = model.train.batch(first.indices[: config.shard_batch])
    needed = plan(first.loss, first.params, share, memory_budget=None).unbudgeted_peak_bytes
    if memory_budget == "auto":
        before = None if snapshot_before is None else settings(snapshot_before).get("memory_budget")
        budget = automatic(config, whole, optimizer, model.train, layout=first.layout, spares=spares, before=before)
    else:
        budget = resolve_budget(memory_budget, needed)
    return StepPlan(*_largest(model, first, config, budget), needed, budget)


def snapshot_to_resume(out: str, snapshots_at: str | None, resume: Any) -> Where | None:
    """The snapshot that a run with these settings would go on from, if any."""
    folder = absolute(snapshots_at or join(absolute(out), SNAPSHOT_FOLDER))
    return find_snapshot(folder, resume)[0]


def _largest(model: Model, first: FirstStep, config: TrainConfig, budget: int) -> tuple[Plan, int]:
    """The plan of the largest microbatch, by halves, that fits, and its examples."""
    size = config.shard_batch if config.microbatch == "auto" else int(config.microbatch)
    sum_bytes = sum(leaf.nbytes for leaf in flatten(first.params)[0])
    allowed = budget if size == config.shard_batch else max(1, budget - sum_bytes)
    refusal: MemoryBudgetError | None = None
    while True:
        try:
            batch = model.train.batch(first.indices[:size])
            return plan(first.loss, first.params, batch, memory_budget=allowed), size
        except MemoryBudgetError as error:
            refusal = refusal or error
        # Several microbatches add up into a second set of gradients, which comes out of the same budget.
        allowed = budget - sum_bytes
        if config.microbatch != "auto" or size == 1 or allowed <= 0:
            raise refusal
        size = -(-size // 2)
