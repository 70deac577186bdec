"""Workers as plain objects, a thread for each rank: the same bits for any number of them, and through hand-overs."""

import errno
import importlib
import os
import secrets
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from retape.cluster import (
    ConfigError,
    MismatchError,
    ReplicaMismatchError,
    TrainConfig,
    adamw,
    lamb,
    latest_snapshot,
    load_snapshot,
    warmup_cosine,
)
from retape.cluster.comm.formation import Formation
from retape.cluster.data import as_source
from retape.cluster.errors import AbortedError, SnapshotError
from retape.cluster.fingerprint import check_same, check_same_parameters, fingerprint, parameters
from retape.cluster.job import Job
from retape.cluster.shards import cut
from retape.cluster.worker import Worker

SHARDS = 4


def init(seed):
    draw = np.random.default_rng(seed)
    return {"a": draw.standard_normal((5, 8), np.float32) * 0.3, "b": draw.standard_normal((8, 2))}


def loss(params, batch):
    x, targets = batch
    error = np.tanh(x @ params["a"]) @ params["b"] - targets
    return np.mean(error * error)


def job(out, **settings):
    draw = np.random.default_rng(0)
    x = draw.standard_normal((64, 5), np.float32)
    data = as_source((x, np.tanh(x @ draw.standard_normal((5, 2), np.float32))))
    config = TrainConfig(
        **{"steps": 200, "global_batch": 10, "workers": 1, "shards": SHARDS, "snapshot_every": 1000, **settings}
    )
    made = Job(loss, init, data, adamw(), warmup_cosine(0.05, steps=200, warmup=5), config, out)
    return replace(made, validation=data, evaluate=lambda params, batch: {"val_loss": float(loss(params, batch))})


def crew(count, made):
    workers = [Worker(made) for _ in range(count)]
    for worker in workers:
        worker.prepare()
    return workers


def together(workers, generation=1, meanwhile=lambda: None, **settings):
    """Lets the workers train in one formation; returns their outcomes."""
    formation = Formation(secrets.token_hex(16), generation, SHARDS, (len(workers),), deadline_seconds=20, **settings)
    outcomes: list[Any] = [None] * len(workers)

    def one(rank):
        outcomes[rank] = workers[rank].run(formation, rank)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(len(workers))]
    for thread in threads:
        thread.start()
    meanwhile()
    for thread in threads:
        thread.join(timeout=100)
    return outcomes


def bits(worker):
    return {name: leaf.tobytes() for name, leaf in worker.replica.params.items()} | {
        f"{part}.{name}": worker.replica.state[part][name].tobytes() for part in ("mean", "square") for name in "ab"
    }


def facts(worker):
    """What the rows say of training, without times."""
    rows = worker.rows(0)
    return [(row["step"], row.get("loss"), row.get("gradient_norm"), row.get("val_loss")) for row in rows]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    [worker] = crew(1, job(tmp_path_factory.mktemp("alone")))
    assert [outcome.status for outcome in together([worker])] == ["finished"]
    return worker


@pytest.mark.parametrize("count", [2, 3, 4])
def test_200_steps_have_the_same_bits_for_any_number_of_workers(alone, tmp_path, count):
    workers = crew(count, job(tmp_path))
    assert [outcome.status for outcome in together(workers)] == ["finished"] * count
    for worker in workers:
        assert bits(worker) == bits(alone) and facts(worker) == facts(alone)
    assert len(facts(alone)) == 204  # 200 steps and 4 validations


def test_a_run_that_grows_and_shrinks_has_the_same_bits(alone, tmp_path):
    made = job(tmp_path)
    workers = crew(4, made)
    sizes = [1, 3, 2, 4, 1]
    for generation, count in enumerate(sizes, start=1):
        chosen = workers[:count]
        if generation < len(sizes):
            chosen[0].job = replace(made, data=_Counting(made.data, chosen[0], 30))
        statuses = {outcome.status for outcome in together(chosen, generation)}
        assert statuses == {"regrouped" if generation < len(sizes) else "finished"}
        for worker in workers[1:]:
            worker.take_over(workers[0].hand_over())
    assert bits(workers[0]) == bits(alone) and facts(workers[0]) == facts(alone)


class _Counting:
    """A source that asks its worker for a new formation after so many batches."""

    def __init__(self, source, worker, batches):
        self.source, self.worker, self.left = source, worker, batches

    def __len__(self):
        return len(self.source)

    def batch(self, indices):
        self.left -= 1
        if not self.left:
            self.worker.regroup()
        return self.source.batch(indices)


