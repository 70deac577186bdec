"""Plans of networks in the large: never worse than the published rules, less work for more memory, the same each time."""

import math
import random
from dataclasses import replace

import graphs
import pytest

import retape as rt
from retape.checkpoint import pool
from retape.checkpoint.plan import Plan
from retape.checkpoint.planners import PLANNERS, best, smallest_budget
from retape.checkpoint.planners.search import essential, search, variations
from retape.checkpoint.program import Program
from retape.checkpoint.residency import Residency
from retape.checkpoint.rules import Rule
from retape.checkpoint.simulation import run_through, simulate
from retape.checkpoint.steps import Compute
from retape.checkpoint.timeline import EMPTY, Timeline
from retape.scheduler.schedule import replay, schedule

RULES = ("staleness", "ancestors", "next_use", "uniform")
SMALL = {
    "transformer": lambda: graphs.transformer(3),
    "U-Net": lambda: graphs.unet(3, 2),
    "LSTM": lambda: graphs.lstm(8),
    "DenseNet": lambda: graphs.densenet(2, 6),
    "Inception": lambda: graphs.inception(3),
    "tree-LSTM": lambda: graphs.tree_lstm(3),
}


def peak_of(program: Program) -> int:
    whole = PLANNERS["keep_all"](program, math.inf)
    assert whole is not None
    return whole.projected_peak_bytes


def checked(plan: Plan) -> Plan:
    assert replay(schedule(plan, list(range(len(plan.program))))) == plan.projected_peak_bytes
    return plan


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("share", [0.8, 0.5, 0.35])
def test_no_published_rule_finds_a_plan_with_less_work(name, share):
    program = SMALL[name]()
    budget = int(share * peak_of(program))
    found = search(program, budget, effort=20_000)
    work = math.inf if found is None else checked(found).work_seconds
    for rule in RULES:
        plan = PLANNERS[rule](program, budget)
        assert plan is None or work <= plan.work_seconds + 1e-9, rule


def test_a_long_programs_plan_is_no_dearer_than_any_rules():
    program = graphs.lstm(350)
    assert len(program) > 10_000
    budget = int(0.2 * peak_of(program))
    found = search(program, budget)
    assert found is not None
    for rule in RULES:
        plan = PLANNERS[rule](program, budget)
        assert plan is None or found.work_seconds <= plan.work_seconds + 1e-9, rule


