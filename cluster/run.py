"""Makes a trained model from a loss, its data and an optimizer, on the workers of a Ray cluster."""

import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checkpoint.units import parse_bytes
from . import snapshot as snapshots
from .arena import arena_path
from .data import as_source
from .engine import cluster, payload_size, placement, release, spawn
from .errors import AbortedError, ConfigError, DataError, DeadlineError, NonFiniteLossError, WorkerDiedError
from .folder import find_snapshot, last_good, prepare_folder
from .job import Job, Outcome, TrainConfig
from .optimizers import Optimizer, constant
from .worker import SNAPSHOT_FOLDER, Worker

_POLL_SECONDS = 0.25
_GIVE_UP_SECONDS = 20.0


@dataclass(frozen=True)
class TrainResult:
    """How a run ended.

    ``status`` is "finished" or "interrupted"; ``step`` counts updates; ``params`` and ``state`` are those of
    the last snapshot, ``snapshot``. ``rows`` are this call's metrics in order; ``out`` holds the files.
    """

    status: str
    step: int
    params: Any
    state: Any
    snapshot: Path
    rows: list[dict[str, Any]]
    out: Path
    wall_seconds: float
    notes: tuple[str, ...] = ()


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
    microbatch: int | str = "auto",
    memory_budget: int | str | None = None,
    resume: bool | str | Path | None = None,
    validation: Any = None,
    evaluate: Callable[[Any, Any], dict[str, float]] | None = None,
    threads: int = 1,
    address: str | None = None,
    oversubscribe: bool = False,
    on_row: Callable[[dict[str, Any]], None] | None = None,
    on_event: Callable[[str], None] | None = None,
    **numbers: Any,
) -> TrainResult:
    """Trains data-parallel: every worker differentiates its shard of each global batch, and all apply the
    same update.

    ``loss(params, batch)`` is the mean over the batch's leading axis, in plain NumPy; ``init(seed)`` makes
    its parameters, a pytree of float32 or float64 arrays. ``data`` is a source (``__len__`` and
    ``batch(indices)``), a pytree of arrays, or a list of examples. ``memory_budget`` (bytes, or "512MiB")
    bounds one worker's gradient call. ``rate`` is a number or a function of the step. ``resume`` is ``True``
    for the newest snapshot in ``out``, or a file or folder: the run goes on bit for bit as if it had never
    stopped. ``evaluate(params, batch)`` returns means by name for ``validation``. ``numbers`` are further
    fields of :class:`TrainConfig`. Without ``address`` (or RAY_ADDRESS) Ray is started on this machine.
    ``on_row`` gets each metrics row, ``on_event`` sentences about the start, in this process. SIGINT and
    SIGTERM end the run after the step in progress, with a snapshot.

    Into ``out`` go ``metrics.jsonl`` and ``snapshots/``. On a cluster, ``out`` must be a folder that the
    workers' node sees too, and retape must be installed there.

    Raises ``ConfigError``, ``DataError``, ``ClusterSizeError`` and ``SnapshotError`` before anything runs;
    ``NonFiniteLossError``, ``WorkerDiedError``, ``ReplicaMismatchError``, ``DeadlineError``, and what the
    loss itself raises (``MemoryBudgetError`` among them) later.
    """
    started = time.perf_counter()
    say = on_event or (lambda sentence: None)
    budget = parse_bytes(memory_budget) if memory_budget is not None else None
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
    folder = prepare_folder(out, resume=bool(resume))
    resume_from, damaged = find_snapshot(folder, resume)
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
    )
    address = address or os.environ.get("RAY_ADDRESS")
    size = payload_size(job)
    with (
        _stop_signals() as stop,
        cluster(address, cpus=workers * threads, payload_bytes=size, oversubscribe=oversubscribe) as ray,
    ):
        stop.interrupt_at_once()  # again, for Ray has set a handler of its own
        say(f"Ray is up after {time.perf_counter() - started:.1f} s; starting {workers} workers")
        local = address in (None, "local")
        shared_job = ray.put(job)
        arguments = [(rank, shared_job) for rank in range(workers)]
        with placement(ray, workers, threads=threads) as group:
            actors = spawn(ray, group, Worker, arguments, threads=threads, local=local)
            process_ids: list[int] = []
            path = arena_path(secrets.token_hex(6))
            try:
                process_ids = _call(ray, [actor.prepare.remote() for actor in actors], folder)
                say(f"the workers are ready after {time.perf_counter() - started:.1f} s")
                stop.finish_the_step()
                outcomes, rows = _follow(ray, actors, str(path), stop, on_row or (lambda row: None), folder)
            finally:
                release(ray, actors, process_ids if local else [])
                path.unlink(missing_ok=True)
    _raise_failure(outcomes, folder)
    newest, _ = snapshots.latest(folder / SNAPSHOT_FOLDER)
    params = init(config.seed)
    last = snapshots.load(newest, params_like=params, state_like=optimizer.init(params))
    return TrainResult(
        status=outcomes[0].status,
        step=last.step,
        params=last.params,
        state=last.state,
        snapshot=newest,
        rows=rows,
        out=folder,
        wall_seconds=time.perf_counter() - started,
        notes=notes,
    )


