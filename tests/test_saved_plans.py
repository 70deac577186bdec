"""Plans written to a file and used by another process; tradeoffs; and what is refused."""

import json

import numpy as np
import pytest

import retape as rt
from retape.checkpoint.saved import fingerprint

GENERATOR = np.random.default_rng(5)
WEIGHTS = [GENERATOR.standard_normal((20, 20)) for _ in range(5)]
BATCH = GENERATOR.standard_normal((200, 20))


def loss(params, x):
    for weight in params:
        x = np.tanh(x @ weight)
    return np.sum(x * x)


@pytest.fixture
def saved(tmp_path):
    plan = rt.plan(loss, WEIGHTS, BATCH, memory_budget=150_000)
    plan.save(tmp_path / "loss.plan")
    return plan, tmp_path / "loss.plan"


def test_a_loaded_plan_is_the_saved_one_and_gives_the_same_bits(saved):
    plan, path = saved
    loaded = rt.load_plan(path)
    assert loaded.plan(plan.program, 150_000).steps == plan.steps
    step = rt.grad(loss, memory_budget=150_000, planner=loaded)
    expected = rt.grad(loss)(WEIGHTS, BATCH)
    for _ in range(3):
        for a, b in zip(step(WEIGHTS, BATCH), expected, strict=True):
            assert a.tobytes() == b.tobytes()
    assert step.report is not None and step.report.planner == plan.planner
    assert step.report.peak_bytes <= step.report.projected_bytes == plan.projected_peak_bytes


@pytest.mark.parametrize("rows", [100, 201])
def test_a_plan_of_another_program_is_refused_at_the_first_call(saved, rows):
    plan, path = saved
    step = rt.grad(loss, memory_budget=150_000, planner=rt.load_plan(path))
    with pytest.raises(rt.PlanMismatchError, match=f"another program.*{fingerprint(plan.program)[:12]}"):
        step(WEIGHTS, np.resize(BATCH, (rows, 20)))


def test_a_plan_is_refused_by_a_smaller_budget_with_what_it_needs(saved):
    plan, path = saved
    with pytest.raises(rt.MemoryBudgetError) as refused:
        rt.plan(loss, WEIGHTS, BATCH, memory_budget=149_000 - 50_000, planner=rt.load_plan(path))
    assert refused.value.needed_bytes == plan.projected_peak_bytes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "no whole plan"),
        (lambda text: "[1, 2]", "holds no plan"),
        (lambda text: "PK\x03\x04", "no whole plan"),
        (lambda text: json.dumps({**json.loads(text), "version": 99}), "version 99"),
        (lambda text: json.dumps({**json.loads(text), "steps": ["__import__('os')"]}), "no whole plan"),
        (lambda text: json.dumps({key: value for key, value in json.loads(text).items() if key != "steps"}), "no whole plan"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(saved, change, message):
    _, path = saved
    path.write_text(change(path.read_text()))
    with pytest.raises(rt.PlanMismatchError, match=message):
        rt.load_plan(path)


@pytest.mark.parametrize("damage", ["a step lost", "a step twice", "a value unknown", "an output written over"])
def test_damaged_steps_never_reach_the_executor(saved, damage):
    plan, path = saved
    record = json.loads(path.read_text())
    steps = record["steps"]
    if damage == "a step lost":
        del steps[2]
    elif damage == "a step twice":
        steps.insert(3, steps[2])
    elif damage == "a value unknown":
        steps.append(10**6)
    else:
        steps[-1] = [len(plan.program) - 1, plan.program.outputs[0]]
    path.write_text(json.dumps(record))
    with pytest.raises(rt.PlanMismatchError, match="damaged"):
        rt.load_plan(path).plan(plan.program, 10**9)


def test_a_missing_folder_and_a_missing_file_are_named(saved, tmp_path):
    plan, _ = saved
    for action in (lambda: plan.save(tmp_path / "nowhere" / "x.plan"), lambda: rt.load_plan(tmp_path / "none.plan")):
        with pytest.raises(FileNotFoundError):
            action()


def test_a_tradeoff_goes_from_no_extra_work_to_the_smallest_budget_and_never_rises_with_it(tmp_path):
    found = rt.tradeoff(loss, WEIGHTS, BATCH, points=6)
    budgets = [plan.budget_bytes or plan.projected_peak_bytes for plan in found.plans]
    works = [plan.work_seconds for plan in found.plans]
    assert budgets == sorted(budgets, reverse=True) and works == sorted(works)
    assert found.plans[0].extra_work == 0 and budgets[-1] == found.plans[-1].least_budget_bytes
    assert all(plan.projected_peak_bytes <= budget for plan, budget in zip(found.plans, budgets, strict=True))
    assert all(plan.least_work_seconds <= plan.work_seconds * (1 + 1e-9) for plan in found.plans)
    lines = str(found).splitlines()
    assert len(lines) == 3 + len(found.plans) and f"({budgets[-1]})" in lines[-1]
    pytest.importorskip("matplotlib")
    found.plot(tmp_path / "tradeoff.png")
    assert (tmp_path / "tradeoff.png").read_bytes().startswith(b"\x89PNG")


def test_a_tradeoff_needs_two_points():
    with pytest.raises(ValueError, match="at least 2"):
        rt.tradeoff(loss, WEIGHTS, BATCH, points=1)