def test_a_called_off_formation_leaves_every_worker_whole_and_the_next_one_goes_on(alone, tmp_path):
    made = job(tmp_path)
    workers = crew(3, made)
    gone = replace(made, data=_Failing(made.data, 77))
    workers[1].job = gone
    outcomes = together(workers)
    assert [outcome.status for outcome in outcomes] == ["aborted", "failed", "aborted"]
    assert all(outcome.is_whole for outcome in outcomes)
    newest = max(workers, key=lambda worker: worker.replica.step)
    for worker in workers:
        if worker.replica.step != newest.replica.step:
            worker.take_over(newest.hand_over())
    assert {outcome.status for outcome in together([workers[2], workers[0]], 2)} == {"finished"}
    assert bits(workers[0]) == bits(alone) and facts(workers[0]) == facts(alone)


class _Failing:
    def __init__(self, source, batches):
        self.source, self.left = source, batches

    def __len__(self):
        return len(self.source)

    def batch(self, indices):
        self.left -= 1
        if not self.left:
            raise OSError("the disk is gone")
        return self.source.batch(indices)


def test_an_old_formation_is_refused(tmp_path):
    [worker] = crew(1, job(tmp_path, steps=3))
    assert together([worker], 5)[0].status == "finished"
    [outcome] = together([worker], 4)
    assert outcome.status == "aborted" and outcome.failure.kind is AbortedError
    assert "seen generation 5" in outcome.failure.args[0]


def test_workers_that_are_not_at_the_same_step_do_not_train_together(tmp_path):
    workers = crew(2, job(tmp_path, steps=3))
    assert together(workers[:1])[0].status == "finished"
    workers[1].job = workers[0].job
    outcomes = together(workers, 2)
    assert {outcome.failure.kind for outcome in outcomes} <= {ReplicaMismatchError, AbortedError}
    assert any(outcome.failure.kind is ReplicaMismatchError for outcome in outcomes)


def test_a_snapshot_of_three_workers_is_resumed_bit_exactly_by_two(alone, tmp_path):
    assert {outcome.status for outcome in together(crew(3, job(tmp_path, steps=77)))} == {"finished"}
    [path] = (tmp_path / "snapshots").glob("step-000000077*")
    workers = crew(2, replace(job(tmp_path, shards=None), resume=path))  # the number of shards is the snapshot's
    assert {outcome.status for outcome in together(workers)} == {"finished"}
    assert bits(workers[0]) == bits(alone)


def test_evaluate_that_returns_other_names_on_one_worker_is_an_error(tmp_path):
    workers = crew(2, job(tmp_path, steps=1))
    workers[1].job = replace(workers[1].job, evaluate=lambda params, batch: {"accuracy": 1.0})
    assert MismatchError in {outcome.failure.kind for outcome in together(workers)}


def test_memory_that_runs_out_makes_the_microbatch_smaller_by_its_plan(tmp_path):
    [worker] = crew(1, job(tmp_path, global_batch=32, steps=2))
    formation = Formation(secrets.token_hex(16), 1, SHARDS)
    assert worker.run(formation, 0, True).status == "finished"
    sizes = {row["microbatch"] for row in worker.rows(0) if "loss" in row}
    assert sizes < {1, 2, 4}
    [path] = (tmp_path / "snapshots").glob("step-000000002*")
    like = init(0)
    assert {load_snapshot(path, params_like=like, state_like=adamw().init(like)).settings["microbatch"]} == sizes


def test_a_fingerprint_names_what_differs():
    mine = fingerprint()
    check_same([mine, fingerprint()], ["worker 0 on a", "worker 1 on b"])
    with pytest.raises(MismatchError, match=r"worker 0 on a and worker 1 on b .*NumPy: .* and 1\.0"):
        check_same([mine, {**mine, "NumPy": "1.0"}], ["worker 0 on a", "worker 1 on b"])


