"""Gradients that travel by rows: the bits of whole tables, the same for any number of workers, and fewer bytes."""

import socket
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_sharding import crew, end_state, together
from test_worker import _Counting, _Failing

import retape as rt
from retape.cluster import (
    AbortedError,
    ConfigError,
    MismatchError,
    Optimizer,
    RunError,
    TrainConfig,
    adamw,
    lamb,
    lars,
    momentum,
    sgd,
    train,
    warmup_cosine,
)
from retape.cluster.data import as_source
from retape.cluster.job import Job
from retape.cluster.row_table import RowTable
from retape.cluster.tables import Tables
from retape.runtime.trees import flatten

STEPS, EXTENT, WIDTH = 16, 300, 6
OPTIMIZERS = {"sgd": sgd(), "momentum": momentum(nesterov=True), "adamw": adamw(weight_decay=0.1)}


def init(seed):
    draw = np.random.default_rng(seed)
    return {
        "words": draw.standard_normal((EXTENT, WIDTH), np.float32),
        "bias": np.zeros(EXTENT),
        "mix": draw.standard_normal((WIDTH, 2, 3), np.float32),
    }


def loss(params, batch):
    words, targets = batch
    mixed = np.tensordot(np.tanh(params["words"][words]).mean(axis=1), params["mix"], axes=1)
    error = mixed.sum(axis=(1, 2)) + params["bias"][words[:, 0]] - targets
    return np.mean(error * error)


def used_rows(batch):
    words, _ = batch
    return {"words": words, "bias": words[:, 0]}