def _follow(
    ray: Any,
    actors: list[Any],
    path: str,
    stop: "_Stop",
    on_row: Callable[[dict[str, Any]], None],
    out: Path,
) -> tuple[list[Outcome], list[dict[str, Any]]]:
    """Runs the workers to their end, a few looks a second; a signal sets the stop flag once."""
    ranks = {actor.run.remote(path, 0): rank for rank, actor in enumerate(actors)}
    outcomes: dict[int, Outcome] = {}
    rows: list[dict[str, Any]] = []
    dead: list[int] = []
    told = False
    deadline = float("inf")

    def collect() -> None:
        try:
            fresh = ray.get(actors[0].rows.remote(len(rows)), timeout=_GIVE_UP_SECONDS)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            return
        rows.extend(fresh)
        for row in fresh:
            on_row(row)

    while len(outcomes) + len(dead) < len(actors):
        waiting = [ref for ref, rank in ranks.items() if rank not in outcomes and rank not in dead]
        done, _ = ray.wait(waiting, timeout=_POLL_SECONDS)
        for ref in done:
            try:
                outcomes[ranks[ref]] = ray.get(ref)
            except ray.exceptions.RayActorError:
                dead.append(ranks[ref])
        collect()
        if stop.requested and not told:
            actors[0].stop.remote()
            told = True
        if dead and deadline == float("inf"):
            deadline = time.monotonic() + _GIVE_UP_SECONDS
            for rank, actor in enumerate(actors):
                if rank not in dead:
                    actor.call_off.remote()
        if time.monotonic() > deadline:
            break
    if dead:
        step = rows[-1]["step"] if rows else 0
        raise WorkerDiedError(
            f"worker {', '.join(map(str, dead))} of {len(actors)} died (killed, or out of memory) after "
            f"step {step}; "
            f"{last_good(out)}: start again with resume (--resume)"
        )
    return [outcomes[rank] for rank in range(len(actors))], rows


def _call(ray: Any, refs: list[Any], out: Path) -> list[Any]:
    """Results of one call on every worker, with the worker's own exception raised where there is one."""
    try:
        return ray.get(refs)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause if isinstance(error.cause, Exception) else error
        raise cause from None
    except ray.exceptions.RayActorError as error:
        raise WorkerDiedError(f"a worker died while it started: {error}; {last_good(out)}") from None


def _raise_failure(outcomes: list[Outcome], out: Path) -> None:
    """Raises the failure that came first: the others only gave up their waits, or ran into their deadline."""
    failures = [(outcome, outcome.failure) for outcome in outcomes if outcome.failure is not None]
    if not failures:
        return
    order = {AbortedError: 2, DeadlineError: 1}
    first, failure = min(failures, key=lambda pair: (order.get(pair[1].kind, 0), pair[0].rank))
    error = failure.rebuild()
    if isinstance(error, NonFiniteLossError):
        error = NonFiniteLossError(f"{error}; {last_good(out)}")
    error.add_note(f"on worker {first.rank}, in step {first.step + 1}; {last_good(out)}\n{failure.traceback}")
    raise error


class _Stop:
    """What SIGINT and SIGTERM do: end things at once, or set ``requested`` so that the step in progress is
    finished."""

    def __init__(self) -> None:
        self.requested = False
        # Signals have no handler outside the main thread.
        self.active = threading.current_thread() is threading.main_thread()

    def interrupt_at_once(self) -> None:
        """Both signals raise KeyboardInterrupt."""
        self._take(signal.default_int_handler)

    def finish_the_step(self) -> None:
        """The first signal sets ``requested``; a SIGINT after it raises KeyboardInterrupt."""
        self._take(self._request)

    def _take(self, handler: Any) -> None:
        if self.active:
            signal.signal(signal.SIGINT, handler)
            signal.signal(signal.SIGTERM, handler)

    def _request(self, number: int, frame: Any) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def _stop_signals() -> Iterator[_Stop]:
    """Takes SIGINT and SIGTERM for the time of a run, and puts the handlers before it back."""
    stop = _Stop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stop.interrupt_at_once()
    try:
        yield stop
    finally:
        if stop.active:
            for number, handler in before.items():
                signal.signal(number, handler)
