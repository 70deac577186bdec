"""The certificate: bounds that no plan goes below, and the smallest budget, at which real programs run and none below."""

import dataclasses
import math

import numpy as np
import pytest
from oracle import least_peak, least_work
from test_exact import random_program, whole_peak
from test_planners import chain

import retape as rt
from retape.checkpoint.bounds import least_work_seconds
from retape.checkpoint.planners import PLANNERS, best
from retape.runtime import trees
from retape.scheduler import following, timing
from retape.scheduler.known import Known
from retape.scheduler.planning import recorded
from retape.scheduler.run import run

GENERATOR = np.random.default_rng(3)


@pytest.mark.parametrize("seed", range(30))
def test_no_plan_does_less_work_than_the_bound(seed):
    program = random_program(3 + seed % 5, 200 + seed)
    least, whole = int(least_peak(program)), whole_peak(program)
    for share in (0.0, 0.2, 0.5, 1.0):
        budget = int(least + share * (whole - least))
        assert least_work_seconds(program, budget) <= least_work(program, budget) * (1 + 1e-9)


def test_the_bound_counts_what_cannot_stay_at_the_turn_of_a_chain():
    # All five values are read again in the reverse sweep. Each ten bytes less than it takes to keep them, when the first
    # cotangent is made, force one more of them to be computed twice.
    program = chain(5, 10)
    once = program.work_seconds()
    assert [least_work_seconds(program, budget) - once for budget in (math.inf, 60, 50, 40)] == [0, 0, 1, 2]
    for budget in (50, 40):
        plan = best(program, budget)
        assert plan.least_work_seconds <= plan.work_seconds and plan.gap >= 0
        proved = PLANNERS["exact"](program, budget)
        assert proved is not None and proved.gap == 0


def layers(params, x):
    for weight in params:
        x = np.tanh(x @ weight)
    return np.sum(x * x)


def two_paths(params, x):
    a, b = params
    return np.sum(np.sin(x @ a) * np.cos(x @ b) + x)


PROGRAMS = {
    "one layer": (layers, ([GENERATOR.standard_normal((30, 30))], GENERATOR.standard_normal((50, 30)))),
    "layers": (layers, ([GENERATOR.standard_normal((16, 16)) for _ in range(2)], GENERATOR.standard_normal((400, 16)))),
    "two paths": (two_paths, ([GENERATOR.standard_normal((20, 20)) for _ in range(2)], GENERATOR.standard_normal((60, 20)))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_smallest_budget_works_at_once_and_again_and_one_byte_less_is_refused_with_that_number(name):
    f, arguments = PROGRAMS[name]
    needed = rt.plan(f, *arguments).least_budget_bytes
    expected = rt.grad(f)(*arguments)
    step = rt.grad(f, memory_budget=needed)
    for _ in range(3):
        found = step(*arguments)
        for a, b in zip(trees.flatten(found)[0], trees.flatten(expected)[0], strict=True):
            assert a.tobytes() == b.tobytes()
        assert step.report is not None
        assert step.report.peak_bytes <= step.report.projected_bytes <= needed
    with pytest.raises(rt.MemoryBudgetError) as refused:
        rt.grad(f, memory_budget=needed - 1)(*arguments)
    assert refused.value.needed_bytes == needed
    assert f"{needed} bytes" in str(refused.value)


def test_a_plan_tells_its_memory_its_work_its_time_and_the_smallest_budget():
    f, arguments = PROGRAMS["layers"]
    plan = rt.plan(f, *arguments, memory_budget=180_000)
    assert plan.projected_seconds is not None and plan.projected_seconds > 0
    text = str(plan)
    for figure in (plan.projected_peak_bytes, plan.least_budget_bytes):
        assert f"({figure} bytes)" in text
    assert f"{100 * plan.extra_work:.1f} % (" in text and "no plan does less" in text
    assert "matmul" in text and "test_certificate.py:" in text
    assert "none: everything is computed once" in str(rt.plan(f, *arguments))


def test_seconds_are_measured_once_for_each_kind_of_call_and_never_of_what_the_user_wrote(monkeypatch):
    runs, measured = [], []

    def cube(x):
        runs.append(x)
        return x**3

    primitive = rt.primitive(cube, infer=lambda x: x)
    primitive.defvjp(lambda g, x: 3 * g * x**2)
    measure = timing._measured
    monkeypatch.setattr(timing, "_measured", lambda op, *rest, **how: measured.append(op.name) or measure(op, *rest, **how))

    def f(x):
        for _ in range(5):
            x = np.sin(x)
        return np.sum(primitive(x))

    plan = rt.plan(f, np.ones(100))
    assert plan.projected_seconds is not None and plan.projected_seconds > 0
    assert measured.count("sin") == 1 and runs == []


def test_short_calls_are_made_to_time_them_and_none_of_what_the_user_wrote_or_what_fails(monkeypatch):
    made = []
    monkeypatch.setattr(following, "run", lambda *how: made.append(how) or run(*how))
    generator = rt.random.Generator(7)
    before = generator.state

    def noisy(x):
        return np.sum(np.sin(x) * generator.normal(size=x.shape))

    def seconds(f, x):
        return rt.plan(f, x, memory_budget="1MiB").projected_seconds or 0.0

    assert seconds(noisy, np.ones(50)) > 0
    assert 2 <= len(made) <= 9 and generator.state == before
    made.clear()
    cube = rt.primitive(lambda x: x**3, infer=lambda x: x)
    cube.defvjp(lambda g, x: 3 * g * x**2)
    assert seconds(lambda x: np.sum(cube(x)), np.ones(50)) > 0
    assert made == []
    assert seconds(lambda a: np.sum(np.linalg.inv(a)), np.zeros((3, 3))) > 0
    assert len(made) == 1


def test_seconds_of_waiting_for_a_disk_are_projected_too():
    f, arguments = PROGRAMS["one layer"]
    known = recorded(f, arguments, 0, False)
    plan = PLANNERS["keep_all"](known.program, math.inf)
    assert plan is not None
    kinds = {}
    once = following.projected_seconds(plan, known, kinds)
    waiting = following.projected_seconds(dataclasses.replace(plan, waiting_seconds=100.0), known, kinds)
    assert 0 < once and waiting == pytest.approx(once + 100.0)


def test_a_search_whose_plan_puts_off_what_may_fail_is_not_repeated(monkeypatch):
    def never(*_):
        raise AssertionError("searched again")

    def waves(x):
        y = x
        for _ in range(12):
            y = np.sin(y) * 1.5 + y.T
        return np.sum(y)

    x = np.ones((30, 30))
    budget = rt.plan(waves, x).projected_peak_bytes // 2
    assert rt.plan(waves, x, memory_budget=budget).planner == "search"
    monkeypatch.setattr(Known, "_is_prompt", lambda self, plan: plan.planner != "search")
    monkeypatch.setitem(PLANNERS, "search", never)
    plan = rt.plan(waves, x, memory_budget=budget)
    assert plan.planner != "search" and plan.projected_peak_bytes <= budget
