"""What a call costs in memory on the trail, and what the garbage collector has to do with it."""

import gc
import tracemalloc

import numpy as np
import pytest

import retape as rt

CALLS = 100_000


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("sums", lambda x, c: c + x),
        ("sums with constants", lambda x, c: c + 1.0),
        ("negatives", lambda x, c: -c),
        ("differences", lambda x, c: c - x),
    ],
)
def test_a_call_holds_at_most_100_bytes_of_bookkeeping(name, f):
    held = []

    def loss(x):
        c = x
        for _ in range(1000):  # what is made once
            c = f(x, c)
        tracemalloc.start()
        for _ in range(CALLS):
            c = f(x, c)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        return c

    rt.grad(loss)(0.5)
    assert held[0] / CALLS <= 100


def test_recording_gives_the_garbage_collector_nothing_to_look_at():
    rounds = []

    def loss(x):
        c = x
        before = sum(generation["collections"] for generation in gc.get_stats())
        for _ in range(CALLS // 10):
            c = np.sin(c) * x + 1.0
        rounds.append(sum(generation["collections"] for generation in gc.get_stats()) - before)
        return c

    gc.collect()
    rt.grad(loss)(0.5)
    assert rounds[0] <= 1
