"""Makes a trained model from a loss, its data and an optimizer, on the workers of a Ray cluster."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checkpoint.units import format_bytes, parse_bytes
from . import snapshot as snapshots
from .data import as_source
from .ending import RESULT_NAME, ending, status_of, write_json
from .engine import find_cluster
from .errors import ConfigError, DataError, NonFiniteLossError, WorkerDiedError
from .exports import check_exports
from .folder import find_snapshot, held, last_good, newest_good, set_aside, set_aside_newer
from .host import automatic
from .job import SNAPSHOT_FOLDER, Failure, Job, TrainConfig
from .leading import SeenRows, Staff, lead
from .metrics import METRICS_NAME, read_tail
from .optimizers import Optimizer, constant
from .status import StatusFile
from .stopping import stop_signals
from .supervisor import State
from .tables import Tables, UsedRows, check_by_rows


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    ``status`` is "finished", "stopped early", "interrupted" (SIGINT) or "preempted" (SIGTERM); ``step`` counts updates;
    ``params`` and ``state`` are those of the last snapshot, ``snapshot``; ``best`` is the best one, where one is kept.
    ``rows`` are this call's metrics in order; ``out`` holds the files.
    """

    status: str
    step: int
    params: Any
    state: Any
    snapshot: snapshots.Where
    rows: list[dict[str, Any]]
    out: Path
    wall_seconds: float
    notes: tuple[str, ...] = ()
    best: snapshots.Where | None = None


