"""Sums of many workers' gradients, with a thread for each rank: the same bits however the ranks are spread over nodes."""

import gc
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retape.cluster.comm import frames, mesh, shm
from retape.cluster.comm.adding import BLOCK_BYTES, add_up
from retape.cluster.comm.arena_files import arena_path, remove_abandoned, remove_arenas
from retape.cluster.comm.bfloat16 import rounded, widened
from retape.cluster.comm.formation import Formation
from retape.cluster.comm.group import Group
from retape.cluster.comm.layout import Layout
from retape.cluster.comm.mesh import listen
from retape.cluster.comm.shm import Arena
from retape.cluster.comm.sums import balanced, even_runs, expression, in_turn, puts, slot_count, subtrees
from retape.cluster.errors import AbortedError, DeadlineError, MessageError, RunError


def tree_sum(values, split, start=0, end=None):
    end = len(values) if end is None else end
    if end - start == 1:
        return values[start]
    middle = split(start, end)
    return tree_sum(values, split, start, middle) + tree_sum(values, split, middle, end)


@pytest.mark.parametrize("split", [balanced, in_turn])
@pytest.mark.parametrize("shards", [1, 2, 3, 5, 8, 12, 13])
def test_any_cut_into_runs_adds_up_the_same_tree(shards, split):
    values = np.random.default_rng(shards).standard_normal(shards).astype(np.float32)
    whole = tree_sum(values, split)
    for workers in range(1, shards + 1):
        runs = even_runs(shards, workers)
        sources, at = [], {}
        for run in runs:
            slots = [np.float32(np.nan)] * slot_count(runs, shards, split)
            for put in puts(run, shards, split):
                slots[put.slot] = values[put.shard] if put.is_first else slots[put.slot] + values[put.shard]
                for into, other in put.merges:
                    slots[into] = slots[into] + slots[other]
            for number, tree in enumerate(subtrees(run, shards, split)):
                at[tree] = len(sources)
                sources.append(slots[number])

        def evaluate(made, sources=sources):
            return sources[made] if isinstance(made, int) else evaluate(made[0]) + evaluate(made[1])

        assert evaluate(expression((0, shards), at, split)).tobytes() == whole.tobytes()


def test_a_missing_shard_is_named():
    with pytest.raises(ValueError, match="shard 2 is in none"):
        expression((0, 3), {(0, 2): 0})


