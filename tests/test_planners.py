"""Every planner on every kind of program, through one replay; and the plan's own arithmetic against small numbers."""

import functools
import heapq
import math
import random

import pytest

from retape.checkpoint.errors import MemoryBudgetError
from retape.checkpoint.plan import Plan
from retape.checkpoint.planners import PLANNERS, best, smallest_budget
from retape.checkpoint.planners.revolve import least_plan
from retape.checkpoint.planners.search import search
from retape.checkpoint.program import Program
from retape.checkpoint.steps import Compute, Drop
from retape.scheduler.schedule import Free, Rerun, Run, Schedule, replay, schedule


def joint(forward: list[tuple[int, tuple[int, ...]]], reads_output: bool = True) -> Program:
    """Return the forward-and-reverse program of a graph: ``(bytes, inputs)`` by value, the last one being the loss."""
    n = len(forward)
    consumers = [[w for w in range(n) if v in forward[w][1]] for v in range(n)]
    reverse = {v: n + (n - 1 - v) for v in range(n)}
    program = Program(outputs=(2 * n - 1,), forward=n)
    for size, inputs in forward:
        program.add(size, inputs, cost=1.0, label="forward")
    for v in range(n - 1, -1, -1):
        read = {reverse[w] for w in consumers[v]} | set(forward[v][1]) | ({v} if reads_output else set())
        program.add(forward[v][0], tuple(sorted(read)), cost=1.0, label="reverse")
    return program


def chain(n: int, size: int = 100) -> Program:
    return joint([(size, (v - 1,) if v else ()) for v in range(n)])


def ragged_chain(n: int) -> Program:
    generator = random.Random(n)
    return joint([(generator.choice([10, 100, 400]), (v - 1,) if v else ()) for v in range(n)])


def two_state_recurrence(n: int) -> Program:
    forward: list[tuple[int, tuple[int, ...]]] = [(100, ()), (100, ())]
    for _ in range(n):
        position, velocity = len(forward) - 2, len(forward) - 1
        forward.append((100, (position,)))
        forward.append((100, (len(forward) - 1, position)))
        forward.append((100, (len(forward) - 1, velocity)))
    return joint(forward)


def unet(depth: int) -> Program:
    forward: list[tuple[int, tuple[int, ...]]] = [(800, ())]
    skips = []
    for level in range(depth):
        skips.append(len(forward) - 1)
        forward.append((max(800 >> level, 50), (len(forward) - 1,)))
    for level in reversed(range(depth)):
        forward.append((max(800 >> level, 50), (len(forward) - 1, skips[level])))
    return joint(forward)


def wide(n: int) -> Program:
    forward: list[tuple[int, tuple[int, ...]]] = [(100, ())]
    forward += [(100, (0,)) for _ in range(n)]
    forward.append((10, tuple(range(1, n + 1))))
    return joint(forward)


def random_graph(n: int, seed: int) -> Program:
    generator = random.Random(seed)
    forward = [
        (generator.randint(1, 20) * 10, tuple(sorted(set(generator.choices(range(v), k=min(v, 2)))))) for v in range(n)
    ]
    return joint(forward)


PROGRAMS = {
    "chain of 1": chain(1),
    "chain of 12": chain(12),
    "chain of 60": chain(60),
    "ragged chain of 40": ragged_chain(40),
    "two states of 20 steps": two_state_recurrence(20),
    "U-Net of depth 6": unet(6),
    "wide of 20": wide(20),
    "random graph of 30": random_graph(30, 1),
}


def needed(program: Program) -> list[bool]:
    """Tell, by value, whether an output depends on it."""
    found = [v in program.outputs for v in range(len(program))]
    for v in range(len(program) - 1, -1, -1):
        for u in program.inputs[v]:
            found[u] |= found[v]
    return found


MAKERS = {**PLANNERS, "search": functools.partial(search, effort=3000)}