@pytest.mark.parametrize(
    "name", ["transformer", "DenseNet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("U-Net", "Inception"))]
)
def test_extra_work_never_rises_with_the_budget(name):
    program = SMALL[name]()
    whole = peak_of(program)
    work = math.inf
    for share in range(12, 41):
        plan = search(program, int(share / 40 * whole), effort=8_000)
        if plan is None:
            assert work == math.inf, "a budget above a feasible one is feasible"
            continue
        assert plan.work_seconds <= work + 1e-9, share
        work = plan.work_seconds


def test_the_same_program_and_budget_give_the_same_plan_and_more_effort_never_a_worse_one():
    program = SMALL["U-Net"]()
    budget = int(0.4 * peak_of(program))
    plans = [search(program, budget, effort=effort) for effort in (0, 5_000, 5_000, 30_000)]
    least, less, same, more = [plan for plan in plans if plan is not None]
    assert less.steps == same.steps
    assert least.work_seconds >= less.work_seconds >= more.work_seconds


@pytest.mark.parametrize("name", ["U-Net", "LSTM"])
def test_a_plan_is_found_for_exactly_the_smallest_budget_and_for_none_below(name):
    program = SMALL[name]()
    needed, plan = smallest_budget(program)
    assert checked(plan).projected_peak_bytes == needed
    assert checked(best(program, needed, effort=0)).projected_peak_bytes <= needed
    with pytest.raises(rt.MemoryBudgetError) as refused:
        best(program, needed - 1, effort=0)
    assert refused.value.needed_bytes == needed


def test_planning_takes_few_steps_a_value():
    """Counted, not timed: a rule on ten thousand values, far below the unbudgeted peak."""
    program = graphs.transformer(238)
    assert len(program) > 10_000
    residency = Residency(program, int(0.3 * peak_of(program)), knows_future=True)
    run_through(residency)
    assert residency.taken < 3 * len(program)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_deciding_what_stays_takes_no_longer_in_a_longer_loop_whose_steps_all_read_one_value(share):
    """Counted, not timed: values looked at for each step of the plan."""
    looked_at = []
    for steps in (250, 1000):
        program = graphs.shared_weight(steps)
        residency = Residency(program, int(share * peak_of(program)), knows_future=True)
        run_through(residency)
        looked_at.append(residency.seen / residency.taken)
    assert looked_at[1] < 1.5 * looked_at[0] < 8, looked_at


def online(program: Program, budget: int) -> Residency:
    """Run a program's forward sweep as if it came step by step, then its reverse sweep."""
    seen = program.until(0)
    residency = Residency(seen, budget, knows_future=False)
    read_behind = {u for inputs in program.inputs[program.forward :] for u in inputs} | set(program.outputs)
    for v in range(len(program)):
        if v == program.forward:
            for u in range(v, len(program)):
                seen.add(program.sizes[u], program.inputs[u], cost=program.costs[u], workspace=program.workspaces[u])
            residency.reveal(replace(seen, outputs=program.outputs, forward=v))
        elif v < program.forward:
            seen.add(program.sizes[v], program.inputs[v], cost=program.costs[v], workspace=program.workspaces[v])
            residency.extend()
            residency.expect(v)
        residency.make(v)
        for u in program.inputs[v] if v < program.forward else ():
            if u not in read_behind:
                residency.want(u, False)
    return residency


@pytest.mark.parametrize("share", [0.3, 0.1])
def test_the_policy_looks_at_few_values_a_step_however_long_the_chain_that_was_dropped(share):
    """Counted, not timed. Most of the chain is dropped, so that behind each value lie up to a thousand dropped ones."""
    looked_at = []
    for steps in (250, 1000):
        program = graphs.shared_weight(steps)
        residency = online(program, int(share * peak_of(program)))
        looked_at.append(residency.seen / residency.taken)
    assert max(looked_at) < 8, looked_at


def test_a_choice_among_very_many_looks_at_few_and_is_as_good(monkeypatch):
    """A short list of the best, taken now and then, against a look at all of them each time."""
    program = graphs.lstm(60)
    budget = int(0.4 * peak_of(program))
    looked_at, work = [], []
    for many in (10**9, 64):
        monkeypatch.setattr(pool, "_MANY", many)
        monkeypatch.setattr(pool, "_LISTED", 32)
        residency = Residency(program, budget, knows_future=True)
        steps = run_through(residency)
        looked_at.append(residency._pool.passes)
        work.append(sum(program.costs[step.value] for step in steps if isinstance(step, Compute)))
    assert looked_at[1] < 0.6 * looked_at[0]
    assert work[1] < 1.03 * work[0]


def slow_next_use(program: Program, resident: set[int], position: int, v: int) -> float:
    """The first position from `position` on that uses `v`, directly or through evicted descendants, by plain search."""
    found, stack, seen = math.inf, [v], {v}
    while stack:
        u = stack.pop()
        if u in program.outputs:
            found = min(found, len(program))
        for c in range(len(program)):
            if u in program.inputs[c]:
                if c >= position:
                    found = min(found, c)
                elif c not in resident and c not in seen:
                    seen.add(c)
                    stack.append(c)
    return found


@pytest.mark.parametrize("rule", [Rule(), Rule(age="none"), Rule(power=0.5), Rule("classes", "last use")])
@pytest.mark.parametrize("name", ["U-Net", "tree-LSTM"])
def test_next_uses_are_those_of_a_plain_search_through_evicted_values(name, rule):
    program = SMALL[name]()
    residency = Residency(program, 0.4 * peak_of(program), knows_future=True, rule=rule)
    for v in range(len(program)):
        residency.make(v)
        if v % 7 == 0:
            resident = set(residency.resident())
            for u in resident:
                assert residency.next_use(u) == slow_next_use(program, resident, v + 1, u)


@pytest.mark.parametrize("name", SMALL)
def test_the_moves_of_a_timeline_keep_its_books_and_can_be_undone(name):
    program = SMALL[name]()
    generator = random.Random(name)
    steps = simulate(program, 0.45 * peak_of(program))
    assert steps is not None
    timeline = Timeline(program, [step.value for step in steps if isinstance(step, Compute)])
    for _ in range(60):
        mark, before = timeline.mark(), (timeline.computations(), timeline.cost, timeline.memory.tolist())
        repeated = timeline.repeated()
        if repeated and generator.random() < 0.5:
            timeline.remove(generator.choice(repeated))
        else:
            slot = generator.choice([s for s, v in enumerate(timeline.value) if v != EMPTY and timeline.readers[s]])
            timeline.insert(timeline.value[slot], generator.choice(timeline.readers[slot]))
        again = Timeline(program, timeline.computations())
        assert again.peak() == timeline.peak()
        assert again.cost == pytest.approx(timeline.cost)
        if generator.random() < 0.5:
            timeline.undo(mark)
            assert (timeline.computations(), timeline.memory.tolist()) == (before[0], before[2])
            assert timeline.cost == pytest.approx(before[1])


def test_every_attempt_of_the_ensemble_is_another_one():
    program = SMALL["U-Net"]()
    budget = 0.5 * peak_of(program)
    taken = set()
    for attempt in [*essential(program), *variations(program)]:
        residency = Residency(
            program,
            budget * attempt.share,
            knows_future=True,
            rule=attempt.rule,
            weights=attempt.weights,
            holds=attempt.holds,
        )
        taken.add(tuple(run_through(residency)))
    assert len(taken) >= 10


def test_the_effort_of_planning_is_taken_by_grad_and_plan():
    import numpy as np

    def loss(w, x):
        for _ in range(12):
            x = np.tanh(x @ w)
        return np.mean(x * x)

    arguments = np.eye(16), np.ones((64, 16))
    budget = int(0.5 * rt.plan(loss, *arguments).projected_peak_bytes)
    quick, long = (rt.plan(loss, *arguments, memory_budget=budget, planning_effort=e) for e in (0, 20_000))
    assert long.work_seconds <= quick.work_seconds
    step = rt.grad(loss, memory_budget=budget, planning_effort=0)
    assert np.array_equal(step(*arguments), rt.grad(loss)(*arguments))
    assert np.array_equal(step(*arguments), rt.grad(loss)(*arguments))