def test_a_fingerprint_tells_of_the_users_own_modules(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_own_losses.py").write_text("SCALE = 1")
    importlib.import_module("my_own_losses")
    mine = fingerprint()
    (tmp_path / "my_own_losses.py").write_text("SCALE = 2")
    with pytest.raises(MismatchError, match=r"\(module my_own_losses: \w+ and \w+\)"):
        check_same([mine, fingerprint()], ["worker 0 on a", "worker 1 on b"])
    without = {name: digest for name, digest in mine.items() if name != "module my_own_losses"}
    check_same([mine, without], ["worker 0 on a", "worker 1 on b"])  # that one has not come to it yet


def test_parameters_that_init_makes_otherwise_on_one_worker_are_named():
    names = ["worker 0 on a", "worker 1 on b"]
    check_same_parameters([parameters(init(0)), parameters(init(0))], names)
    with pytest.raises(
        MismatchError, match=r"on worker 1 on b than on worker 0 on a \(params\['a'\]: float32 \(5, 8\), digest \w+ and "
    ):
        check_same_parameters([parameters(init(0)), parameters(init(1))], names)
    with pytest.raises(MismatchError, match=r"\(params\['c'\]: none and float64 \(2,\), digest \w+\)"):
        check_same_parameters([parameters(init(0)), parameters({**init(0), "c": np.zeros(2)})], names)


@pytest.mark.parametrize(("examples", "shards"), [(8, 4), (10, 4), (3, 4), (1, 1)])
def test_shards_cover_the_batch_in_order(examples, shards):
    pieces = cut(np.arange(examples), shards)
    assert np.concatenate(pieces).tolist() == list(range(examples)) and len(pieces) == shards
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


def test_a_full_disk_is_told_of_and_the_snapshot_comes_when_there_is_space(alone, tmp_path, monkeypatch):
    sync, failed, told = os.fsync, [], []

    def fsync(descriptor):
        if worker.replica.step > 0 and not told:
            failed.append(descriptor)
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    [worker] = crew(1, job(tmp_path, snapshot_every=50, best="lowest val_loss"))
    record = worker._rows.record
    worker._rows.record = lambda row: (told.append(row) if "warning" in row else None, record(row))
    assert together([worker])[0].status == "finished"
    assert failed and "No space left" in told[0]["warning"] and told[0]["step"] < 200
    assert bits(worker) == bits(alone)
    folder = tmp_path / "snapshots"
    newest, damaged = latest_snapshot(folder)
    assert newest.name == "step-000000200.snapshot" and not damaged
    best = load_snapshot(folder / "best.snapshot", params_like=worker.replica.params, state_like=worker.replica.state)
    losses = {row["step"]: row["val_loss"] for row in worker.rows(0) if "val_loss" in row}
    assert best.scores["val_loss"] == losses[best.step] == min(losses[int(p.name[5:14])] for p in folder.glob("step-*[1-9]*"))


def test_data_that_changes_its_length_ends_the_run_with_both_lengths(tmp_path):
    made = job(tmp_path)

    class Growing:
        def __init__(self):
            self.count = 64

        def __len__(self):
            return self.count

        def batch(self, indices):
            self.count = 65
            return made.data.batch(indices)

    [worker] = crew(1, replace(made, data=Growing()))
    [outcome] = together([worker])
    assert outcome.status == "failed" and "held 64 examples" in str(outcome.failure.rebuild())
    assert "holds 65 now" in str(outcome.failure.rebuild()) and worker.replica.step == 1


def test_workers_that_see_different_data_do_not_start(tmp_path):
    made = job(tmp_path)
    shorter = as_source(tuple(leaf[:-1] for leaf in made.data.tree))
    workers = crew(1, made) + crew(1, replace(made, data=shorter))
    outcomes = together(workers)
    assert all(worker.replica.step == 0 for worker in workers)
    assert any("[64, 63] examples" in str(outcome.failure.rebuild()) for outcome in outcomes)


def test_a_run_is_not_resumed_with_another_optimizer_of_the_same_state(tmp_path):
    made = job(tmp_path, steps=2)
    [worker] = crew(1, made)
    together([worker])
    newest, _ = latest_snapshot(tmp_path / "snapshots")
    with pytest.raises(SnapshotError, match="'adamw' saved, 'lamb' here"):
        Worker(replace(made, optimizer=lamb(), resume=newest)).prepare()


def test_a_first_rank_lost_while_it_writes_the_last_snapshot_leaves_that_to_the_others(alone, tmp_path, monkeypatch):
    from retape.cluster import snapshot as snapshots

    def lost(writer, seconds, *, check):
        if writer is workers[0]._saver._writer:
            time.sleep(0.3)  # the other rank has gone on by then
            raise AbortedError("as if killed")

    monkeypatch.setattr(snapshots.Writer, "finish", lost)
    monkeypatch.setattr(snapshots.Writer, "submit", lambda writer, snapshot, share, *, check: None)
    workers = crew(2, job(tmp_path))
    assert [outcome.status for outcome in together(workers)] == ["aborted", "aborted"]
    monkeypatch.undo()
    assert not list((tmp_path / "snapshots").glob("step-000000200*"))
    assert together(workers[1:], 2)[0].status == "finished"
    assert list((tmp_path / "snapshots").glob("step-000000200*"))
    assert bits(workers[1]) == bits(alone)


def test_the_best_snapshot_by_a_figure_that_is_not_there_is_refused(tmp_path):
    [worker] = crew(1, job(tmp_path, steps=2, best="lowest val_los"))
    error = together([worker])[0].failure.rebuild()
    assert isinstance(error, ConfigError) and "evaluate returns val_loss" in str(error)