@pytest.mark.parametrize("planner", MAKERS)
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("share", [1.0, 0.75, 0.5, 0.35, 0.25, 0.1])
def test_every_plan_that_is_made_replays_within_its_budget(planner, name, share):
    program = PROGRAMS[name]
    whole = PLANNERS["keep_all"](program, math.inf)
    budget = int(whole.projected_peak_bytes * share)
    plan = MAKERS[planner](program, budget)
    if plan is None:
        is_uncut = planner in ("uniform", "boundaries", "revolve") and len(program) < 4
        is_too_large = planner == "exact" and len(program) > 40
        is_no_chain = planner in ("binomial", "chain")
        assert share < 1.0 or is_uncut or is_too_large or is_no_chain, "every planner finds a plan when everything fits"
        return
    peak = replay(schedule(plan, list(range(len(program)))))
    assert peak == plan.projected_peak_bytes <= budget
    assert all(count >= 1 for count, is_needed in zip(plan.computed, needed(program), strict=True) if is_needed)
    assert plan.extra_work >= 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_best_plan_exists_at_the_smallest_budget_and_is_refused_below_the_lower_bound(name):
    program = PROGRAMS[name]
    needed, plan = smallest_budget(program)
    assert replay(schedule(plan, list(range(len(program))))) <= needed
    assert best(program, needed).projected_peak_bytes <= needed
    below = program.lower_bound_bytes() - 1
    with pytest.raises(MemoryBudgetError) as refused:
        best(program, below)
    assert refused.value.needed_bytes == needed
    assert str(needed) in str(refused.value) and str(below) in str(refused.value)


def test_a_chain_of_tanh_layers_peaks_where_one_counts_by_hand():
    # Six values of 100 bytes: three forward, kept; the reverse sweep adds one at a time and frees as many.
    plan = PLANNERS["keep_all"](chain(3), math.inf)
    assert plan.projected_peak_bytes == 400
    assert plan.extra_work == 0


def test_uniform_needs_about_the_square_root_of_a_chain():
    program = chain(400)
    plan = PLANNERS["uniform"](program, 60 * 100)
    assert plan is not None
    assert plan.projected_peak_bytes <= 6000
    assert plan.extra_work <= 0.51  # one more forward sweep is half of the work


@pytest.mark.parametrize("make", [chain, two_state_recurrence], ids=["chain", "two states"])
def test_revolve_runs_a_loop_in_a_few_states_a_doubling_of_its_length(make):
    state = 100 if make is chain else 200
    for doublings in (6, 7, 8):
        program = make(2**doublings)
        budget = (doublings + 5) * state + program.held_bytes
        plan = PLANNERS["revolve"](program, budget)
        assert plan is not None
        assert replay(schedule(plan, list(range(len(program))))) <= budget
        assert plan.extra_work <= doublings / 2  # half of the forward sweep a level, and that is half of the work


@pytest.mark.parametrize("make", [chain, two_state_recurrence], ids=["chain", "two states"])
def test_revolve_takes_still_less_memory_for_more_work(make):
    program = make(256)
    least = least_plan(program)
    assert least is not None
    held = PLANNERS["revolve"](program, 2 * least.projected_peak_bytes)
    again = PLANNERS["revolve"](program, least.projected_peak_bytes)
    assert held is not None and again is not None
    assert replay(schedule(again, list(range(len(program))))) <= least.projected_peak_bytes
    assert held.work_seconds < again.work_seconds <= least.work_seconds


