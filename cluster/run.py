"""Makes a trained model from a loss, its data and an optimizer, on the workers of a Ray cluster."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..checkpoint.units import format_bytes
from . import snapshot as snapshots
from .asked import asked_job, check_names, check_rest, sent_bytes
from .ending import RESULT_NAME, ending, status_of, write_json
from .engine import find_cluster
from .errors import NonFiniteLossError, WorkerDiedError
from .folder import find_snapshot, held, last_good, newest_good, set_aside, set_aside_newer
from .host import automatic
from .job import SNAPSHOT_FOLDER, Failure, Job
from .leading import SeenRows, Staff, lead
from .metrics import METRICS_NAME, read_tail
from .optimizers import Optimizer
from .status import StatusFile
from .stopping import Stop, stop_signals
from .supervisor import State
from .tables import Tables, UsedRows


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

    ``loss(params, batch)`` is the mean over the batch's leading axis, in plain NumPy; ``init(seed)`` makes its parameters, a
    pytree of float32 or float64 arrays, on every worker, and here to look at them before one is started. ``data`` is a source
    (``__len__`` and ``batch(indices)``), a pytree of arrays, a list of examples, or the path of ``.npy``, ``.npz`` or
    ``.parquet`` files or of a folder of images (see :func:`~retape.cluster.data.as_source`). ``memory_budget`` bounds one
    worker's gradient call: bytes, "512MiB", or "auto" for a fair share of what this host has free, less what the run holds
    besides, as if all workers were on it (a run that goes on from a snapshot keeps that one's while there is room). ``rate``
    is a number or a function of the step. ``resume`` is ``True`` for the newest snapshot in ``out``, or a file or folder: the
    run goes on bit for bit as if it had never stopped; with ``"auto"`` it does so where there is a snapshot, and starts anew
    where there is none, so that the same call, made again after the driver was lost, completes the run. ``snapshots_at`` is
    another folder for the snapshots, or the URL of one in an object store. ``evaluate(params, batch)`` returns means by name
    for ``validation``. ``numbers`` are further fields of :class:`TrainConfig`. Without ``address`` (or RAY_ADDRESS) Ray is
    started on this machine. ``on_row`` gets each metrics row, ``on_event`` sentences about the start and about faults, in
    this process. SIGINT and SIGTERM end the run after the step in progress, with a snapshot. ``conclude`` is called with the
    result while the folder is still held; what it returns goes into ``result.json``. ``metrics_to`` names where the metrics
    go besides: "tensorboard" (event files in ``out``), "prometheus" (Ray's own metrics). ``used_rows(batch)`` maps names of
    tables among the parameters to the row numbers that the batch uses: of those tables only the rows that a step uses are
    differentiated, travel and are updated (see :mod:`retape.cluster.tables`).

    The parameters after a step have the same bits for any number of ``workers`` and through any faults, as long as
    ``shards``, the seed, the data and the memory settings are the same. A worker that dies, stands still or is cut off is
    replaced by one of the ``spares``, which hold CPUs and wait, or by a new one; until that is ready the others go on
    without. ``resize(step)``, asked now and then with the newest step once they have begun, returns how many workers are
    wanted from now on; more than there are ``shards`` would have nothing to do and are not started.

    Into ``out`` go ``metrics.jsonl``, ``snapshots/`` and, last of all, ``result.json``, which says how the run ended, that
    of one that failed included. On a cluster, ``out`` must be a folder that all nodes see.

    Raises ``ConfigError``, ``DataError``, ``ClusterSizeError`` and ``SnapshotError`` before anything runs;
    ``NonFiniteLossError``, ``WorkerDiedError`` (when replacing workers does not help), ``MismatchError``,
    ``ReplicaMismatchError``, ``DeadlineError``, and what the loss itself raises (``MemoryBudgetError`` among them) later.
    """
    started = time.perf_counter()
    say = on_event or (lambda sentence: None)
    is_automatic = isinstance(memory_budget, str) and memory_budget == "auto"
    check_names(train, numbers)
    check_rest(
        resume=resume,
        snapshots_at=snapshots_at,
        metrics_to=metrics_to,
        on_row=on_row,
        on_event=on_event,
        resize=resize,
        conclude=conclude,
    )
    asked = asked_job(
        loss=loss,
        init=init,
        data=data,
        optimizer=optimizer,
        rate=rate,
        out=out,
        memory_budget=None if is_automatic else memory_budget,
        validation=validation,
        evaluate=evaluate,
        used_rows=used_rows,
        steps=steps,
        global_batch=global_batch,
        workers=workers,
        microbatch=microbatch,
        **numbers,
    )
    staff = Staff(asked.config.workers, spares, threads, find_cluster(address), oversubscribe)
    payload_bytes = sent_bytes(asked)
    with held(out) as folder, _held_snapshots(folder, snapshots_at) as saved, stop_signals() as stop:
        resume_from, damaged = find_snapshot(saved, resume)
        notes = tuple(f"{error}; resuming from {resume_from}" for error in damaged)
        before = None if resume_from is None else snapshots.settings(resume_from).get("memory_budget")
        config = asked.config
        if is_automatic:
            fair = _fair_budget(asked, spares, before)
            config = replace(config, memory_budget=fair)
            say(f"memory budget: {format_bytes(fair)} for each worker's gradients, by what this host has free")
        if before not in (None, config.memory_budget) and microbatch == "auto":
            say(f"the snapshot's memory budget is {format_bytes(before)}: microbatches of another size may give other bits")
        for note in notes:
            say(note)
        _make_room(folder, saved, resume_from)
        job = replace(asked, config=config, out=folder, resume=resume_from, snapshots=saved)
        seen = SeenRows(on_row or (lambda row: None))
        run = partial(
            lead,
            job,
            staff,
            stop=stop,
            resize=resize,
            payload_bytes=payload_bytes,
            seen=seen,
            status=StatusFile(folder, config, saved),
            metrics_to=metrics_to,
            say=say,
        )
        return _to_its_end(job, run, stop, seen, notes=notes, started=started, conclude=conclude)


