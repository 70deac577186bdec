"""Loops under a budget as calls of their own: the same bits, within their share, whatever they are made of."""

import functools
import tracemalloc

import numpy as np
import pytest
from test_loops import PROGRAMS, V, W, X, gradients, not_repeatable_count, not_repeatable_noise

import retape as rt
from retape.scheduler.loops import record

SIZE = 64


@pytest.fixture
def always(monkeypatch):
    """Record every loop as one call, however short it is."""
    monkeypatch.setattr(record, "FEW_CALLS", -1)


def same_bits(a, b):
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def loops_of(step):
    return [loop for known in step._programs.known() for loop in known.program.loops]


def in_order(report):
    return report.peak_bytes <= report.projected_bytes <= report.budget_bytes


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_gradient_is_that_without_a_budget(program, always):
    value, expected = gradients(program(rt, None))
    step = rt.value_and_grad(program(rt, None), (0, 1, 2), memory_budget="1MiB")
    for _ in range(3):
        found, made = step(W, V, X)
        assert found == value and same_bits(expected, made)
        assert in_order(step.report)
    assert loops_of(step)


def wave(step_of=lambda step: step):
    """Return the energy of a wave, by a scan of so many steps, as a function of its start and of the speed."""

    def f(start, speed, length):
        def step(carry, _):
            u, v = carry
            around = np.roll(u, 1, 0) + np.roll(u, -1, 0) + np.roll(u, 1, 1) + np.roll(u, -1, 1) - 4 * u
            v = v + 0.1 * speed * around
            return (u + 0.1 * v, v), None

        return np.sum(rt.scan(step_of(step), (start, np.zeros_like(start)), length=length)[0][0] ** 2)

    return f


def start_and_speed():
    return np.random.default_rng(0).standard_normal((SIZE, SIZE)), np.full((SIZE, SIZE), 0.5)


@functools.cache
def plain_wave(length):
    return rt.value_and_grad(lambda u, c: wave()(u, c, length), (0, 1))(*start_and_speed())


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_a_long_loop_holds_every_budget_down_to_the_smallest(share, always):
    length = 16
    arguments = start_and_speed()

    def f(u, c):
        return wave()(u, c, length)

    least = rt.plan(f, *arguments, argnums=(0, 1), memory_budget="100MiB").least_budget_bytes
    budget = int(least + share * length * 4 * SIZE * SIZE * 8)
    value, expected = plain_wave(length)
    step = rt.value_and_grad(f, (0, 1), memory_budget=budget)
    for _ in range(2):
        found, made = step(*arguments)
        assert found == value and same_bits(expected, made)
        assert in_order(step.report)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        step(*arguments)
        assert tracemalloc.get_traced_memory()[1] - before < step.report.projected_bytes + 2**20
    finally:
        tracemalloc.stop()
    if share == 0.0:
        with pytest.raises(rt.MemoryBudgetError, match=str(least)) as refused:
            rt.grad(f, (0, 1), memory_budget=least - 1)(*arguments)
        assert refused.value.needed_bytes == least


def test_less_memory_never_costs_less_work():
    def f(u, c):
        return wave()(u, c, 1000)

    arguments = start_and_speed()
    plans = [rt.plan(f, *arguments, argnums=(0, 1), memory_budget=f"{size}MiB") for size in (1, 2, 3, 5, 9, 20)]
    works = [plan.extra_work for plan in plans]
    assert works == sorted(works, reverse=True) and works[-1] < 0.5 < works[0]
    assert all(plan.projected_peak_bytes <= plan.budget_bytes for plan in plans)


def test_a_checkpointed_step_changes_nothing(always):
    arguments = start_and_speed()
    found = rt.grad(lambda u, c: wave(rt.checkpoint)(u, c, 20), (0, 1), memory_budget="3MiB")(*arguments)
    assert same_bits(plain_wave(20)[1], found)


@pytest.mark.parametrize("transform", ["hvp", "grad of grad", "jvp", "jacobian"])
def test_budgets_hold_for_loops_inside_other_transforms(transform):
    def inner(x):
        return np.sum(rt.scan(lambda c, _: (np.tanh(c * x + 0.1), None), x, length=30)[0])

    def f(x):
        if transform == "hvp":
            return np.sum(rt.hvp(inner, (x,), (np.ones_like(x),))[0])
        if transform == "grad of grad":
            return np.sum(rt.grad(inner)(x) ** 2)
        if transform == "jvp":
            return rt.jvp(inner, (x,), (x * x,))[1]
        return np.sum(rt.jacobian(lambda t: inner(t * x))(0.5))

    x = np.linspace(-1.0, 1.0, 2000)
    expected = rt.grad(f)(x)
    step = rt.grad(f, memory_budget="2MiB")
    for _ in range(2):
        assert np.allclose(expected, step(x), rtol=1e-12)
        assert in_order(step.report)


def test_a_loop_of_unknown_length_runs_inside_a_budget():
    def f(x, end):
        def body(state):
            time, u = state
            return time + 0.5, np.sin(u * x) + u * 0.1

        return np.sum(rt.while_loop(lambda state: state[0] < end, body, (0.0, x))[1])

    x = np.linspace(0.1, 1.0, 20_000)
    step = rt.value_and_grad(f, memory_budget="3MiB")
    for end in (5.0, 50.0, 50.0, 20.0, 0.0):
        value, expected = rt.value_and_grad(f)(x, end)
        found, made = step(x, end)
        assert found == value and np.array_equal(expected, made)
        assert in_order(step.report)
    assert loops_of(step)