def train(
    *,
    loss: Callable[[Any, Any], Any],
    init: Callable[[int], Any],
    data: Any,
    optimizer: Optimizer,
    steps: int,
    global_batch: int,
    out: str | Path,
    rate: float | Callable[[int], float] = 1e-3,
    workers: int = 2,
    spares: int = 0,
    resize: Callable[[int], int] | None = None,
    microbatch: int | str = "auto",
    memory_budget: int | str | None = None,
    resume: bool | str | Path | None = None,
    snapshots_at: str | Path | None = None,
    validation: Any = None,
    evaluate: Callable[[Any, Any], dict[str, float]] | None = None,
    threads: int = 1,
    address: str | None = None,
    oversubscribe: bool = False,
    on_row: Callable[[dict[str, Any]], None] | None = None,
    on_event: Callable[[str], None] | None = None,
    conclude: Callable[[TrainResult], Mapping[str, Any]] | None = None,
    metrics_to: Sequence[str] = (),
    used_rows: UsedRows | None = None,
    **numbers: Any,
) -> TrainResult:
    """Trains data-parallel: every worker differentiates its shards of each global batch, and all apply the same update.

    ``loss(params, batch)`` is the mean over the batch's leading axis, in plain NumPy; ``init(seed)`` makes its parameters,
    a pytree of float32 or float64 arrays. ``data`` is a source (``__len__`` and ``batch(indices)``), a pytree of arrays, a
    list of examples, or the path of ``.npy``, ``.npz`` or ``.parquet`` files or of a folder of images (see
    :func:`~retape.cluster.data.as_source`). ``memory_budget`` bounds one worker's gradient call: bytes,
    "512MiB", or "auto" for a fair share of what this host has free, less what the run holds besides, as if all workers were
    on it (a run that goes on from a snapshot keeps that one's while there is room). ``rate`` is a number or a function of
    the step. ``resume`` is ``True`` for the newest snapshot in ``out``, or a file or folder: the run goes on bit for bit as
    if it had never stopped; with ``"auto"`` it does so where there is a snapshot, and starts anew where there is none, so
    that the same call, made again after the driver was lost, completes the run. ``snapshots_at`` is another folder for the
    snapshots, or the URL of one in an object store. ``evaluate(params, batch)`` returns means by name for ``validation``.
    ``numbers`` are further fields of :class:`TrainConfig`. Without ``address`` (or RAY_ADDRESS) Ray is started on this
    machine. ``on_row`` gets each metrics row, ``on_event`` sentences about the start and about faults, in this process.
    SIGINT and SIGTERM end the run after the step in progress, with a snapshot. ``conclude`` is called with the result while
    the folder is still held; what it returns goes into ``result.json``. ``metrics_to`` names where the metrics go besides:
    "tensorboard" (event files in ``out``), "prometheus" (Ray's own metrics). ``used_rows(batch)`` maps
    names of tables among the parameters to the row numbers that the batch uses: of those tables only the rows that a step
    uses are differentiated, travel and are updated (see :mod:`retape.cluster.tables`).

    The parameters after a step have the same bits for any number of ``workers`` and through any faults, as long as
    ``shards``, the seed, the data and the memory settings are the same. A worker that dies, stands still or is cut off is
    replaced by one of the ``spares``, which hold CPUs and wait, or by a new one; until that is ready the others go on
    without. ``resize(step)``, asked now and then with the newest step, returns how many workers are wanted from now on.

    Into ``out`` go ``metrics.jsonl``, ``snapshots/`` and, last of all, ``result.json``, which says how the run ended, that
    of one that failed included. On a cluster, ``out`` must be a folder that all nodes see.

    Raises ``ConfigError``, ``DataError``, ``ClusterSizeError`` and ``SnapshotError`` before anything runs;
    ``NonFiniteLossError``, ``WorkerDiedError`` (when replacing workers does not help), ``MismatchError``,
    ``ReplicaMismatchError``, ``DeadlineError``, and what the loss itself raises (``MemoryBudgetError`` among them) later.
    """
    started = time.perf_counter()
    say = on_event or (lambda sentence: None)
    is_automatic = memory_budget == "auto"
    budget = parse_bytes(memory_budget) if memory_budget is not None and not is_automatic else None
    config = TrainConfig(
        steps=steps,
        global_batch=global_batch,
        workers=workers,
        microbatch=microbatch,
        memory_budget=budget,
        **numbers,
    )
    if threads < 1:
        raise ConfigError(f"threads is {threads}; it must be 1 or more")
    source = as_source(data)
    if len(source) < global_batch:
        raise DataError(f"one step takes {global_batch} examples and the data holds {len(source)}; lower the global batch")
    if config.best is not None and (validation is None or evaluate is None):
        raise ConfigError(f"the best snapshot is the one with the {config.best}: that takes validation data and evaluate")
    if config.shard_optimizer and optimizer.update_pieces is None:
        raise ConfigError(
            f"shard_optimizer needs an optimizer with update_pieces, which {optimizer.name!r} does not have: see "
            "retape.cluster.optimizers.Optimizer, or take one of retape's own"
        )
    if used_rows is not None:
        check_by_rows(optimizer, config)
    check_exports(metrics_to)
    if spares < 0:
        raise ConfigError(f"spares is {spares}; it must be 0 or more")
    with held(out) as folder, _held_snapshots(folder, snapshots_at) as saved, stop_signals() as stop:
        resume_from, damaged = find_snapshot(saved, resume)
        before = None if resume_from is None else snapshots.settings(resume_from).get("memory_budget")
        if is_automatic:
            params = init(config.seed)
            layout = None if used_rows is None else Tables.of(loss, used_rows, params, source, config).layout(params)
            fair = automatic(config, params, optimizer, source, layout=layout, spares=spares, before=before)
            config = replace(config, memory_budget=fair)
            say(f"memory budget: {format_bytes(fair)} for each worker's gradients, by what this host has free")
        if before not in (None, config.memory_budget) and microbatch == "auto":
            say(f"the snapshot's memory budget is {format_bytes(before)}: microbatches of another size may give other bits")
        if resume_from is None:
            set_aside(folder, saved)
        else:
            set_aside_newer(folder, saved, resume_from)
            (folder / RESULT_NAME).unlink(missing_ok=True)
        notes = tuple(f"{error}; resuming from {resume_from}" for error in damaged)
        for note in notes:
            say(note)
        job = Job(
            loss=loss,
            init=init,
            data=source,
            optimizer=optimizer,
            rate=rate if callable(rate) else constant(rate),
            config=config,
            out=folder,
            resume=resume_from,
            validation=as_source(validation) if validation is not None else None,
            evaluate=evaluate,
            snapshots=saved,
            used_rows=used_rows,
        )
        seen = SeenRows(on_row or (lambda row: None))
        status = StatusFile(folder, config, saved)

        def end(status: str, error: BaseException | None = None, more: Mapping[str, Any] | None = None) -> None:
            wall_seconds = time.perf_counter() - started
            rows = seen.rows or read_tail(folder / METRICS_NAME)  # of a run that had nothing left to do
            figures = ending(config, rows, status=status, snapshot=newest_good(saved), wall_seconds=wall_seconds, error=error)
            write_json(folder / RESULT_NAME, {**figures, **(more or {})})

        try:
            staff = Staff(workers, spares, threads, find_cluster(address), oversubscribe)
            state = lead(job, staff, stop=stop, resize=resize, seen=seen, status=status, metrics_to=metrics_to, say=say)
            _raise_failure(state, saved)
            newest, _ = snapshots.latest(saved)
            params = init(config.seed)
            last = snapshots.load(newest, params_like=params, state_like=optimizer.init(params))
            result = TrainResult(
                status=stop.status if state.status == "interrupted" and stop.status else state.status,
                step=last.step,
                params=last.params,
                state=last.state,
                snapshot=newest,
                rows=seen.rows,
                out=folder,
                wall_seconds=time.perf_counter() - started,
                notes=notes,
                best=snapshots.best_of(saved),
            )
            end(result.status, more=conclude(result) if conclude is not None else None)
        except BaseException as error:
            with suppress(OSError):  # a full disk must not hide what happened
                end(status_of(error), error)
            raise
        return result


@contextmanager
def _held_snapshots(folder: Path, snapshots_at: str | Path | None) -> Iterator[snapshots.Where]:
    """Where the snapshots go: into the run's ``folder``, which is held, or to another place, which is claimed."""
    if snapshots_at is None:
        yield folder / SNAPSHOT_FOLDER
        return
    saved = snapshots.absolute(snapshots_at)
    with snapshots.claimed(saved, folder):
        snapshots.remove_partial(saved)
        yield saved


def _raise_failure(state: State, folder: snapshots.Where) -> None:
    """Raises what ended the run, if anything did."""
    if state.failure is None:
        return
    where = f"after step {max(state.step, 0)}; {last_good(folder)}"
    if isinstance(state.failure, Failure):
        error = state.failure.rebuild()
        where += f"\n{state.failure.traceback}"
    else:
        error = state.failure
    if isinstance(error, NonFiniteLossError | WorkerDiedError):
        error = type(error)(f"{error}; {last_good(folder)}: start again with resume (--resume)")
    error.add_note(where)
    raise error
