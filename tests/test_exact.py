"""The exact planner, the certificate's bounds and the whole ensemble on small programs, against a brute-force oracle."""

import importlib
import math
import random
import tracemalloc

import pytest
from oracle import least_peak, least_work

from retape.checkpoint.errors import MemoryBudgetError
from retape.checkpoint.order import steps_of
from retape.checkpoint.plan import Plan
from retape.checkpoint.planners import PLANNERS, best, smallest_budget
from retape.checkpoint.planners.exact import exact, least_budget
from retape.checkpoint.program import Program
from retape.checkpoint.steps import Compute
from retape.scheduler.schedule import replay, schedule


def random_program(ops: int, seed: int) -> Program:
    """Return a forward-and-reverse program of `ops` forward ops: any wiring, sizes, costs and buffers to take over."""
    generator = random.Random(1000 * ops + seed)
    inputs = [
        tuple(sorted(set(generator.choices(range(v), k=generator.choice([1, 1, 2, 3]))))) if v else () for v in range(ops)
    ]
    sinks = [v for v in range(ops - 1) if not any(v in read for read in inputs)]
    inputs[-1] = tuple(sorted({*inputs[-1], *sinks}))
    sizes = [generator.choice([8, 40, 100, 100, 160]) for _ in range(ops)]
    program = Program(forward=ops, held_bytes=generator.choice([0, 16]))

    def add(size: int, read: set[int]) -> int:
        in_place = [u for u in sorted(read) if program.sizes[u] == size and generator.random() < 0.3]
        return program.add(
            size,
            tuple(sorted(read)),
            cost=generator.choice([0.0, 1.0, 1.7, 2.0, 5.3, 10.0]),
            workspace=generator.choice([0, 0, 0, 64]),
            overwrites=in_place[0] if in_place else -1,
        )

    for v in range(ops):
        add(sizes[v], set(inputs[v]))
    cotangent: dict[int, int] = {}
    for v in reversed(range(ops)):
        readers = [w for w in range(ops) if v in inputs[w]]
        read = {cotangent[w] for w in readers} | {u for w in readers for u in inputs[w] if generator.random() < 0.7}
        cotangent[v] = add(sizes[v], read | ({v} if generator.random() < 0.5 or not read else set()))
    outputs = tuple(cotangent[v] for v in range(ops) if not inputs[v])
    return Program(
        program.sizes, program.inputs, program.costs, program.workspaces, program.overwrites, program.labels, program.lines,
        outputs, ops, program.held_bytes,
    )  # fmt: skip


def whole_peak(program: Program) -> int:
    plan = PLANNERS["keep_all"](program, math.inf)
    assert plan is not None
    return plan.projected_peak_bytes


def check(program: Program, plan: Plan, budget: int) -> None:
    """Assert that a plan keeps its budget, and that its schedule can be carried out."""
    assert replay(schedule(plan, list(range(len(program))))) == plan.projected_peak_bytes <= budget


@pytest.mark.parametrize("seed", range(40))
def test_the_exact_planner_and_the_ensemble_find_the_oracles_optimum_wherever_it_has_one(seed):
    program = random_program(3 + seed % 5, seed)
    least, whole = least_peak(program), whole_peak(program)
    assert least_budget(program, whole) == least
    assert smallest_budget(program)[0] == least
    for share in (0.0, 0.15, 0.4, 0.8):
        budget = int(least + share * (whole - least))
        optimum = least_work(program, budget)
        found, chosen = exact(program, budget), best(program, budget)
        assert found is not None and found.is_optimal
        assert found.work_seconds == pytest.approx(optimum, rel=1e-9)
        assert chosen.work_seconds <= program.work_seconds() + 1e-9 or chosen.work_seconds == pytest.approx(optimum)
        check(program, found, budget)
        check(program, chosen, budget)
    assert exact(program, int(least) - 1) is None
    with pytest.raises(MemoryBudgetError) as refused:
        best(program, int(least) - 1)
    assert refused.value.needed_bytes == least


@pytest.mark.parametrize("seed", range(3))
def test_what_is_too_much_for_the_search_is_planned_all_the_same_and_close_to_the_optimum(seed, monkeypatch):
    # With hardly any sets to look at, the search is led by the table of the work left, which is in rounded steps.
    monkeypatch.setattr(importlib.import_module("retape.checkpoint.planners.exact"), "_MOST_REACHED", 60)
    program = random_program(7, 100 + seed)
    least = int(least_peak(program))
    for budget in (least, int(1.1 * least)):
        plan, optimum = exact(program, budget), least_work(program, budget)
        assert plan is not None
        check(program, plan, budget)
        assert optimum <= plan.work_seconds * (1 + 1e-9) <= 1.05 * optimum


def test_a_reverse_sweep_in_another_order_saves_recomputation():
    # Two heavy branches: in the program's order both must be in memory at once.
    program = Program(outputs=(4,), forward=2)
    program.add(100)
    program.add(100)
    program.add(10, (0,))
    program.add(10, (1,))
    program.add(10, (2, 3))
    plan = exact(program, 120)
    assert plan is not None and plan.extra_work == 0
    assert [step.value for step in plan.steps if isinstance(step, Compute)] in ([0, 2, 1, 3, 4], [1, 3, 0, 2, 4])
    by_rule = PLANNERS["next_use"](program, 120)
    assert by_rule is not None and by_rule.extra_work > 0


def test_the_order_of_a_plan_is_followed_as_far_as_the_program_has_called():
    program = Program(outputs=(4,), forward=4)
    for inputs in ((), (), (0,), (1,), (2, 3)):
        program.add(10, inputs)
    in_order = Plan(program, steps_of(program, [0, 1, 2, 3, 4]), "by hand")
    assert in_order.stops == [1, 2, 3, 5]  # what is dropped after a value was made waits for the next call
    other = Plan(program, steps_of(program, [1, 3, 0, 2, 4]), "by hand")
    made = [[step.value for step in other.steps[:stop] if isinstance(step, Compute)] for stop in other.stops]
    assert made == [[], [1], [1], [1, 3, 0, 2]]


def test_an_order_that_reads_what_was_never_computed_is_refused():
    program = Program(outputs=(1,), forward=1)
    program.add(10, label="tanh")
    program.add(10, (0,))
    with pytest.raises(ValueError, match=r"v0 \(tanh\)"):
        steps_of(program, [1])


def test_that_a_program_is_too_large_is_seen_before_memory_is_taken_for_it():
    program = Program(outputs=(9_999,), forward=9_999)
    for v in range(10_000):
        program.add(8, (v - 1,) if v else ())
    tracemalloc.start()
    try:
        assert exact(program, 1e9) is None and least_budget(program, 10**9) is None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20  # a mask of ten thousand bits for each value would take 12 MiB
