"""Makes one worker's memory budget from what its host has free, less what the run holds there besides."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..checkpoint.units import format_bytes
from ..runtime.trees import flatten
from ..scheduler.machine import automatic_budget, available_bytes
from .comm.layout import Layout
from .comm.sums import even_runs, slot_count
from .data import Source
from .data.feed import DEFAULT_BYTES
from .engine import payload_size
from .errors import ConfigError
from .job import Ready, TrainConfig
from .optimizers import Optimizer
from .sharding import SHARED_SLOTS

# Of a worker's process with nothing to do, and of Ray's own on a machine where it is started: measured 73 and 350 MB.
_WORKER_BYTES, _RAY_BYTES = 96 * 2**20, 400 * 2**20


@dataclass(frozen=True)
class Held:
    """The bytes that the workers of one host hold together, beside their gradient calls.

    ``arena`` is shared memory: gradients, their sum, and with a sharded optimizer the parameters. ``snapshots`` are copies
    that are being written, ``ahead`` batches that are read ahead, ``data`` is the training data where it travels to the
    workers, ``processes`` what Python and Ray take.
    """

    arena: int
    params: int
    state: int
    snapshots: int
    ahead: int
    data: int = 0
    processes: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        """The parts that are not empty, with their names."""
        found = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{name} {format_bytes(size)}" for name, size in found if size)


def held(
    config: TrainConfig,
    params: Any,
    state: Any,
    *,
    layout: Layout | None = None,
    data: Source | None = None,
    spares: int = 0,
) -> Held:
    """What all workers of ``config``, and the ``spares``, hold when they share one host with a Ray of their own.

    ``params`` and ``state`` are those of one replica, ``layout`` is that of its gradients where they travel by rows.
    """
    leaves, workers = flatten(params)[0], config.workers
    layout = layout or Layout.of(leaves)
    params_bytes, state_bytes = _size(leaves), _size(flatten(state)[0])
    is_sharded = config.shard_optimizer and workers > 1
    slots = workers * slot_count(even_runs(config.shard_count, workers), config.shard_count) + (workers > 1)
    return Held(
        arena=layout.slot_bytes * (slots + SHARED_SLOTS * is_sharded),
        params=params_bytes * (spares + (0 if is_sharded else workers)),
        state=state_bytes * (spares + (1 if is_sharded else workers)),
        snapshots=params_bytes + state_bytes,
        ahead=workers * (DEFAULT_BYTES if config.ahead_bytes is None else config.ahead_bytes),
        data=0 if data is None else payload_size(data),
        processes=_RAY_BYTES + _WORKER_BYTES * (workers + spares),
    )


def automatic(
    config: TrainConfig,
    params: Any,
    optimizer: Optimizer,
    data: Source,
    *,
    layout: Layout | None = None,
    spares: int = 0,
    before: int | None = None,
) -> int:
    """The bytes that ``memory_budget="auto"`` stands for, for workers that share this host.

    ``layout`` is that of the gradients where they travel by rows. ``before`` is the budget of the snapshot that the run goes
    on from: microbatches, and with them the bits, follow from the budget, so that it is kept as long as there is room for it.
    Raises ``ConfigError`` where nothing is left, and ``OSError`` where the system does not tell what is free.
    """
    found = held(config, params, optimizer.init(params), layout=layout, data=data, spares=spares)
    if before is not None and found.total + config.workers * before <= available_bytes():
        return before
    return fair_budget(automatic_budget(), found, config.workers)


def fair_budget(available: int, found: Held, workers: int) -> int:
    """The budget of each worker's gradient calls: an equal share of ``available`` bytes, less what is ``found`` to be held.

    Raises ``ConfigError`` where nothing is left.
    """
    left = available - found.total
    if left < workers:
        raise ConfigError(
            f"memory_budget='auto': {workers} workers may use {format_bytes(available)} of this host, and beside their "
            f"gradients they hold {format_bytes(found.total)} ({found}): use fewer workers, or shard_optimizer"
        )
    return left // workers


def free_bytes() -> int | None:
    """What this host has free, or ``None`` where the system does not tell."""
    try:
        return available_bytes()
    except OSError:
        return None


def shortage(workers: Sequence[Ready], budget: int | None) -> str | None:
    """What to tell of ``workers`` that have begun on one host when their budgets together are more than it has free.

    >>> from retape.cluster.processes import own_process
    >>> ready = Ready(own_process(), "node", "10.0.0.7", {}, step=0, shards=4, free_bytes=2**30)
    >>> shortage([ready, ready], 2**30)
    '10.0.0.7 has 1.0 GiB free, and 2 workers with a memory budget of 1.0 GiB each: they may be killed for want of memory; \
a budget of at most 512.0 MiB fits there'
    """
    free = workers[-1].free_bytes
    if budget is None or free is None or len(workers) * budget <= free:
        return None
    fitting = free // len(workers) // 2**20 * 2**20  # rounded down, for the text rounds
    count = f"{len(workers)} workers" if len(workers) > 1 else "a worker"
    return (
        f"{workers[-1].host} has {format_bytes(free)} free, and {count} with a memory budget of {format_bytes(budget)} each: "
        f"they may be killed for want of memory; a budget of at most {format_bytes(fitting)} fits there"
    )


def _size(leaves: Sequence[Any]) -> int:
    return sum(np.asarray(leaf).nbytes for leaf in leaves)