def exact_cost(program: Program, budget: int) -> float:
    """Return the least total cost of any order of computing and dropping: Dijkstra over sets of values in memory."""
    n = len(program)
    goal = sum(1 << v for v in program.outputs)
    frontier = [(0.0, 0)]
    seen: dict[int, float] = {0: 0.0}
    while frontier:
        cost, state = heapq.heappop(frontier)
        if state & goal == goal:
            return cost
        if cost > seen[state]:
            continue
        live = sum(program.sizes[v] for v in range(n) if state >> v & 1)
        for v in range(n):
            bit = 1 << v
            if state & bit:
                step = (cost, state & ~bit)
            elif all(state >> u & 1 for u in program.inputs[v]) and live + program.sizes[v] <= budget:
                step = (cost + program.costs[v], state | bit)
            else:
                continue
            if step[0] < seen.get(step[1], math.inf):
                seen[step[1]] = step[0]
                heapq.heappush(frontier, step)
    return math.inf


@pytest.mark.parametrize("seed", range(6))
def test_small_graphs_come_near_the_exact_optimum_and_never_below_it(seed):
    program = random_graph(7, seed) if seed else chain(7)
    whole = PLANNERS["keep_all"](program, math.inf).projected_peak_bytes
    for share in (0.9, 0.75, 0.6):
        budget = int(whole * share)
        optimum = exact_cost(program, budget)
        try:
            plan = best(program, budget)
        except MemoryBudgetError:
            continue
        assert optimum <= plan.work_seconds + 1e-9
        assert plan.work_seconds <= 1.5 * optimum


def test_cuts_are_placed_where_little_is_live():
    sizes = [100, 100, 1, 100, 100, 1, 100, 100]
    program = joint([(size, (v - 1,) if v else ()) for v, size in enumerate(sizes)])
    crossing = program.crossing_bytes()
    assert [crossing[place] for place in program.cuts(2)] == [1, 1]


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([Run(0, 0), Run(1, 1), Free(0), Free(0)], "freed, but is not in memory"),
        ([Run(0, 0), Free(0), Run(1, 1)], "reads v0, which is not in memory"),
        ([Run(0, 0), Rerun(0, 0)], "in memory already"),
        ([Run(1, 1)], "reads v0"),
        ([Rerun(0, 0)], "first, or again"),
        ([Run(0, 0)], "output v1 is not in memory"),
        ([Run(0, 0), Run(1, 1), Free(1)], "output v1 is not in memory"),
    ],
)
def test_replay_refuses_a_wrong_schedule(actions, message):
    program = Program(outputs=(1,), forward=1)
    program.add(10)
    program.add(10, (0,))
    with pytest.raises(AssertionError, match=message):
        replay(Schedule(Plan(program, (), "by hand"), tuple(actions)))


def test_replay_refuses_a_schedule_over_its_budget():
    program = Program(outputs=(1,), forward=1)
    program.add(10)
    program.add(10, (0,), workspace=5)
    plan = Plan(program, (Compute(0), Compute(1)), "by hand", budget_bytes=24)
    assert plan.projected_peak_bytes == 25
    with pytest.raises(AssertionError, match="over the budget"):
        replay(schedule(plan, [0, 1]))


def test_a_schedule_reads_as_sentences():
    program = Program(outputs=(1,), forward=1)
    program.add(1024, label="tanh", line="model.py:3")
    program.add(1024, (0,), label="multiply", overwrites=0)
    made = schedule(Plan(program, (Compute(0), Drop(0), Compute(0), Compute(1, 0)), "by hand"), [0, 1])
    assert str(made).splitlines() == [
        "run tanh to make v0 (1.0 KiB), model.py:3",
        "free v0 (1.0 KiB)",
        "run again tanh to make v0 (1.0 KiB), model.py:3",
        "run multiply to make v1 (1.0 KiB) into the buffer of v0",
    ]


def test_an_unknown_planner_lists_the_known_ones():
    with pytest.raises(
        ValueError,
        match="keep_all, binomial, exact, chain, uniform, revolve, boundaries, next_use, ancestors, staleness, search",
    ):
        best(chain(3), 10_000, "magic")


def test_planning_a_thousand_values_is_done_within_one_process_and_prints():
    plan = best(chain(100), 2500)
    text = str(plan)
    for word in ("budget", "projected", "extra work", "segment", "largest holders"):
        assert word in text
