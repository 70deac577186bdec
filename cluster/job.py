"""Makes the description of a run, in plain values and functions, that every worker gets a copy of."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .data import Source
from .errors import ConfigError, RunError
from .optimizers import Optimizer


@dataclass(frozen=True)
class TrainConfig:
    """The numbers of a run.

    ``global_batch`` examples make one step, over all workers; ``microbatch`` is the most that one worker
    differentiates at a time, or ``"auto"``; ``memory_budget`` is in bytes for one worker's gradient call, or
    ``None``. ``steps`` counts from the start of training, a resumed part included. ``clip_norm`` bounds the
    gradient's global norm (``None`` for no bound). The parameters' checksums are compared across workers
    every ``check_every`` steps. ``units`` is what one example counts for in throughput. Raises
    ``ConfigError`` for numbers that cannot work.
    """

    steps: int
    global_batch: int
    workers: int = 2
    microbatch: int | str = "auto"
    memory_budget: int | None = None
    seed: int = 0
    clip_norm: float | None = 1.0
    snapshot_every: int = 100
    validate_every: int = 50
    validate_examples: int = 256
    check_every: int = 25
    keep: int = 3
    units: int = 1
    deadline_seconds: float = 300.0

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in (
            "steps",
            "global_batch",
            "workers",
            "snapshot_every",
            "validate_every",
            "check_every",
            "keep",
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ConfigError(f"{name} is {value!r}; it must be a whole number, 1 or more")
        if self.global_batch % self.workers:
            lower = self.global_batch - self.global_batch % self.workers
            raise ConfigError(
                f"a global batch of {self.global_batch} cannot be shared equally by {self.workers} workers; "
                f"use {lower or self.workers} or {lower + self.workers}"
            )
        if self.microbatch != "auto" and not (isinstance(self.microbatch, int) and self.microbatch >= 1):
            raise ConfigError(f"microbatch is {self.microbatch!r}; it must be 'auto' or a whole number, 1 or more")
        if isinstance(self.microbatch, int) and self.microbatch > self.worker_batch:
            raise ConfigError(
                f"a microbatch of {self.microbatch} is more than one worker's share of {self.worker_batch} "
                "examples "
                f"({self.global_batch} by {self.workers} workers)"
            )
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ConfigError(f"clip_norm is {self.clip_norm}; it must be above 0, or None")
        if not (self.deadline_seconds > 0 and math.isfinite(self.deadline_seconds)):
            raise ConfigError(f"deadline_seconds is {self.deadline_seconds}; it must be finite and above 0")

    @property
    def worker_batch(self) -> int:
        """One worker's examples in a step."""
        return self.global_batch // self.workers


@dataclass(frozen=True)
class Job:
    """What the workers run: the user's functions and data, the numbers, and where files go."""

    loss: Callable[[Any, Any], Any]
    init: Callable[[int], Any]
    data: Source
    optimizer: Optimizer
    rate: Callable[[int], float]
    config: TrainConfig
    out: Path
    resume: Path | None = None
    validation: Source | None = None
    evaluate: Callable[[Any, Any], dict[str, float]] | None = None


@dataclass(frozen=True)
class Failure:
    """A worker's exception in pieces that travel between processes, with its traceback's text.

    An exception whose ``__init__`` takes anything but its ``args`` cannot be unpickled; its pieces can.
    """

    kind: type[Exception]
    args: tuple[Any, ...]
    attributes: dict[str, Any]
    traceback: str

    @staticmethod
    def of(error: Exception, traceback: str) -> "Failure":
        """The pieces of ``error``, or of a ``RunError`` with its text where they cannot be pickled."""
        from ray import cloudpickle

        failure = Failure(type(error), error.args, dict(vars(error)), traceback)
        try:
            cloudpickle.dumps(failure)  # pyright: ignore[reportPrivateImportUsage]
        except Exception:
            return Failure(RunError, (f"{type(error).__name__}: {error}",), {}, traceback)
        return failure

    def rebuild(self) -> Exception:
        """The exception again, in this process."""
        error = self.kind.__new__(self.kind, *self.args)
        error.args = self.args
        vars(error).update(self.attributes)
        return error


@dataclass(frozen=True)
class Outcome:
    """How one worker's run ended: its ``status`` is "finished", "interrupted" or "failed"."""

    rank: int
    status: str
    step: int
    failure: Failure | None = None
