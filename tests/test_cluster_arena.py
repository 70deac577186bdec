import json
import os
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from retape.cluster.arena import Arena, Layout, arena_path
from retape.cluster.errors import AbortedError, DeadlineError, RunError

_RANK = """
import json, sys
import numpy as np
from retape.cluster.arena import Arena, Layout
path, rank, world, weights, out = sys.argv[1], *map(json.loads, sys.argv[2:5]), sys.argv[5]
def leaves(step):
    rng = np.random.default_rng([rank, step])
    single = [rng.standard_normal(shape, np.float32) for shape in ((257, 3), ())]
    return [np.asarray(leaf) for leaf in (single[0], rng.standard_normal(5), single[1])]
arena = Arena(path, rank, world, Layout.of(leaves(0)), deadline_seconds=60)
results = {}
for step in range(5):
    mean, scalars = arena.all_reduce(leaves(step), weight=weights[rank], scalars=(rank, step))
    assert (scalars[:, 0] == np.arange(world)).all() and (scalars[:, 1] == step).all()
    results.update({f"{step}-{i}": leaf.copy() for i, leaf in enumerate(mean)})
arena.barrier()
np.savez(out, **results)
"""


def leaves(rank, step):
    rng = np.random.default_rng([rank, step])
    single = [rng.standard_normal(shape, np.float32) for shape in ((257, 3), ())]
    return [np.asarray(leaf) for leaf in (single[0], rng.standard_normal(5), single[1])]


@pytest.mark.parametrize(("world", "weights"), [(1, [1]), (2, [1, 1]), (3, [8, 8, 8]), (3, [1, 2, 5])])
def test_all_ranks_get_the_mean_in_rank_order_bit_for_bit(tmp_path, world, weights):
    path = arena_path(secrets.token_hex(4))
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                _RANK,
                str(path),
                str(rank),
                str(world),
                json.dumps(weights),
                f"{tmp_path}/{rank}.npz",
            ]
        )
        for rank in range(world)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0] * world
    assert not path.exists()
    for step in range(5):
        parts = [leaves(rank, step) for rank in range(world)]
        for index in range(3):
            if len(set(weights)) == 1:
                expected = parts[0][index]
                for part in parts[1:]:
                    expected = expected + part[index]
                expected = expected / np.asarray(expected).dtype.type(world)
            else:
                dtype = np.asarray(parts[0][index]).dtype
                scales = (np.array(weights, np.float64) / sum(weights)).astype(dtype)
                expected = parts[0][index] * scales[0]
                for part, scale in zip(parts[1:], scales[1:], strict=True):
                    expected = expected + part[index] * scale
            for rank in range(world):
                with np.load(f"{tmp_path}/{rank}.npz") as saved:
                    assert saved[f"{step}-{index}"].tobytes() == np.asarray(expected).tobytes()


def together(world, body, **settings):
    """Runs ``body(arena)`` on one thread a rank, and returns each rank's result or exception."""
    path = arena_path(secrets.token_hex(4))
    layout = Layout.of([np.zeros(4, np.float32)])
    results = [None] * world

    def one(rank):
        try:
            results[rank] = body(Arena(path, rank, world, layout, **settings))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    path.unlink(missing_ok=True)
    return results


def test_a_missing_rank_is_named_when_the_deadline_passes():
    def body(arena):
        if arena.rank == 0:
            arena.barrier("bring its gradients")

    results = together(2, body, deadline_seconds=0.3)
    assert isinstance(results[0], DeadlineError)
    assert "rank 1" in str(results[0]) and "bring its gradients" in str(results[0]) and "0.3 s" in str(results[0])


def test_a_rank_without_rank_zero_gives_up_at_the_deadline():
    with pytest.raises(DeadlineError, match="rank 0"):
        Arena(arena_path(secrets.token_hex(4)), 1, 2, Layout.of([np.zeros(1)]), deadline_seconds=0.1)


def test_an_abort_ends_every_wait():
    def body(arena):
        if arena.rank == 1:
            arena.abort()
        arena.barrier()
        arena.barrier()

    assert all(isinstance(result, AbortedError) for result in together(3, body, deadline_seconds=30))


def test_gathered_figures_are_every_ranks_own():
    results = together(3, lambda arena: [arena.gather([arena.rank * step]).ravel().tolist() for step in range(20)])
    assert all(result == [[0.0, step, 2.0 * step] for step in range(20)] for result in results)


def test_a_rank_of_another_generation_is_refused():
    path = arena_path(secrets.token_hex(4))
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
    assert together(2, lambda arena: arena.barrier()) == [None, None]
    after = set(os.listdir("/dev/shm")) if Path("/dev/shm").exists() else set()
    assert not {name for name in after - before if name.startswith("retape-")}