def test_a_sum_goes_block_by_block_and_needs_no_copy_of_its_sources():
    draw = np.random.default_rng(0)
    sources = [draw.standard_normal(2 * BLOCK_BYTES // 4 + 7, np.float32) for _ in range(5)]
    out = np.empty_like(sources[0])
    add_up(((0, 1), (2, (3, 4))), sources, out, 3.0)
    expected = ((sources[0] + sources[1]) + (sources[2] + (sources[3] + sources[4]))) / np.float32(3)
    assert out.tobytes() == expected.tobytes()


def leaves(shard, step, size=1003):
    draw = np.random.default_rng([shard, step])
    return [draw.standard_normal((size, 3), np.float32), draw.standard_normal(5), draw.standard_normal((), np.float32)]


def together(formation, body, **settings):
    """Runs ``body(group)`` on one thread a rank; returns each rank's result or exception."""
    listeners = [listen("127.0.0.1") for _ in formation.nodes] if len(formation.nodes) > 1 else [None]
    addresses = tuple(listener.getsockname() for listener in listeners if listener is not None)
    formation = Formation(**{**vars(formation), "addresses": addresses})
    layout = Layout.of([np.asarray(leaf) for leaf in leaves(0, 0)])
    results: list[Any] = [None] * formation.world

    def one(rank):
        group = None
        try:
            group = Group(formation, rank, layout, figures=2, listener=listeners[formation.place(rank)[0]], **settings)
            results[rank] = body(group)
        except Exception as error:
            if group is not None:
                group.abort()
            results[rank] = error
        finally:
            if group is not None:
                group.close()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(formation.world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for listener in listeners:
        if listener is not None:
            listener.close()
    remove_arenas(formation.token)
    return results


def formed(shards, nodes, **settings):
    return Formation(token=secrets.token_hex(16), generation=1, shards=shards, nodes=nodes, deadline_seconds=20, **settings)


def three_steps(group):
    made = []
    for step in range(3):
        for number, put in enumerate(group.puts):
            for leaf, gradient in enumerate(leaves(put.shard, step)):
                group.put(number, leaf, gradient)
        group.reduce(divisor=group.formation.shards)
        table = group.finish((group.rank, step))
        assert table[:, 0].tolist() == list(range(group.formation.world)) and set(table[:, 1]) == {step}
        made.append([leaf.copy() for leaf in group.result])
    group.finish()  # nobody leaves while another still reads
    return made


TOPOLOGIES = [(1,), (2,), (3,), (4,), (1, 1), (2, 1), (1, 3), (1, 2, 1), (1, 1, 1, 1)]


@pytest.mark.parametrize("shards", [4, 5])
@pytest.mark.parametrize("nodes", TOPOLOGIES, ids=str)
def test_the_mean_has_the_same_bits_for_any_ranks_and_nodes(shards, nodes):
    expected = [
        [
            tree_sum([np.asarray(leaves(shard, step)[leaf]) for shard in range(shards)], balanced)
            / np.asarray(leaves(0, 0)[leaf]).dtype.type(shards)
            for leaf in range(3)
        ]
        for step in range(3)
    ]
    for result in together(formed(shards, nodes), three_steps):
        assert not isinstance(result, Exception), result
        for made, wanted in zip(result, expected, strict=True):
            assert [leaf.tobytes() for leaf in made] == [np.asarray(leaf).tobytes() for leaf in wanted]


def test_ranks_can_be_added_one_after_the_other():
    expected = reduce(np.add, [leaves(rank, 0)[0] for rank in range(3)]) / np.float32(3)
    for result in together(formed(3, (2, 1), split=in_turn), three_steps):
        assert result[0][0].tobytes() == expected.tobytes()


def test_rounded_messages_give_all_nodes_the_same_bits_and_lose_nothing_in_the_long_run():
    def body(group):
        total = 0.0
        for _ in range(64):
            for leaf, gradient in enumerate(leaves(group.rank, 0)):
                group.put(0, leaf, gradient)
            group.reduce(divisor=2)
            group.finish()
            total = total + group.result[0].astype(np.float64)
        once = [leaf.copy() for leaf in group.result]
        group.finish()
        return once, total / 64

    (first, mean), (second, _) = together(formed(2, (1, 1), wire="bfloat16"), body)
    assert [leaf.tobytes() for leaf in first] == [leaf.tobytes() for leaf in second]
    exact = (leaves(0, 0)[0].astype(np.float64) + leaves(1, 0)[0]) / 2
    assert np.abs(first[0] - exact).max() > 1e-3  # one step is rounded to 8 bits
    assert np.abs(mean - exact).max() < 3e-4  # what the rounding leaves over is made good later
    np.testing.assert_allclose(first[1], (leaves(0, 0)[1] + leaves(1, 0)[1]) / 2)  # float64 is not rounded


def test_bfloat16_is_rounded_to_even_and_keeps_what_is_no_number():
    values = np.array([0.0, -1.5, 1.00390625, 1.01171875, 3.4e38, np.inf, -np.inf, np.nan, 1e-42], np.float32)
    back = widened(rounded(values))
    assert np.isnan(back[7]) and back[5] == np.inf and back[6] == -np.inf
    assert back[:4].tolist() == [0.0, -1.5, 1.0, 1.015625] and back[4] == np.inf and abs(back[8]) < 1e-40


@pytest.mark.parametrize("nodes", [(3,), (2, 1)], ids=str)
def test_an_abort_of_one_rank_ends_the_waits_of_all(nodes):
    def body(group):
        group.finish()  # all have met
        if group.rank == 1:
            raise KeyError("my own mistake")
        group.reduce()
        group.finish()

    results = together(formed(3, nodes), body)
    assert isinstance(results.pop(1), KeyError)
    assert all(isinstance(result, AbortedError) for result in results), results


def test_a_rank_that_is_called_off_gives_up():
    results = together(formed(2, (2,)), three_steps, is_called_off=lambda: True)
    assert all(isinstance(result, AbortedError) for result in results), results


def test_a_missing_rank_is_named_when_the_deadline_passes():
    def body(group):
        if group.rank == 0:
            group.reduce()

    formation = Formation(token=secrets.token_hex(16), generation=1, shards=2, nodes=(2,), deadline_seconds=0.3)
    error = together(formation, body)[0]
    assert isinstance(error, DeadlineError)
    assert "rank 1" in str(error) and "bring its gradients" in str(error) and "0.3 s" in str(error)


def test_a_rank_without_rank_zero_gives_up_at_the_deadline():
    with pytest.raises(DeadlineError, match="rank 0"):
        Arena(arena_path(secrets.token_hex(8)), 1, 2, Layout.of([np.zeros(1)]), deadline_seconds=0.1)


def test_a_rank_of_another_generation_is_refused():
    path = arena_path(secrets.token_hex(8))
    layout = Layout.of([np.zeros(4, np.float32)])
    errors = []

    def first():
        try:
            Arena(path, 0, 2, layout, generation=2, deadline_seconds=1)
        except DeadlineError as error:
            errors.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    with pytest.raises(RunError, match="another formation"):
        Arena(path, 1, 2, layout, generation=1, deadline_seconds=5)
    thread.join()
    path.unlink(missing_ok=True)
    assert errors


def test_only_float32_and_float64_leaves_are_reduced():
    with pytest.raises(RunError, match="int64"):
        Layout.of([np.zeros(3, np.int64)])


def test_nothing_is_left_in_shared_memory():
    before = set(os.listdir("/dev/shm")) if Path("/dev/shm").exists() else set()
    together(formed(2, (2,)), three_steps)
    after = set(os.listdir("/dev/shm")) if Path("/dev/shm").exists() else set()
    assert not {name for name in after - before if name.startswith("retape-")}


@pytest.mark.slow
def test_after_50_formations_half_of_them_aborted_no_file_descriptor_or_port_is_left():
    def body(group):
        group.finish()
        if group.rank == 2 and group.formation.token in aborted:
            raise KeyError("my own mistake")
        group.reduce()
        group.finish()

    aborted = set()
    before = None
    for number in range(51):
        formation = formed(3, (2, 1))
        if number % 2:
            aborted.add(formation.token)
        results = together(formation, body)
        assert sum(isinstance(result, Exception) for result in results) == (3 if number % 2 else 0), results
        del results  # the exceptions' tracebacks hold the groups
        gc.collect()
        held = len(os.listdir("/proc/self/fd"))
        before = before or held
        assert held <= before
    assert not [name for name in os.listdir("/dev/shm") if any(token[:12] in name for token in aborted)]


@pytest.mark.parametrize("nodes", [(3,), (2, 1)], ids=str)
def test_where_the_processor_keeps_no_order_ranks_meet_under_the_files_lock(nodes, monkeypatch):
    ordered = together(formed(4, nodes), three_steps)
    taken = []
    monkeypatch.setattr(shm, "_KEEPS_ORDER", False)
    monkeypatch.setattr(shm.fcntl, "flock", lambda *given, flock=shm.fcntl.flock: (flock(*given), taken.append(given))[0])
    gc.collect()
    held = len(os.listdir("/proc/self/fd"))
    locked = together(formed(4, nodes), three_steps)
    gc.collect()
    assert len(taken) > 3 * 3 * 4 and len(os.listdir("/proc/self/fd")) <= held
    for mine, theirs in zip(ordered, locked, strict=True):
        for step in range(3):
            assert [leaf.tobytes() for leaf in mine[step]] == [leaf.tobytes() for leaf in theirs[step]]


def test_a_rank_that_stands_still_with_the_lock_holds_nobody_for_ever(monkeypatch):
    def body(group):
        if group.rank == 1:
            is_open.wait(20)
            group.arena._acquire()
            is_held.set()
            is_over.wait(20)
            return
        is_open.set()
        is_held.wait(20)
        group.arena.deadline_seconds = 0.1
        try:
            group.finish()
        finally:
            is_over.set()

    is_open, is_held, is_over = (threading.Event() for _ in range(3))
    monkeypatch.setattr(shm, "_KEEPS_ORDER", False)
    results = together(formed(2, (2,)), body)
    assert isinstance(results[0], DeadlineError) and "waited 0.1 s for the lock" in str(results[0])


KEY = b"k" * 32


def header(**changes):
    fields = {
        "generation": 3,
        "operation": 7,
        "kind": frames.PART,
        "slot": 0,
        "span": 0,
        "offset": 0,
        "length": 8,
        "checksum": 1,
    }
    return frames.Frame(**{**fields, **changes})


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (header().pack(b"another job's key".ljust(32)), "forged or damaged"),
        (bytes([header().pack(KEY)[0] ^ 1]) + header().pack(KEY)[1:], "forged or damaged"),
        (header().pack(KEY)[:-1] + b"x", "forged or damaged"),
        (bytes(frames.HEADER_BYTES), "forged or damaged"),
        (header(generation=2).pack(KEY), "generation 2, operation 7 came in generation 3"),
        (header(operation=6).pack(KEY), "operation 6 came in generation 3, operation 7"),
        (header(length=2**30).pack(KEY), "longer than"),
    ],
)
def test_a_header_that_is_not_of_this_place_in_this_job_is_refused(message, text):
    with pytest.raises(MessageError, match=text):
        frames.unpack(message, KEY, generation=3, operation=7)
    assert frames.unpack(header().pack(KEY), KEY, generation=3, operation=7) == header()


def test_every_byte_of_a_header_is_guarded():
    packed = header().pack(KEY)
    for place in range(len(packed)):
        spoiled = bytearray(packed)
        spoiled[place] ^= 0x40
        with pytest.raises(MessageError):
            frames.unpack(spoiled, KEY, generation=3, operation=7)


def test_a_formation_removes_the_memory_that_older_ones_have_left():
    formation = replace(formed(1, (1,)), generation=7)
    left, later = (arena_path(formation.token, node, generation) for node, generation in ((3, 6), (0, 8)))
    for path in (left, later):
        path.touch()
    Group(formation, 0, Layout.of([np.zeros(3)])).close()
    found = left.exists(), later.exists()
    remove_arenas(formation.token)
    assert found == (False, True) and not later.exists()


OWNER = """
import sys
import numpy as np
from retape.cluster.comm.arena_files import arena_path
from retape.cluster.comm.layout import Layout
from retape.cluster.comm.shm import Arena
Arena(arena_path(sys.argv[1]), 0, 2, Layout.of([np.zeros(9)]), deadline_seconds=60)
"""


def test_the_memory_of_a_job_that_was_killed_while_its_workers_met_is_removed_by_the_next_formation():
    token = secrets.token_hex(16)
    path, begun = arena_path(token), arena_path(secrets.token_hex(16))
    begun.touch()  # one that is being made
    try:
        with subprocess.Popen([sys.executable, "-P", "-c", OWNER, token]) as owner:
            until = time.monotonic() + 30
            while not (path.exists() and path.stat().st_size) and time.monotonic() < until:
                time.sleep(0.01)
            remove_abandoned()
            kept = path.exists()
            owner.kill()
        assert kept
        Group(formed(1, (1,)), 0, Layout.of([np.zeros(3)])).close()
        assert not path.exists() and begun.exists()
    finally:
        for left in (path, begun):
            left.unlink(missing_ok=True)


def test_strangers_on_the_port_are_refused_and_do_not_disturb_the_run(monkeypatch):
    monkeypatch.setattr(mesh, "_GREETING_SECONDS", 30.0)  # longer than the run may take: no stranger is waited for

    formation = formed(2, (1, 1))
    listeners = [listen("127.0.0.1") for _ in range(2)]
    addresses = tuple(listener.getsockname() for listener in listeners)
    strangers = [
        b"GET / HTTP/1.1\r\n\r\n".ljust(frames.GREETING_BYTES),
        frames.greeting(0, 1),  # of an older generation
        frames.greeting(1, 1) + b"\0" * frames.PROOF_BYTES,  # of this one, but without its token
        b"\0",
        b"",
    ]
    before = []
    for message in strangers:
        connection = socket.create_connection(addresses[0])
        connection.sendall(message)
        before.append(connection)
    formation = Formation(**{**vars(formation), "addresses": addresses})
    results: list[Any] = [None, None]
    layout = Layout.of([np.asarray(leaf) for leaf in leaves(0, 0)])

    def one(rank):
        group = Group(formation, rank, layout, figures=2, listener=listeners[rank])
        results[rank] = three_steps(group)
        group.close()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for opened in (*before, *listeners):
        opened.close()
    assert results[0] is not None and results[1] is not None
    for mine, theirs in zip(results[0], results[1], strict=True):
        assert [leaf.tobytes() for leaf in mine] == [leaf.tobytes() for leaf in theirs]


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])
def test_a_port_is_never_open_to_the_world(host):
    with pytest.raises(ValueError, match="open to the world"):
        listen(host)
