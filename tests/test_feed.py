"""Batches that are made in the background: the same ones in the same order, no more bytes than allowed, errors in turn."""

import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from test_worker import bits, crew, facts, job, together

from retape.cluster import Arrays, DataError, RunError
from retape.cluster.data import Feed, Order, take
from retape.cluster.data.feed import pays

BATCH_BYTES = 4 * 8


class Source:
    """64 numbers; counts the batches that are made, and by which threads."""

    def __init__(self, broken=()):
        self.broken, self.made, self.threads = broken, 0, set()
        self.changed = threading.Condition()

    def __len__(self):
        return 64

    def batch(self, indices):
        with self.changed:
            self.made += 1
            self.threads.add(threading.current_thread().name)
            self.changed.notify_all()
        for index in indices:
            if index in self.broken:
                raise OSError("a bad sector")
        return indices * 1.0

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: self.made >= count, 20)


def wanted(count=16):
    return iter(np.arange(64).reshape(count, -1))


@pytest.mark.parametrize("ahead_bytes", [None, 0, 1, BATCH_BYTES, 3 * BATCH_BYTES, 10**9])
def test_batches_come_in_order_with_or_without_reading_ahead(ahead_bytes):
    with Feed(Source(), wanted(), ahead_bytes=ahead_bytes) as feed:
        for indices in wanted():
            assert feed.next().tolist() == indices.tolist()
        with pytest.raises(StopIteration):
            feed.next()


@pytest.mark.parametrize(("ahead_bytes", "ahead"), [(0, 0), (BATCH_BYTES - 1, 0), (BATCH_BYTES, 1), (3 * BATCH_BYTES + 5, 3)])
def test_no_more_bytes_are_read_ahead_than_allowed(ahead_bytes, ahead):
    source = Source()
    with Feed(source, wanted(), ahead_bytes=ahead_bytes) as feed:
        for taken in range(1, 8):
            feed.next()
            source.wait_for(taken + ahead)
            assert source.made == taken + ahead and feed.held_bytes <= ahead_bytes
    assert ("retape-data" in source.threads) == bool(ahead)


def test_a_batch_that_grows_over_what_is_allowed_ends_the_reading_ahead_and_nothing_is_lost():
    sizes = [np.arange(4), np.arange(4), np.arange(60), np.arange(4), np.arange(4)]
    with Feed(Source(), iter(sizes), ahead_bytes=2 * BATCH_BYTES) as feed:
        assert [len(feed.next()) for _ in sizes] == [4, 4, 60, 4, 4]
        assert feed.held_bytes == 0


@pytest.mark.parametrize("ahead_bytes", [0, 10**9])
def test_what_goes_wrong_with_an_example_is_raised_in_its_turn_with_its_index(ahead_bytes):
    source = Source(broken={18})
    with Feed(source, wanted(), ahead_bytes=ahead_bytes) as feed:
        for _ in range(4):
            feed.next()
        with pytest.raises(DataError, match="example 18 .*OSError: a bad sector"):
            feed.next()


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (lambda indices: {"x": indices, "y": indices[1:]}, r"batch\['y'\] of shape \(5,\)"),
        (lambda indices: np.repeat(indices, 2), r"batch of shape \(12,\)"),
        (lambda indices: indices[:, None].T, r"batch of shape \(1, 6\)"),
        (lambda indices: (indices, 0.5), r"batch\[1\] of shape \(\)"),
        (lambda indices: {}, "no arrays"),
    ],
)
@pytest.mark.parametrize("ahead_bytes", [0, 10**9])
def test_a_batch_of_other_rows_than_were_asked_for_is_refused_with_its_source_and_both_numbers(batch, said, ahead_bytes):
    source = Source()
    source.batch = batch
    with (
        Feed(source, iter([np.arange(9, 3, -1)]), ahead_bytes=ahead_bytes) as feed,
        pytest.raises(DataError, match=rf"Source.batch was asked for 6 examples \(9, 8, 7, 6, 5, ...\) and returned {said}"),
    ):
        feed.next()


@pytest.mark.parametrize("ahead_bytes", [0, 10**9])
def test_data_that_would_end_the_process_is_an_error_in_its_turn(ahead_bytes):
    source = Source()
    ready = source.batch
    source.batch = lambda indices: sys.exit("no more") if indices[0] >= 8 else ready(indices)
    with Feed(source, wanted(), ahead_bytes=ahead_bytes, deadline_seconds=20) as feed:
        feed.next()
        feed.next()
        with pytest.raises(RunError, match=r"raised SystemExit\('no more'\)"):
            feed.next()


def test_a_batch_that_does_not_come_is_waited_for_until_the_deadline():
    release, source = threading.Event(), Source()
    ready = source.batch
    source.batch = lambda indices: (release.wait(20) if indices[0] >= 8 else None, ready(indices))[1]
    with Feed(source, wanted(), ahead_bytes=10**9, deadline_seconds=0.1) as feed:
        feed.next()
        feed.next()
        with pytest.raises(DataError, match="more than 0.1 s"):
            feed.next()
        release.set()


def test_reading_ahead_starts_by_itself_only_where_it_pays_and_changes_nothing():
    quiet, own = Arrays(np.zeros(4)), Source()
    assert pays(quiet, 4, data_seconds=0.1, all_seconds=1.0)
    assert not pays(quiet, 3, data_seconds=0.1, all_seconds=1.0)
    assert not pays(quiet, 4, data_seconds=0.1, all_seconds=10.0)
    assert not pays(quiet, 100, data_seconds=0.1, all_seconds=1.0)
    # It may draw from np.random, whose state belongs to the step.
    assert not pays(own, 4, data_seconds=0.1, all_seconds=1.0)


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_that_reads_ahead_has_the_bits_of_one_that_does_not(tmp_path, count):
    made = job(tmp_path, steps=30, ahead_bytes=0)
    [alone] = crew(1, made)
    together([alone])
    (tmp_path / "ahead").mkdir()
    ahead = replace(made, out=tmp_path / "ahead", config=replace(made.config, ahead_bytes=10**6))
    workers = crew(count, ahead)
    assert {outcome.status for outcome in together(workers)} == {"finished"}
    assert bits(workers[0]) == bits(alone)
    assert any(row.get("ahead_bytes") for row in workers[0].rows(0))
    for thread in [thread for thread in threading.enumerate() if thread.name == "retape-data"]:
        thread.join(20)
        assert not thread.is_alive()


def test_an_epochs_last_batch_can_be_kept_and_is_the_mean_over_its_own_examples(tmp_path):
    made = job(tmp_path, steps=8, global_batch=31, last_batch="keep", clip_norm=None)
    workers = [crew(1, made)[0], *crew(3, made)]
    statuses = [outcome.status for outcome in [*together(workers[:1]), *together(workers[1:], 2)]]
    assert statuses == ["finished"] * 4 and all(bits(worker) == bits(workers[0]) for worker in workers)
    assert facts(workers[0]) == facts(workers[1])
    assert workers[0].replica.order == Order(0, 2, 62)  # 31 + 31 + 2 examples an epoch, and 4 shards for the 2
    other = crew(1, replace(made, config=replace(made.config, steps=2)))[0]
    together([other], 3)
    indices, _ = take(Order(0, 0, 62), 31, 64, last="keep")
    [row] = [row for row in workers[0].rows(0) if row["step"] == 3 and "loss" in row]
    assert len(indices) == 2 and row["loss"] == pytest.approx(
        float(made.loss(other.replica.params, made.data.batch(indices))), rel=1e-6
    )