def job(out, name="adamw", by_rows=True, **settings):
    out.mkdir(exist_ok=True)
    draw = np.random.default_rng(0)
    words = draw.integers(0, EXTENT, (70, 4))
    words[: len(words) // 2] %= 20  # some rows are used often, and by several shards at once
    data = as_source((words, draw.standard_normal(70)))
    numbers = {"steps": STEPS, "global_batch": 10, "workers": 1, "shards": 4, "snapshot_every": 7, "clip_norm": None}
    made = Job(
        loss, init, data, OPTIMIZERS[name], warmup_cosine(0.05, steps=STEPS, warmup=5), TrainConfig(**numbers | settings), out
    )
    return replace(made, used_rows=used_rows if by_rows else None)


def trained(made, nodes=(1,)):
    outcomes = together(crew(sum(nodes), made), nodes)
    assert [outcome.status for outcome in outcomes] == ["finished"] * sum(nodes), outcomes[0].failure
    return end_state(made)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    known: dict[str, Any] = {}

    def of(name):
        if name not in known:
            known[name] = trained(job(tmp_path_factory.mktemp(name), name))
        return known[name]

    return of


@pytest.mark.parametrize("budget", [None, 2200])
def test_plain_steps_by_rows_have_the_bits_of_steps_with_whole_tables(tmp_path, budget):
    by_rows = job(tmp_path / "rows", "sgd", memory_budget=budget)
    assert trained(by_rows) == trained(job(tmp_path / "whole", "sgd", by_rows=False))


@pytest.mark.parametrize("nodes", [(2,), (3,), (1, 2)], ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_by_rows_has_the_same_bits_for_any_number_of_workers(alone, tmp_path, name, nodes):
    assert trained(job(tmp_path, name), nodes) == alone(name)


def test_rows_that_a_step_does_not_use_stay_as_they_are_with_their_state(tmp_path):
    made = job(tmp_path, steps=1)
    [worker] = crew(1, made)
    assert together([worker])[0].status == "finished"
    words, _ = made.data.batch(np.arange(70))
    before = init(0)["words"]
    changed = np.flatnonzero((worker.replica.params["words"] != before).any(axis=1))
    assert worker.replica.state is not None
    held = np.flatnonzero(worker.replica.state["square"]["words"].any(axis=1))
    assert set(changed) == set(held) and set(held) <= set(words.reshape(-1)) and 20 < len(held) <= 40


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_a_lazy_step_is_the_optimizers_own_on_the_rows_that_are_used(name):
    optimizer, params, draw = OPTIMIZERS[name], init(0), np.random.default_rng(1)
    batch = (np.array([[3, 9, 9, 40]]), np.ones(1))
    tables = Tables(loss, used_rows, params, batch, examples=4)
    state = optimizer.init(params)
    dense_state = optimizer.init(params)
    dense = {key: leaf.copy() for key, leaf in params.items()}
    for _ in range(3):
        tables.small(params, batch)
        grads = {
            "words": draw.standard_normal((3, WIDTH), np.float32),
            "bias": np.ones(1),
            "mix": np.ones((WIDTH, 2, 3), np.float32),
        }
        state = tables.update(optimizer, params, grads, state, 0.1)
        whole = {key: np.zeros_like(leaf) for key, leaf in params.items()}
        whole["words"][[3, 9, 40]], whole["bias"][[3]], whole["mix"][...] = grads["words"], 1, 1
        dense, dense_state = optimizer.update(dense, whole, dense_state, 0.1)
    for tree, expected in ((params, dense), (state, dense_state)):
        for leaf, other in zip(flatten(tree)[0], flatten(expected)[0], strict=True):
            rows = [3, 9, 40] if leaf.shape == (EXTENT, WIDTH) else [3] if leaf.shape == (EXTENT,) else ...
            assert leaf[rows].tobytes() == other[rows].tobytes()
    assert params["words"][[0, 1, 299]].tobytes() == init(0)["words"][[0, 1, 299]].tobytes()


def test_a_run_that_grows_loses_a_worker_and_is_resumed_has_the_same_bits(alone, tmp_path):
    made = job(tmp_path)
    workers = crew(3, made)
    workers[0].job = replace(made, data=_Counting(made.data, workers[0], 12))
    assert together(workers[:1])[0].status == "regrouped"
    for worker in workers[1:]:
        worker.take_over(workers[0].hand_over())
    workers[1].job = replace(made, data=_Failing(made.data, 9))
    outcomes = together(workers, generation=2)
    assert [outcome.status for outcome in outcomes] == ["aborted", "failed", "aborted"]
    assert all(outcome.is_whole for outcome in outcomes)
    newest = max(workers, key=lambda worker: worker.replica.step)
    for worker in workers:
        worker.take_over(newest.hand_over())
    assert {outcome.status for outcome in together([workers[2], workers[0]], generation=3)} == {"finished"}
    assert end_state(made) == alone("adamw")
    files = sorted((tmp_path / "snapshots").glob("*.snapshot"))
    again = replace(job(tmp_path / "again", shards=None), resume=files[0])
    assert trained(again, (2,)) == alone("adamw")


def test_only_the_used_rows_travel_between_nodes(tmp_path, monkeypatch):
    sent, send = [], socket.socket.sendmsg

    def counted(connection, buffers):
        sent.append(send(connection, buffers))
        return sent[-1]

    monkeypatch.setattr(socket.socket, "sendmsg", counted)
    sizes = {}
    for by_rows in (True, False):
        made = job(tmp_path / str(by_rows), by_rows=by_rows, steps=4)
        workers = crew(2, made)
        sent.clear()
        assert {outcome.status for outcome in together(workers, (1, 1))} == {"finished"}
        sizes[by_rows] = sum(sent), sum(row.get("gradient_bytes", 0) for row in workers[0].rows(0))
    whole = sum(leaf.nbytes for leaf in init(0).values())
    assert sizes[False][1] == 4 * whole and sizes[True][1] < 0.2 * sizes[False][1]
    assert sizes[True][0] < 0.4 * sizes[False][0]


def test_a_table_of_rows_is_differentiated_like_the_whole_one_inside_of_a_checkpoint_too():
    params, batch = init(3), (np.array([[3, 9, 9, 40], [0, 299, 3, 3]]), np.ones(2))
    tables = Tables(loss, used_rows, params, batch, examples=4)
    value, grads = rt.value_and_grad(rt.checkpoint(tables.loss))(tables.small(params, batch), batch)
    whole_value, whole = rt.value_and_grad(loss)(params, batch)
    assert value == whole_value
    for name, numbers in (("words", [0, 3, 9, 40, 299]), ("bias", [0, 3])):
        assert grads[name][: len(numbers)].tobytes() == whole[name][numbers].tobytes()
        assert not grads[name][len(numbers) :].any()


def test_workers_that_find_other_rows_do_not_update(tmp_path):
    def one_more(batch):
        words, _ = batch
        return used_rows(batch) | ({"words": np.append(words, 299)} if len(words) > 1 else {})

    made = job(tmp_path, steps=3)
    workers = [*crew(1, made), *crew(1, replace(made, used_rows=one_more))]
    kinds = {outcome.failure.kind for outcome in together(workers)}
    assert MismatchError in kinds and kinds <= {MismatchError, AbortedError}
    assert workers[0].replica.step == 0 and workers[0].replica.params["words"].tobytes() == init(0)["words"].tobytes()


TABLE = RowTable(np.zeros((2, 3)), np.array([4, 7]), "words", (9, 3))


@pytest.mark.parametrize(
    "use",
    [
        lambda table: np.sum(table),
        lambda table: np.sum(table * table),
        lambda table: 2.0 * table,
        lambda table: np.ones((1, 9)) @ table,
        lambda table: np.ones(3) + table,
        lambda table: table.T,
        lambda table: table.sum(),
        lambda table: list(table),
        lambda table: table[:2],
        lambda table: table[np.array([4]), 0],
        lambda table: table[[True] * 9],
        lambda table: table[1.0],
        lambda table: table[np.array([4, 5])],
        lambda table: table[-2],
        lambda table: np.take(table, [4], axis=0),
        lambda table: np.concatenate([table, table]),
    ],
)
def test_any_other_use_of_a_table_that_travels_by_rows_is_an_error(use):
    with pytest.raises((RunError, TypeError, AttributeError)):
        use(TABLE)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"optimizer": lamb()}, "lamb takes norms of whole parameters"),
        ({"optimizer": lars()}, "lars takes norms of whole parameters"),
        ({"optimizer": Optimizer(adamw().init, adamw().update, "own")}, "update_pieces, which 'own' does not have"),
        ({"shard_optimizer": True}, "leave one of them out"),
        ({"wire": "bfloat16"}, "use float32"),
    ],
    ids=["lamb", "lars", "no pieces", "shards", "wire"],
)
def test_what_does_not_go_with_used_rows_is_refused_before_ray_starts(tmp_path, more, said):
    kind: dict[str, Any] = {"optimizer": adamw(), "steps": 1, "global_batch": 4, **more}
    with pytest.raises(ConfigError, match=said):
        train(loss=loss, init=init, data=np.zeros((8, 1)), used_rows=used_rows, out=tmp_path, **kind)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("used", "said"),
    [
        (lambda batch: {"word": batch[0]}, "'word', which is no table; the parameters are"),
        (lambda batch: {"words": batch[0] + 290, "bias": batch[0]}, "they must be whole numbers from 0 to 299"),
        (lambda batch: {"words": batch[0] * 1.0}, "they must be whole numbers"),
        (lambda batch: {"words": batch[0], "bias": batch[0][:, 1]}, "of 'bias', which used_rows did not name"),
        (lambda batch: {"words": np.arange(4 if len(batch[0]) == 1 else 41), "bias": batch[0]}, "there is room for 40"),
        (lambda batch: {"words": batch[0]} if len(batch[0]) == 1 else {}, "for another"),
    ],
)
def test_wrong_rows_are_named(tmp_path, used, said):
    made = replace(job(tmp_path, steps=1), used_rows=used)
    try:
        [outcome] = together(crew(1, made))
    except ConfigError as error:
        assert said in str(error)
    else:
        assert said in outcome.failure.args[0]