def _to_its_end(
    job: Job,
    run: Callable[[], State],
    stop: Stop,
    seen: SeenRows,
    *,
    notes: tuple[str, ...],
    started: float,
    conclude: Callable[[TrainResult], Mapping[str, Any]] | None,
) -> TrainResult:
    """What came of the ``run``; the result file is written however it ends."""
    saved = job.snapshot_folder

    def end(status: str, error: BaseException | None = None, more: Mapping[str, Any] | None = None) -> None:
        seconds = time.perf_counter() - started
        rows = seen.rows or read_tail(job.out / METRICS_NAME)  # of a run that had nothing left to do
        figures = ending(job.config, rows, status=status, snapshot=newest_good(saved), wall_seconds=seconds, error=error)
        write_json(job.out / RESULT_NAME, {**figures, **(more or {})})

    try:
        state = run()
        _raise_failure(state, saved)
        newest, _ = snapshots.latest(saved)
        params = job.init(job.config.seed)
        last = snapshots.load(newest, params_like=params, state_like=job.optimizer.init(params))
        result = TrainResult(
            status=stop.status if state.status == "interrupted" and stop.status else state.status,
            step=last.step,
            params=last.params,
            state=last.state,
            snapshot=newest,
            rows=seen.rows,
            out=job.out,
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


def _fair_budget(job: Job, spares: int, before: int | None) -> int:
    """A worker's share of what this host has free, or the budget ``before`` of the snapshot that the run goes on from."""
    params = job.init(job.config.seed)
    tables = None if job.used_rows is None else Tables.of(job.loss, job.used_rows, params, job.data, job.config)
    layout = None if tables is None else tables.layout(params)
    return automatic(job.config, params, job.optimizer, job.data, layout=layout, spares=spares, before=before)


def _make_room(folder: Path, saved: snapshots.Where, resume_from: snapshots.Where | None) -> None:
    """Sets aside what an earlier run left, or of the run that is resumed what comes after its snapshot."""
    if resume_from is None:
        set_aside(folder, saved)
        return
    set_aside_newer(folder, saved, resume_from)
    (folder / RESULT_NAME).unlink(missing_ok=True)


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
