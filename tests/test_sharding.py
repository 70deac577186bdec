"""Optimizer state sharded over workers: the bits of an unsharded run, for any number of them, resized, resumed, or lost."""

import secrets
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_worker import _Counting, _Failing

from retape.cluster import (
    Optimizer,
    TrainConfig,
    adamw,
    lamb,
    lars,
    latest_snapshot,
    load_snapshot,
    momentum,
    sgd,
    train,
    warmup_cosine,
)
from retape.cluster.comm.formation import Formation
from retape.cluster.comm.layout import Layout
from retape.cluster.comm.pieces import BLOCK, pieces
from retape.cluster.data import as_source
from retape.cluster.errors import ConfigError, RunError
from retape.cluster.job import Job
from retape.cluster.optimizers import block_sums, root
from retape.cluster.training import Training
from retape.cluster.worker import Worker
from retape.runtime.trees import flatten

STEPS, SHARDS = 24, 4
OPTIMIZERS = {"sgd": sgd, "momentum": momentum, "adamw": adamw, "lars": lars, "lamb": lamb}


def init(seed):
    draw = np.random.default_rng(seed)
    return {
        "a": draw.standard_normal((5, 900), np.float32) * 0.3,
        "bias": np.zeros(900, np.float32),
        "gain": np.ones((), np.float32),
        "b": draw.standard_normal((900, 7)) * 0.1,
    }


def loss(params, batch):
    x, targets = batch
    hidden = np.tanh(x @ params["a"] + params["bias"])
    error = params["gain"] * (hidden @ params["b"])[:, :2] - targets
    return np.mean(error * error)


def job(out, name="lamb", **settings):
    draw = np.random.default_rng(0)
    x = draw.standard_normal((64, 5), np.float32)
    data = as_source((x, np.tanh(x @ draw.standard_normal((5, 2), np.float32))))
    numbers = {"steps": STEPS, "global_batch": 10, "workers": 1, "shards": SHARDS, "snapshot_every": 7, "clip_norm": 0.05}
    config = TrainConfig(**{**numbers, "shard_optimizer": True, **settings})
    return Job(loss, init, data, OPTIMIZERS[name](), warmup_cosine(0.05, steps=STEPS, warmup=5), config, out)


def crew(count, made):
    workers = [Worker(made) for _ in range(count)]
    for worker in workers:
        worker.prepare()
    return workers


