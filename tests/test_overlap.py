"""Sums of gradients while later ones are still being computed: the same bits, and no wait that a fault does not end."""

import secrets
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_worker import SHARDS, bits, crew, facts, job, together

from retape.cluster.comm.arena_files import remove_arenas
from retape.cluster.comm.buckets import buckets
from retape.cluster.comm.formation import Formation
from retape.cluster.comm.group import Group
from retape.cluster.comm.layout import Layout
from retape.cluster.comm.mesh import listen
from retape.cluster.comm.overlap import Overlap
from retape.cluster.comm.sums import balanced
from retape.cluster.errors import AbortedError, DeadlineError

SIZES = [700, 3, 1500, 64, 900]


def gradient(shard, step, leaf):
    return np.random.default_rng([shard, step, leaf]).standard_normal(SIZES[leaf]).astype(np.float32)


def mean(step, leaf, shards, start=0, end=None):
    end = shards if end is None else end
    if end - start == 1:
        return gradient(start, step, leaf)
    middle = balanced(start, end)
    return mean(step, leaf, shards, start, middle) + mean(step, leaf, shards, middle, end)


def ranks(nodes, body, deadline=20.0, shards=5, sizes=SIZES, **settings):
    """Runs ``body(group, overlap)`` on a thread for each rank; returns results or exceptions."""
    listeners = [listen("127.0.0.1") for _ in nodes] if len(nodes) > 1 else [None]
    addresses = tuple(listener.getsockname() for listener in listeners if listener is not None)
    formation = Formation(secrets.token_hex(16), 1, shards, nodes, addresses, deadline, **settings)
    layout = Layout.of([np.empty(size, np.float32) for size in sizes])
    results: list[Any] = [None] * formation.world

    def one(rank):
        group = Group(formation, rank, layout, figures=1, listener=listeners[formation.place(rank)[0]])
        overlap = Overlap(group, buckets([4, 2, 3, 1, 0][-len(sizes) :], [4 * size for size in sizes], 8000))
        try:
            results[rank] = body(group, overlap)
        except Exception as error:
            results[rank] = error
            group.abort()
        finally:
            overlap.close()
            group.close()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(formation.world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    for listener in listeners:
        if listener is not None:
            listener.close()
    remove_arenas(formation.token)
    assert not [thread for thread in threading.enumerate() if thread.name == "retape-reduce"]
    return results


def one_step(group, overlap, step, before=lambda leaf: None):
    """Brings the rank's gradients in an order of the rank's own."""
    overlap.begin(group.formation.shards)
    for number, put in enumerate(group.puts):
        landing = group.landing(number, 1.0, overlap.ready)
        for leaf in np.random.default_rng([group.rank, step]).permutation(len(SIZES)):
            if number == len(group.puts) - 1:
                before(leaf)
            made = gradient(put.shard, step, leaf)
            if landing.places[leaf] is not None:
                landing.places[leaf][...] = made
                made = landing.places[leaf]
            landing.on_gradient(leaf, made)
    overlap.finish()


@pytest.mark.parametrize("nodes", [(1,), (2,), (4,), (1, 1), (2, 1), (1, 2, 1)], ids=str)
def test_overlapped_sums_have_the_bits_of_the_tree_for_any_ranks_and_nodes(nodes):
    def body(group, overlap):
        made = []
        for step in range(4):
            one_step(group, overlap, step)
            group.finish()
            made.append([leaf.copy() for leaf in group.result])
        group.finish()
        return made

    for result in ranks(nodes, body):
        assert not isinstance(result, Exception), result
        for step, leaves in enumerate(result):
            for leaf, found in enumerate(leaves):
                assert found.tobytes() == (mean(step, leaf, 5) / np.float32(5)).tobytes()


def test_a_bucket_is_reduced_before_the_last_gradient_is_there():
    reduced = threading.Event()

    def body(group, overlap):
        reduce = group.reduce_here

        def noted(spans, **more):
            reduce(spans, **more)
            reduced.set()

        group.reduce_here = noted
        overlap.begin(1.0)
        for leaf in (4, 2):  # the first bucket
            group.put(0, leaf, gradient(0, 0, leaf))
            overlap.ready(leaf)
        assert reduced.wait(10)
        for leaf in (3, 1, 0):
            group.put(0, leaf, gradient(0, 0, leaf))
            overlap.ready(leaf)
        overlap.finish()
        group.finish()

    assert ranks((1,), body, shards=1) == [None]


def test_a_node_whose_gradients_come_last_has_all_of_the_others_by_then():
    def body(group, overlap):
        overlap.begin(1.0)
        if group.rank == 1:
            time.sleep(0.5)
        for leaf in (1, 0):
            group.put(0, leaf, np.full(1_000_000, group.rank + 1 + leaf, np.float32))
            overlap.ready(leaf)
        overlap.finish()
        group.finish()
        return [set(leaf) for leaf in group.result]

    assert ranks((1, 1), body, shards=2, sizes=[1_000_000, 1_000_000]) == [[{3.0}, {5.0}]] * 2


@pytest.mark.parametrize("nodes", [(3,), (1, 1, 1), (2, 1)], ids=str)
@pytest.mark.parametrize("leaf", range(len(SIZES)))
def test_a_rank_that_fails_anywhere_in_an_overlapped_sum_ends_it_for_all_at_once(nodes, leaf):
    def fail(at):
        if at == leaf:
            raise OSError("the disk is gone")

    def body(group, overlap):
        one_step(group, overlap, 0)
        group.finish()
        one_step(group, overlap, 1, fail if group.rank == 1 else lambda at: None)
        group.finish()

    started = time.monotonic()
    results = ranks(nodes, body, deadline=50.0)
    assert [type(result) for result in results] == [AbortedError, OSError, AbortedError]
    assert time.monotonic() - started < 25  # and not the deadline


@pytest.mark.parametrize("nodes", [(2,), (1, 1)], ids=str)
def test_a_rank_that_stands_still_in_an_overlapped_sum_is_missed_after_the_deadline(nodes):
    late = threading.Event()

    def stand(at):
        if at == 2:
            late.wait(20)

    def body(group, overlap):
        try:
            one_step(group, overlap, 0, stand if group.rank == 1 else lambda at: None)
        finally:
            if group.rank == 0:
                late.set()
        group.finish()

    results = ranks(nodes, body, deadline=1.0)
    assert type(results[0]) is DeadlineError and isinstance(results[1], AbortedError | DeadlineError)


def test_a_link_that_is_cut_in_an_overlapped_sum_ends_it_on_both_sides():
    def body(group, overlap):
        one_step(group, overlap, 0)
        group.finish()

        def cut(at):
            if group.rank == 1 and at == 3:
                for link in group._net._links.values():
                    link.connection.shutdown(2)

        one_step(group, overlap, 1, cut)
        group.finish()

    assert [type(result) for result in ranks((1, 1), body, deadline=50.0)] == [AbortedError, AbortedError]


def test_errors_left_over_by_bfloat16_are_of_a_gradients_own_place_however_it_is_bucketed():
    def body(group, overlap):
        total = np.zeros(SIZES[2])
        for _ in range(40):
            one_step(group, overlap, 0)
            group.finish()
            total += group.result[2]
        group.finish()
        return total / 40

    exact = mean(0, 2, 2) / 2
    for found in ranks((1, 1), body, shards=2, wire="bfloat16"):
        assert np.abs(found - exact).max() < 2e-3 < np.abs(exact).max() * 2**-8 * 2


@pytest.mark.parametrize("nodes", [(1, 1), (2, 1)], ids=str)
def test_200_steps_over_several_nodes_have_the_bits_of_one_worker(tmp_path, nodes):
    for name in ("alone", "several"):
        (tmp_path / name).mkdir()
    [alone] = crew(1, job(tmp_path / "alone"))
    assert together([alone])[0].status == "finished"
    made = job(tmp_path / "several")
    workers = crew(sum(nodes), made)
    formation = Formation(secrets.token_hex(16), 1, SHARDS, nodes, deadline_seconds=20)
    addresses = [workers[formation.first_rank(node)].listen() for node in range(len(nodes))]
    outcomes: list[Any] = [None] * len(workers)

    def one(rank):
        outcomes[rank] = workers[rank].run(replace(formation), rank, False, *addresses)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(len(workers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=100)
    for worker in workers:
        if worker._listener is not None:
            worker._listener.close()
    assert [outcome.status for outcome in outcomes] == ["finished"] * len(workers)
    for worker in workers:
        assert bits(worker) == bits(alone) and facts(worker) == facts(alone)
