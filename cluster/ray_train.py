"""Makes a loop for Ray Train's workers, who then train as `train` does, and report its snapshots as Ray Train's checkpoints.

For programs that run on Ray Train already. It places and restarts the workers and keeps the checkpoints; gradients under a
budget, the all-reduce, the order of the data and the snapshots are retape's. When a worker is lost Ray Train starts all of
them again, which takes it much longer than `train` needs to replace one.
"""

import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .asked import asked_job, check_names, sent_bytes
from .comm.formation import Formation
from .comm.mesh import Address
from .errors import ConfigError, RunError
from .fingerprint import check_same, check_same_parameters
from .folder import find_snapshot, held, newest_good, set_aside, set_aside_newer
from .job import SNAPSHOT_FOLDER, Job, Outcome, Ready
from .optimizers import Optimizer
from .scratch import scratch_folder
from .tables import UsedRows
from .worker import Worker

_POLL_SECONDS = 0.05
# How long a report waits for its snapshot's file, which is written while the training goes on.
_FILE_SECONDS = 60.0


def train_loop(
    *,
    loss: Callable[[Any, Any], Any],
    init: Callable[[int], Any],
    data: Any,
    optimizer: Optimizer,
    steps: int,
    global_batch: int,
    out: str | Path,
    rate: float | Callable[[int], float] = 1e-3,
    memory_budget: int | str | None = None,
    validation: Any = None,
    evaluate: Callable[[Any, Any], dict[str, float]] | None = None,
    used_rows: UsedRows | None = None,
    **numbers: Any,
) -> Callable[[Any], None]:
    """A ``train_loop_per_worker``: with it, as many workers as Ray Train starts train together.

    The arguments are those of :func:`~retape.cluster.train`; ``out`` is a folder that all workers see. Every
    ``snapshot_every`` steps, and after the last one, all report the newest metrics row, and the first one a checkpoint: a
    folder with the snapshot in it, which :func:`~retape.cluster.latest_snapshot` finds. After a failure the loop goes on,
    bit for bit, from the newest snapshot in ``out`` or else the checkpoint that Ray Train hands over; without one, it starts
    anew. Raises in the workers what ``train`` raises, and ``ImportError`` here where ``ray[train]`` is not installed.

    ::

        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

        loop = train_loop(loss=loss, init=init, data=data, optimizer=adamw(), steps=1000, global_batch=256, out="/shared/run")
        trainer = DataParallelTrainer(
            loop,
            scaling_config=ScalingConfig(num_workers=4),
            run_config=RunConfig(storage_path="/shared/ray", failure_config=FailureConfig(max_failures=3)),
        )
        checkpoint = trainer.fit().checkpoint
    """
    _ray_train()
    check_names(train_loop, numbers)
    if "workers" in numbers:
        raise ConfigError("Ray Train says how many workers there are: ScalingConfig(num_workers=...)")
    template = asked_job(
        loss=loss,
        init=init,
        data=data,
        optimizer=optimizer,
        rate=rate,
        out=out,
        memory_budget=memory_budget,
        validation=validation,
        evaluate=evaluate,
        used_rows=used_rows,
        steps=steps,
        global_batch=global_batch,
        workers=1,
        **numbers,
    )
    sent_bytes(template)

    def loop(_: Any = None) -> None:
        context = _ray_train().get_context()
        rank, world = context.get_world_rank(), context.get_world_size()
        with _opened(template.out, rank) as (token, resume, meeting):
            job = replace(template, config=replace(template.config, workers=world), resume=resume)
            worker = Worker(job)
            ready = worker.prepare()
            formation = _meet(meeting, worker, ready, rank, world, token, job)
            _train(worker, formation, rank, job)

    return loop


@contextmanager
def _opened(out: Path, rank: int) -> Iterator[tuple[str, Any, Any]]:
    """The run's secret, the snapshot to go on from, and where the ranks meet; the first rank holds the folder meanwhile."""
    from ray.train.collective import broadcast_from_rank_zero

    if rank:
        told: Any = broadcast_from_rank_zero(None)
        yield told
        return
    import ray

    checkpoint = _ray_train().get_checkpoint()
    saved = out / SNAPSHOT_FOLDER
    with scratch_folder() as place, held(out):
        resume = None
        if checkpoint is None:
            set_aside(out, saved)
        else:
            resume = newest_good(saved)
            if resume is None:
                resume, _ = find_snapshot(checkpoint.to_directory(str(place / "checkpoint")), True)
                shutil.copytree(Path(str(resume)).parent, saved, dirs_exist_ok=True)  # for all ranks to see
                resume = newest_good(saved)
            assert resume is not None
            set_aside_newer(out, saved, resume)
        meeting = ray.remote(_Meeting).options(num_cpus=0).remote()
        yield broadcast_from_rank_zero((secrets.token_hex(32), resume, meeting))


