"""Planners of chains: unit chains against the closed form, heterogeneous ones against the exact oracle, and long tapes."""

import math
import random

import pytest
from oracle import least_work

from retape.checkpoint.planners import PLANNERS, best
from retape.checkpoint.planners.binomial import binomial
from retape.checkpoint.planners.chain import chain
from retape.checkpoint.program import Program
from retape.checkpoint.steps import Compute
from retape.scheduler.schedule import replay, schedule


def chain_of(sizes, costs, wiring):
    """Return a chain's program: what the reverse of a step reads of it is its output, its input, or both."""
    n = len(sizes)
    program = Program(outputs=(2 * n - 1,), forward=n)
    for v in range(n):
        program.add(sizes[v], (v - 1,) if v else (), cost=costs[v])
    for step in range(n - 1, -1, -1):
        after = {len(program) - 1} if step < n - 1 else {n - 1}
        own = {"output": {step}, "input": {step - 1}, "both": {step, step - 1}}[wiring]
        program.add(sizes[max(step - 1, 0)], tuple(sorted((after | own) - {-1})), cost=costs[step])
    return program


def unit(n, wiring="input"):
    return chain_of([100] * n, [1.0] * n, wiring)


def closed_form(n, room):
    r = next(r for r in range(n + 1) if math.comb(room - 2 + r, r) >= n)
    return n + 1 + r * n - math.comb(room - 2 + r, room - 1)


@pytest.mark.parametrize("wiring", ["input", "output"])
@pytest.mark.parametrize(
    ("n", "room"), [(2, 3), (3, 3), (7, 3), (9, 4), (12, 9), (30, 6), (100, 20), (100, 10), (1000, 32), (1000, 10)]
)
def test_a_unit_chain_takes_as_many_computations_as_the_closed_form_says(n, room, wiring):
    program = unit(n, wiring)
    plan = binomial(program, 100 * room)
    assert plan is not None and sum(plan.computed) == closed_form(n, room)
    assert replay(schedule(plan, list(range(2 * n)))) == plan.projected_peak_bytes <= 100 * room
    if n <= 30:
        assert sum(chain(program, 100 * room).computed) == closed_form(n, room)


def test_the_counts_that_everybody_knows():
    counts = [(sum(binomial(unit(n), 100 * room).computed)) for n, room in ((100, 20), (100, 10), (1000, 32), (1000, 10))]
    assert counts == [281, 346, 3473, 5286]


@pytest.mark.parametrize("n", [3, 5, 7])
@pytest.mark.parametrize("wiring", ["input", "output"])
def test_the_closed_form_is_the_optimum_of_the_oracle(n, wiring):
    for room in (3, 4, 5):
        assert sum(binomial(unit(n, wiring), 100 * room).computed) == least_work(unit(n, wiring), 100 * room)


def test_a_chain_whose_last_value_nobody_reads_leaves_it_out():
    n, room = 9, 4
    program = Program(outputs=(2 * n - 1,), forward=n)
    for v in range(n):
        program.add(1, (v - 1,) if v else ())
    for step in range(n - 1, -1, -1):
        before = [] if step == n - 1 else [len(program) - 1]
        program.add(1, tuple(sorted([*before, *([step - 1] if step else [])])))
    plan = binomial(program, room)
    assert replay(schedule(plan, list(range(2 * n)))) <= room
    assert (
        sum(plan.computed) == closed_form(n - 1, room) + 1 == least_work(program, room) == sum(chain(program, room).computed)
    )


def test_a_chain_of_a_hundred_thousand_steps_is_planned_in_closed_form():
    n, room = 100_000, 100
    plan = binomial(unit(n), 100 * room)
    assert sum(type(step) is Compute for step in plan.steps) == closed_form(n, room)


@pytest.mark.parametrize("spoil", ["size", "cost", "skip", "output", "workspace"])
def test_what_is_no_unit_chain_is_left_to_others(spoil):
    program = unit(12)
    if spoil == "size":
        program.sizes[5] = 101
    elif spoil == "cost":
        program.costs[5] = 2.0
    elif spoil == "skip":
        program.inputs[15] = (*program.inputs[15], 2)
    elif spoil == "workspace":
        program.workspaces[5] = 1
    else:
        program = Program(**{name: getattr(unit(12), name) for name in Program.__slots__} | {"outputs": (11, 23)})
    assert binomial(program, 600) is None and binomial(unit(12), 299) is None and binomial(unit(12), 600) is not None


def ragged(n, wiring, seed):
    generator = random.Random(seed)
    sizes = [generator.choice([10, 20, 30, 50]) for _ in range(n)]
    return chain_of(sizes, [generator.choice([1.0, 2.0, 5.0]) for _ in range(n)], wiring)


@pytest.mark.parametrize("wiring", ["input", "output", "both"])
def test_heterogeneous_chains_cost_what_the_oracle_says(wiring):
    ratios = []
    for seed in range(12):
        program = ragged(3 + seed % 4, wiring, seed)
        whole = PLANNERS["keep_all"](program, math.inf).projected_peak_bytes
        for share in (0.9, 0.75, 0.6, 0.5, 0.4):
            budget = int(share * whole)
            least = least_work(program, budget)
            plan = chain(program, budget)
            if plan is not None:
                assert replay(schedule(plan, list(range(len(program))))) <= budget
                ratios.append(plan.work_seconds / least)
            if least < math.inf:
                assert best(program, budget).work_seconds == pytest.approx(least)
    # The dynamic program keeps what it holds until it is read in reverse, which the optimum sometimes does not.
    assert min(ratios) >= 1.0 - 1e-9 and sum(ratios) / len(ratios) <= 1.03 and max(ratios) <= 1.3


@pytest.mark.parametrize("share", [0.75, 0.5, 0.35, 0.25])
def test_long_chains_cost_no_more_than_with_the_other_rules(share):
    for program in (ragged(38, "both", 1), unit(60, "both")):
        budget = int(share * PLANNERS["keep_all"](program, math.inf).projected_peak_bytes)
        plan = chain(program, budget)
        assert replay(schedule(plan, list(range(len(program))))) <= budget
        others = [PLANNERS[name](program, budget) for name in ("uniform", "next_use", "ancestors", "boundaries")]
        assert all(plan.work_seconds <= 1.01 * other.work_seconds for other in others if other is not None)