def test_an_array_that_a_later_step_is_the_first_to_use_gets_its_gradient(always):
    def f(a, b):
        def step(c, k):
            return (c * a if k < 7 else c * b), None

        return np.sum(rt.scan(step, a * 1.0, length=10)[0])

    expected = rt.grad(f, (0, 1))(V, V + 1.0)
    step = rt.grad(f, (0, 1), memory_budget="1MiB")
    for _ in range(3):
        assert same_bits(expected, step(V, V + 1.0))
    assert expected[1].any() and loops_of(step)


def test_a_leaf_that_gets_a_derivative_in_a_later_step_is_no_constant(always):
    def f(a):
        def step(carry, k):
            c, d = carry
            return (c * a, c + d if k == 5 else d * 2.0), d

        (c, d), seen = rt.scan(step, (a, np.ones(4)), length=9)
        return np.sum(c) + np.sum(d * d) + np.sum(seen**2)

    expected = rt.grad(f)(V)
    step = rt.grad(f, memory_budget="1MiB")
    for _ in range(3):
        assert np.array_equal(expected, step(V))
    assert loops_of(step)


def test_a_step_that_looks_at_values_takes_another_path_each_time(always):
    def f(x, start):
        def step(c, k):
            return (np.sin(c) * x if np.sum(c) > 0 else c * c - x if k % 2 else c + 0.3), None

        return np.sum(rt.scan(step, start * x, length=25)[0] ** 2)

    step = rt.grad(f, memory_budget="1MiB")
    for start in (V, V, -V, np.abs(V)):
        assert np.array_equal(rt.grad(f)(V, start), step(V, start))
    assert loops_of(step)


def test_random_numbers_in_a_loop_are_drawn_once(always):
    def made(budget):
        rt.random.seed(5)
        step = rt.grad(
            lambda x: np.sum(rt.scan(lambda c, _: (c * rt.random.normal(size=4), None), x, length=9)[0]), memory_budget=budget
        )
        return [step(V) for _ in range(3)]

    assert same_bits(made(None), made("1MiB"))


def test_outputs_and_items_may_be_larger_than_all_states(always):
    def f(x, w):
        last, seen = rt.scan(lambda c, row: (np.tanh(c @ w + row), c * 2.0), np.zeros(8), x)
        return np.sum(last) + np.sum(seen[::3] ** 2) + np.mean(x)

    x, w = np.random.default_rng(1).standard_normal((500, 8)), np.eye(8) * 0.5
    expected = rt.grad(f, (0, 1))(x, w)
    step = rt.grad(f, (0, 1), memory_budget="1MiB")
    for _ in range(2):
        assert same_bits(expected, step(x, w))
        assert in_order(step.report)


@pytest.mark.parametrize("make", [not_repeatable_noise, not_repeatable_count])
def test_a_step_that_does_not_do_the_same_again_is_named(make, always):
    with pytest.raises(rt.TapeError, match="gave other numbers when run again"):
        rt.grad(lambda x: np.sum(rt.scan(make(), x, length=6)[0]), memory_budget="1MiB")(V)


def test_a_variable_that_is_set_again_after_the_loop_is_noticed(always):
    def f(w):
        c = rt.scan(lambda c, _: (c * w, None), 1.0, length=6)[0]
        w = w + 0.0
        return c * w

    with pytest.raises(rt.TapeError, match="set again after the loop"):
        rt.grad(f, memory_budget="1MiB")(1.1)


def test_after_an_error_in_a_step_the_next_call_works(always):
    def f(x, bad):
        def step(c, k):
            if k == bad:
                raise KeyError("a step failed")
            return c * x, None

        return np.sum(rt.scan(step, x, length=8)[0])

    step = rt.grad(f, memory_budget="1MiB")
    for bad in (6, None, None, 6, 0, None):
        if bad is None:
            assert np.array_equal(step(V, None), rt.grad(f)(V, None))
        else:
            with pytest.raises(KeyError, match="a step failed"):
                step(V, bad)


def test_a_program_may_catch_the_error_of_a_step(always):
    def f(x):
        try:
            return np.sum(rt.scan(lambda c, k: (c * x * (1 // (k - 3)), None), x, length=8)[0])
        except ZeroDivisionError:
            return np.sum(x**2)

    step = rt.grad(f, memory_budget="1MiB")
    for _ in range(3):
        assert np.array_equal(step(V), 2.0 * V)


def test_a_saved_plan_of_a_loop_is_the_plan_of_the_next_process(tmp_path, always):
    def f(u, c):
        return wave()(u, c, 30)

    arguments = start_and_speed()
    plan = rt.plan(f, *arguments, argnums=(0, 1), memory_budget="1MiB")
    plan.save(tmp_path / "plan.json")
    step = rt.value_and_grad(f, (0, 1), memory_budget="1MiB", planner=rt.load_plan(tmp_path / "plan.json"))
    for _ in range(2):
        assert same_bits(plain_wave(30)[1], step(*arguments)[1])
    assert step.report.projected_bytes == plan.projected_peak_bytes