class _Meeting:
    """An actor in which every rank tells who and where it is."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Ready, Address]] = {}

    def tell(self, rank: int, ready: Ready, address: Address) -> None:
        """Takes one rank's word."""
        self._known[rank] = (ready, address)

    def all(self) -> dict[int, tuple[Ready, Address]]:
        """What was told so far."""
        return self._known


def _meet(meeting: Any, worker: Worker, ready: Ready, rank: int, world: int, token: str, job: Job) -> Formation:
    """The formation of all ranks. Raises ``MismatchError`` where their bits would differ."""
    import ray
    from ray.train.collective import barrier

    ray.get(meeting.tell.remote(rank, ready, worker.listen()))
    barrier()
    known = ray.get(meeting.all.remote())
    ranks = range(world)
    readies = [known[each][0] for each in ranks]
    names = [f"worker {each} on {ready.host}" for each, ready in enumerate(readies)]
    check_same([ready.fingerprint for ready in readies], names)
    check_same_parameters([ready.parameters for ready in readies], names)
    firsts = [each for each in ranks if each == 0 or known[each][0].node != known[each - 1][0].node]
    if len(firsts) > len({known[each][0].node for each in ranks}):
        raise RunError("Ray Train's ranks do not stand node by node: the sum over shared memory needs that")
    return Formation(
        token=token,
        generation=1,
        shards=ready.shards,
        nodes=tuple(end - start for start, end in zip(firsts, [*firsts[1:], world], strict=True)),
        addresses=tuple(known[each][1] for each in firsts) if len(firsts) > 1 else (),
        deadline_seconds=job.config.deadline_seconds,
        wire=job.config.wire,
    )


def _train(worker: Worker, formation: Formation, rank: int, job: Job) -> None:
    """Trains to the end, with the reports that are due on the way."""
    reported = worker.replica.step
    every, last = job.config.snapshot_every, job.config.steps
    due = [*range(worker.replica.step - worker.replica.step % every + every, last, every), last]
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(worker.run, formation, rank, False, *formation.addresses)
        try:
            for step in due:
                while worker.replica.after_step < step and not training.done():
                    time.sleep(_POLL_SECONDS)
                if worker.replica.after_step < step:
                    break
                _report(worker, step, rank, job, training)
                reported = step
        finally:
            worker.call_off(formation.generation)  # changes nothing where the training has ended
    outcome = training.result()
    if outcome.failure is not None:
        error = outcome.failure.rebuild()
        error.add_note(outcome.failure.traceback)
        raise error
    if outcome.step > reported:  # it stopped early
        _report(worker, outcome.step, rank, job, training)


def _report(worker: Worker, step: int, rank: int, job: Job, training: Future[Outcome]) -> None:
    """Reports the row of ``step``, and from the first rank its snapshot, where that could be written."""
    train = _ray_train()
    metrics: dict[str, Any] = {}
    for row in worker.rows(step):
        if row["step"] == step:
            metrics |= row
    saved = job.out / SNAPSHOT_FOLDER
    name = f"step-{step:09d}"
    with scratch_folder() as place:
        files, checkpoint = place / name, None
        files.mkdir()
        if rank == 0 and _is_written(saved / f"{name}.snapshot", training):
            for file in saved.glob(f"{name}[.-]*"):
                shutil.copy(file, files)
            checkpoint = train.Checkpoint.from_directory(str(files))
        train.report(metrics, checkpoint=checkpoint)


def _is_written(file: Path, training: Future[Outcome]) -> bool:
    """Whether a snapshot's file comes within a minute; what training leaves unwritten at its end does not come."""
    deadline = time.monotonic() + _FILE_SECONDS
    while not file.exists() and not training.done() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return file.exists()


def _ray_train() -> Any:
    try:
        from ray import train
    except ImportError as error:
        raise ImportError(f"retape.cluster.ray_train needs Ray Train ({error}): pip install 'ray[train]'") from error
    return train
