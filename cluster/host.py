"""Makes one worker's memory budget from what its host has free, less what the run holds there besides."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..checkpoint.units import format_bytes
from ..runtime.trees import flatten
from ..scheduler.machine import automatic_budget
from .comm.layout import Layout
from .comm.sums import even_runs, slot_count
from .errors import ConfigError
from .job import TrainConfig
from .optimizers import Optimizer
from .sharding import SHARED_SLOTS

# What `Feed` reads ahead, unless said.
_AHEAD_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Held:
    """The bytes that the workers of one host hold together, beside their gradient calls.

    ``arena`` is shared memory: gradients, their sum, and with a sharded optimizer the parameters. ``snapshots`` are copies
    that are being written, ``ahead`` batches that are read ahead.
    """

    arena: int
    params: int
    state: int
    snapshots: int
    ahead: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))

    def __str__(self) -> str:
        """The parts that are not empty, with their names."""
        found = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ", ".join(f"{name} {format_bytes(size)}" for name, size in found if size)


def held(config: TrainConfig, params: Sequence[np.ndarray], state: Sequence[np.ndarray]) -> Held:
    """What all workers of ``config`` hold when they share one host; ``params`` and ``state`` are the leaves of a replica."""
    layout = Layout.of(params)
    params_bytes, state_bytes = sum(leaf.nbytes for leaf in params), sum(np.asarray(leaf).nbytes for leaf in state)
    workers = config.workers
    is_sharded = config.shard_optimizer and workers > 1
    slots = workers * slot_count(even_runs(config.shard_count, workers), config.shard_count) + 1
    return Held(
        arena=layout.slot_bytes * (slots + SHARED_SLOTS * is_sharded),
        params=0 if is_sharded else workers * params_bytes,
        state=state_bytes if is_sharded else workers * state_bytes,
        snapshots=params_bytes + state_bytes,
        ahead=workers * (_AHEAD_BYTES if config.ahead_bytes is None else config.ahead_bytes),
    )


def automatic(config: TrainConfig, params: Any, optimizer: Optimizer) -> int:
    """The bytes that ``memory_budget="auto"`` stands for, for workers that share this host.

    Raises ``ConfigError`` where nothing is left, and ``OSError`` where the system does not tell what is free.
    """
    found = held(config, flatten(params)[0], flatten(optimizer.init(params))[0])
    return fair_budget(automatic_budget(1), found, config.workers)


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
