"""States of loops on disk, under a budget: the same bits, within the bytes allowed, nothing left behind, whatever fails."""

import errno
import gc
import os
import tracemalloc

import numpy as np
import pytest

import retape as rt
from retape.checkpoint.disk import Disk
from retape.scheduler import spill
from retape.scheduler.loops import record

LENGTH = 40
START, SPEED = np.random.default_rng(0).standard_normal((64, 64)), np.full((64, 64), 0.5)
BUDGET = 1100 * 1024


@pytest.fixture(autouse=True)
def always_to_disk(monkeypatch):
    """Make every loop one call and the disk fast, whatever this machine's is like."""
    monkeypatch.setattr(record, "FEW_CALLS", -1)
    monkeypatch.setattr(record, "LEAST_SPILLED", 0)
    monkeypatch.setattr(spill, "_measured", lambda folder: Disk(0, 1e9, 1e9))


def wave(start, speed, look=lambda carry, number: None):
    """Return the energy of a wave after a scan, whose carry also holds an array in Fortran order and a plain one."""

    def step(carry, number):
        look(carry, number)
        u, v, turned, plain = carry
        around = np.roll(u, 1, 0) + np.roll(u, -1, 0) + np.roll(u, 1, 1) + np.roll(u, -1, 1) - 4 * u
        v = v + 0.1 * speed * around
        return (u + 0.1 * v, v, (turned.T * 0.9 + u).T, plain * 0.5), None

    u, _, turned, plain = rt.scan(step, (start, start * 0.0, start.T, np.ones(50)), length=LENGTH)[0]
    return np.sum(u**2) + np.sum(turned * u) + plain[0]


VALUE, EXPECTED = rt.value_and_grad(wave, (0, 1))(START, SPEED)


def is_right(step, *arguments):
    value, found = step(START, SPEED, *arguments)
    report = step.report
    assert report.peak_bytes <= report.projected_bytes <= report.budget_bytes
    return value == VALUE and all(a.tobytes() == b.tobytes() for a, b in zip(found, EXPECTED, strict=True))


def step_into(folder, f=wave, **options):
    return rt.value_and_grad(f, (0, 1), memory_budget=BUDGET, spill=folder, **options)


def test_states_come_back_with_the_same_bits_within_the_budget_and_no_file_is_left(tmp_path):
    step = step_into(tmp_path, spill_budget="20MiB")
    for _ in range(2):
        assert is_right(step)
        assert 0 < step.report.spilled_bytes <= 20 * 2**20
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert is_right(step)
        assert tracemalloc.get_traced_memory()[1] - before < step.report.projected_bytes + 2**20
    finally:
        tracemalloc.stop()
    assert list(tmp_path.iterdir()) == []


def test_with_a_disk_fewer_steps_run_again(tmp_path):
    without = rt.plan(wave, START, SPEED, argnums=(0, 1), memory_budget=BUDGET)
    plan = rt.plan(wave, START, SPEED, argnums=(0, 1), memory_budget=BUDGET, spill=tmp_path)
    assert plan.extra_work < without.extra_work
    assert "on disk" in str(plan) and "on disk" not in str(without)
    with pytest.raises(ValueError, match="holds for one disk"):
        plan.save(tmp_path / "plan.json")


def test_states_take_no_more_of_the_disk_than_is_allowed(tmp_path, monkeypatch):
    taken = []
    real = os.posix_fallocate
    monkeypatch.setattr(os, "posix_fallocate", lambda file, begin, size: (taken.append(size), real(file, begin, size)))

    def two(start, speed):
        return wave(start, speed) + wave(start * 2.0, speed)

    expected = rt.value_and_grad(two, (0, 1))(START, SPEED)
    step = rt.value_and_grad(two, (0, 1), memory_budget=2 * BUDGET, spill=tmp_path, spill_budget="2MiB")
    for _ in range(2):
        taken.clear()
        value, found = step(START, SPEED)
        assert value == expected[0] and all(np.array_equal(a, b) for a, b in zip(found, expected[1], strict=True))
        assert sum(taken) <= 2 * 2**20
    assert taken


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("is_full_from_the_start", [True, False])
def test_a_full_disk_means_recomputing_instead(is_full_from_the_start, tmp_path, monkeypatch):
    step = step_into(tmp_path)
    if not is_full_from_the_start:
        assert is_right(step)
    monkeypatch.setattr(os, "posix_fallocate", full)
    for _ in range(2):
        assert is_right(step) and step.report.spilled_bytes == 0


@pytest.mark.parametrize("call", ["pwritev", "preadv"])
@pytest.mark.parametrize("good", [0, 5])
def test_where_the_disk_breaks_on_the_way_steps_are_run_again(call, good, tmp_path, monkeypatch):
    real, left = getattr(os, call), [good]

    def breaking(*args):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.EIO, "Input/output error")
        return real(*args)

    step = step_into(tmp_path)
    monkeypatch.setattr(os, call, breaking)
    assert is_right(step) and left[0] < 0
    monkeypatch.setattr(os, call, real)
    assert is_right(step) and step.report.spilled_bytes > 0


@pytest.mark.parametrize(("error", "is_in_reverse"), [(RuntimeError, False), (KeyboardInterrupt, True)])
def test_files_are_gone_after_an_error_in_a_step_and_the_next_call_works(error, is_in_reverse, tmp_path):
    seen, fail = [], [False]

    def look(carry, number):
        seen.append(number)
        if fail[0] and number == 20 and (seen.count(20) > 1 or not is_in_reverse):
            assert list(tmp_path.iterdir()) == [], "the file has no name, so a killed process leaves none"
            raise error

    step = step_into(tmp_path, lambda start, speed: wave(start, speed, look))
    assert is_right(step)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    seen.clear()
    fail[0] = True
    with pytest.raises(error):
        step(START, SPEED)
    fail[0] = False
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before and list(tmp_path.iterdir()) == []
    assert is_right(step)


def test_loops_inside_of_others_write_nothing_and_are_right(tmp_path):
    def f(start, speed):
        def outer(carry, _):
            return rt.fori_loop(0, 5, lambda _, c: np.sin(c) + speed * start, carry), None

        return np.sum(rt.scan(outer, start, length=30)[0] ** 2)

    expected = rt.grad(f, (0, 1))(START, SPEED)
    step = rt.grad(f, (0, 1), memory_budget="600KiB", spill=tmp_path)
    for _ in range(2):
        assert all(np.array_equal(a, b) for a, b in zip(step(START, SPEED), expected, strict=True))
    assert step.report.spilled_bytes > 0