def together(workers, nodes=None, generation=1):
    """Lets the workers train in one formation; returns their outcomes."""
    nodes = nodes or (len(workers),)
    formation = Formation(secrets.token_hex(16), generation, SHARDS, nodes, deadline_seconds=30)
    addresses = []
    if len(nodes) > 1:
        addresses = [workers[formation.first_rank(node)].listen() for node in range(len(nodes))]
    outcomes: list[Any] = [None] * len(workers)

    def one(rank):
        outcomes[rank] = workers[rank].run(formation, rank, False, *addresses)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(len(workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=100)
    for worker in workers:
        if worker._listener is not None:
            worker._listener.close()
            worker._listener = None
    return outcomes


def end_state(made):
    """The bytes of the last snapshot's parameters and optimizer state."""
    newest, damaged = latest_snapshot(made.snapshot_folder)
    assert not damaged
    params = made.init(0)
    found = load_snapshot(newest, params_like=params, state_like=made.optimizer.init(params))
    return found.step, [leaf.tobytes() for leaf in flatten((found.params, found.state))[0]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The end states of unsharded runs of one worker, by optimizer."""
    known: dict[str, Any] = {}

    def of(name):
        if name not in known:
            made = job(tmp_path_factory.mktemp(name), name, shard_optimizer=False)
            assert together(crew(1, made))[0].status == "finished"
            known[name] = end_state(made)
        return known[name]

    return of


@pytest.mark.parametrize("nodes", [(1,), (2,), (3,), (4,), (1, 1), (1, 2)], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_sharded_run_has_the_bits_of_an_unsharded_one(alone, tmp_path, name, nodes):
    made = job(tmp_path, name)
    outcomes = together(crew(sum(nodes), made), nodes)
    assert [outcome.status for outcome in outcomes] == ["finished"] * sum(nodes)
    assert end_state(made) == alone(name)


@pytest.mark.parametrize("world", [1, 2, 3, 4, 7])
def test_pieces_cover_every_element_once_and_are_of_one_size_to_a_block(world):
    leaves = [
        np.zeros((300, 1000), np.float32),
        np.zeros(5),
        np.zeros((), np.float32),
        np.zeros((77, 3001)),
        np.zeros((0, 4)),
    ]
    layout = Layout.of(leaves)
    found = [pieces(layout, rank, world) for rank in range(world)]
    for leaf, array in enumerate(leaves):
        edges = [edge for rank in range(world) for edge in (found[rank][leaf].start, found[rank][leaf].stop)]
        assert edges == sorted(edges) and edges[0] == 0 and edges[-1] == array.size and edges[1:-1:2] == edges[2::2]
        assert all(edge % BLOCK == 0 or edge == array.size for edge in edges)
    total = sum(leaf.nbytes for leaf in leaves)
    for mine in found:
        size = sum(piece.of(leaf).nbytes for piece, leaf in zip(mine, leaves, strict=True))
        assert abs(size - total / world) <= 2 * 8 * BLOCK


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 1e-8), (np.float64, 1e-14)])
def test_a_norm_has_the_same_bits_from_any_pieces(dtype, error):
    leaf = np.random.default_rng(1).standard_normal((71, 3001)).astype(dtype)
    layout, whole = Layout.of([leaf]), block_sums(leaf)
    assert root(whole) == pytest.approx(np.linalg.norm(leaf.astype(np.float64)), rel=error)
    for world in (2, 3, 5, 8):
        parts = [block_sums(pieces(layout, rank, world)[0].of(leaf)) for rank in range(world)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_the_norm_of_what_is_too_large_or_no_number_is_that():
    assert np.isinf(root(block_sums(np.full(5, 1e200)))) and np.isnan(root(block_sums(np.array([np.nan, 1.0]))))
    assert root(block_sums(np.full(3, 1e19, np.float32))) == pytest.approx(1e19 * np.sqrt(3))


@pytest.mark.parametrize("world", [2, 3, 4])
def test_each_worker_holds_its_share_of_the_state_and_five_percent(tmp_path, monkeypatch, world):
    held, step = [], Training._one_step

    def measured(training, feed):
        assert training.replica.state is None and training._shards is not None
        held.append(training._shards.state_bytes)
        return step(training, feed)

    monkeypatch.setattr(Training, "_one_step", measured)
    made = job(tmp_path, "adamw", steps=2)
    made = replace(made, init=lambda seed: {**init(seed), "large": np.zeros((500, 401), np.float32)})
    workers = crew(world, made)
    assert {outcome.status for outcome in together(workers)} == {"finished"}
    whole = sum(leaf.nbytes for leaf in flatten(made.optimizer.init(made.init(0)))[0])
    assert len(held) == 2 * world and max(held) <= whole * (1 / world + 0.05)


def test_a_run_that_grows_and_shrinks_has_the_same_bits(alone, tmp_path):
    made = job(tmp_path)
    workers = crew(4, made)
    sizes = [1, 3, 2, 4, 1]
    for generation, count in enumerate(sizes, start=1):
        chosen = workers[:count]
        if generation < len(sizes):
            chosen[0].job = replace(made, data=_Counting(made.data, chosen[0], 6))
        statuses = {outcome.status for outcome in together(chosen, generation=generation)}
        assert statuses == {"regrouped" if generation < len(sizes) else "finished"}
        for worker in workers[1:]:
            worker.take_over(workers[0].hand_over())
    assert end_state(made) == alone("lamb")


@pytest.mark.parametrize("batches", [2, 9, 20])
def test_a_worker_lost_with_its_part_of_the_state_sends_all_back_to_the_newest_snapshot(alone, tmp_path, batches):
    made = job(tmp_path)
    workers = crew(3, made)
    workers[1].job = replace(made, data=_Failing(made.data, batches))
    outcomes = together(workers)
    assert [outcome.status for outcome in outcomes] == ["aborted", "failed", "aborted"]
    assert not any(outcome.is_whole for outcome in outcomes)
    with pytest.raises(RunError, match="not to be used"):
        workers[0].hand_over()
    newest = latest_snapshot(made.snapshot_folder)[0]
    for worker in (workers[0], workers[2]):
        worker.prepare(newest)
    assert {outcome.status for outcome in together([workers[2], workers[0]], generation=2)} == {"finished"}
    assert end_state(made) == alone("lamb")


@pytest.mark.parametrize(("first", "then"), [((3, True), (2, True)), ((2, True), (1, False)), ((2, False), (4, True))])
def test_a_snapshot_does_not_say_how_the_state_was_sharded(alone, tmp_path, first, then):
    made = job(tmp_path, steps=11, shard_optimizer=first[1])
    assert {outcome.status for outcome in together(crew(first[0], made))} == {"finished"}
    newest = latest_snapshot(made.snapshot_folder)[0]
    made = replace(job(tmp_path, shards=None, shard_optimizer=then[1]), resume=newest)
    assert {outcome.status for outcome in together(crew(then[0], made))} == {"finished"}
    assert end_state(made) == alone("lamb")


def test_an_optimizer_without_an_update_of_pieces_is_refused_before_ray_starts(tmp_path):
    own = Optimizer(lambda params: {}, lambda params, grads, state, rate: (params, state), "own")
    with pytest.raises(ConfigError, match="update_pieces, which 'own' does not have"):
        train(
            loss=loss,
            init=init,
            data=np.zeros((8, 1)),
            optimizer=own,
            steps=1,
            global_batch=4,
            out=tmp_path,
            shard_optimizer=True,
        )
