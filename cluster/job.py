"""Makes the description of a run, in plain values and functions, that every worker gets a copy of."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .checking import flag, one_of, real, whole
from .comm.net import WIRES
from .data import Source
from .errors import ConfigError, RunError
from .optimizers import Optimizer
from .patience import Patience
from .processes import Process
from .rows import Row
from .snapshot import Best, Where

_SHARDS = 4
_COUNTS = (
    "steps",
    "global_batch",
    "workers",
    "snapshot_every",
    "validate_every",
    "validate_examples",
    "check_every",
    "keep",
    "units",
)
SNAPSHOT_FOLDER = "snapshots"


@dataclass(frozen=True)
class TrainConfig:
    """The numbers of a run.

    ``global_batch`` examples make one step, over all workers. They are cut into ``shards`` logical shards, whose
    gradients are added in an order of their own: runs with the same shards have the same bits for any number of
    workers up to that many. ``None`` takes a snapshot's when resuming, else 4, or as many as there are workers.
    ``microbatch`` is the most that one worker differentiates at a time, or ``"auto"``; ``memory_budget`` is in
    bytes for one worker's gradient call, or ``None``. ``steps`` counts from the start of training, a resumed part
    included. ``clip_norm`` bounds the gradient's global norm (``None`` for no bound). A loss or gradient that is not
    finite, or a loss above ``loss_limit``, ends the run, or with ``nonfinite="skip"`` leaves the parameters as they
    are and goes on. The parameters' checksums are compared across workers every ``check_every`` steps. ``units`` is
    what one example counts for in throughput. A worker that is silent for ``silence_seconds`` is replaced; one that
    waits for others longer than ``deadline_seconds`` gives up. The last ``keep`` snapshots stay, and with ``best``, such
    as "lowest val_loss", the best of those that were taken after a validation. With ``patience``, the run stops early once
    that many validations in a row brought no figure better than the best by more than ``min_delta``. ``wire`` is how
    float32 gradients travel between nodes, "float32" or "bfloat16" (see :class:`~retape.cluster.comm.net.Net`). With
    ``shard_optimizer``, each worker holds its part of the optimizer state only, and all go back to the newest snapshot when
    one is lost (see :class:`~retape.cluster.sharding.Shards`). An epoch's
    last examples that do not fill a batch are left out, or with ``last_batch="keep"`` make a smaller one. Each worker reads
    up to ``ahead_bytes`` of batches ahead in the background; ``None`` is 64 MiB as soon as that pays, for data that draws no
    random numbers of its own (see :class:`~retape.cluster.data.Feed`). Raises ``ConfigError`` for numbers that cannot work.
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
    best: str | None = None
    patience: int | None = None
    min_delta: float = 0.0
    units: int = 1
    deadline_seconds: float = 300.0
    silence_seconds: float = 2.5
    shards: int | None = None
    nonfinite: str = "stop"
    loss_limit: float = math.inf
    wire: str = "float32"
    shard_optimizer: bool = False
    last_batch: str = "drop"
    ahead_bytes: int | None = None

    def __post_init__(self) -> None:
        """Checks the numbers, and makes NumPy's plain."""
        checked: dict[str, Any] = {name: whole(name, getattr(self, name)) for name in _COUNTS}
        for name, least in (("shards", 1), ("patience", 1), ("memory_budget", 1), ("ahead_bytes", 0)):
            if getattr(self, name) is not None:
                checked[name] = whole(name, getattr(self, name), least=least, otherwise="None")
        checked["seed"] = whole("seed", self.seed, least=0, most=2**64 - 1)
        if self.microbatch != "auto":
            checked["microbatch"] = whole("microbatch", self.microbatch, otherwise="'auto'")
        if self.clip_norm is not None:
            checked["clip_norm"] = real("clip_norm", self.clip_norm, "above 0, or None", lambda bound: bound > 0)
        checked["loss_limit"] = real(
            "loss_limit", self.loss_limit, "a number, inf for no limit", lambda limit: limit == limit
        )
        checked["min_delta"] = real("min_delta", self.min_delta, "finite, 0 or more", lambda delta: 0 <= delta < math.inf)
        for name in ("deadline_seconds", "silence_seconds"):
            checked[name] = real(name, getattr(self, name), "finite and above 0", lambda seconds: 0 < seconds < math.inf)
        for name, known in (("nonfinite", ("stop", "skip")), ("wire", tuple(WIRES)), ("last_batch", ("drop", "keep"))):
            one_of(name, getattr(self, name), known)
        flag("shard_optimizer", self.shard_optimizer)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        self._check_together()

    def _check_together(self) -> None:
        """Raises ``ConfigError`` for numbers that contradict each other."""
        if self.shard_count > self.global_batch:
            raise ConfigError(
                f"a global batch of {self.global_batch} cannot be cut into {self.shard_count} shards of at least one "
                f"example: use a global batch of {self.shard_count} or more, or fewer workers and shards"
            )
        if self.workers > self.shard_count:
            raise ConfigError(
                f"{self.workers} workers have only {self.shard_count} logical shards to share: use "
                f"{self.shard_count} workers or fewer, or shards={self.workers}"
            )
        if isinstance(self.microbatch, int) and self.microbatch > self.shard_batch:
            raise ConfigError(
                f"a microbatch of {self.microbatch} is more than the {self.shard_batch} examples of a logical shard "
                f"({self.global_batch} in {self.shard_count} shards)"
            )
        if self.best is not None:
            Best.of(self.best)
        elif self.patience is not None:
            raise ConfigError(
                'patience says how long the best figure may stay the best: say which with best, such as "lowest val_loss"'
            )

    @property
    def shard_count(self) -> int:
        """The logical shards of a global batch."""
        return max(min(_SHARDS, self.global_batch), self.workers) if self.shards is None else self.shards

    @property
    def shard_batch(self) -> int:
        """The examples of a logical shard; where the global batch cannot be cut evenly, those of the largest."""
        return -(-self.global_batch // self.shard_count)


@dataclass(frozen=True)
class Job:
    """What the workers run: the user's functions and data, the numbers, and where files go.

    ``snapshots`` is the folder of the snapshots, or its URL; unless said, one in ``out``. ``used_rows`` names the tables
    whose gradients travel by rows, and the rows that a batch uses (see :class:`~retape.cluster.tables.Tables`).
    """

    loss: Callable[[Any, Any], Any]
    init: Callable[[int], Any]
    data: Source
    optimizer: Optimizer
    rate: Callable[[int], float]
    config: TrainConfig
    out: Path
    resume: Where | None = None
    validation: Source | None = None
    evaluate: Callable[[Any, Any], dict[str, float]] | None = None
    snapshots: Where | None = None
    used_rows: Callable[[Any], Mapping[str, Any]] | None = None

    @property
    def snapshot_folder(self) -> Where:
        """Where snapshots go."""
        return self.out / SNAPSHOT_FOLDER if self.snapshots is None else self.snapshots


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

    @property
    def text(self) -> str:
        """What the exception says."""
        return ", ".join(map(str, self.args))

    def rebuild(self) -> Exception:
        """The exception again, in this process."""
        error = self.kind.__new__(self.kind, *self.args)
        error.args = self.args
        vars(error).update(self.attributes)
        return error


@dataclass(frozen=True)
class Outcome:
    """How a worker's part in one formation ended.

    ``status`` is "finished", "stopped early", "interrupted", "regrouped" (after a step, for others to join or leave),
    "aborted" (another
    worker is gone) or "failed". Unless ``is_whole``, the parameters were caught in the middle of an update.
    """

    rank: int
    status: str
    step: int
    failure: Failure | None = None
    is_whole: bool = True


@dataclass(frozen=True)
class Ready:
    """What a worker says once it is prepared: its process and node, the fingerprint of its arithmetic, its place in the
    run, what ``init`` made there, leaf by leaf, and the memory that its host has free, where the system tells."""

    process: Process
    node: str
    host: str
    fingerprint: dict[str, str]
    step: int
    shards: int
    parameters: dict[str, str] = field(default_factory=dict)
    free_bytes: int | None = None


@dataclass(frozen=True)
class Pulse:
    """A worker's sign of life: its process and node, the step that it has finished, what it does now, and new ``rows``."""

    process: Process
    node: str
    step: int
    phase: str
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class State:
    """What a worker that joins takes over from one that is there, to go on as if it had been there all along."""

    step: int
    after_step: int
    params: Any
    state: Any
    order: dict[str, int]
    microbatch: int | str
    rows: tuple[dict[str, Any], ...]
    patience: Patience = Patience()
