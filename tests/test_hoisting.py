"""What is kept instead of activations: masks, made early so that the large values they read can go; inputs, or outputs."""

import math

import numpy as np
import pytest

import retape as rt
from retape.checkpoint.hoisting import hoisted_values, hoisting
from retape.checkpoint.planners import PLANNERS, best
from retape.checkpoint.program import Program
from retape.checkpoint.steps import Compute, Drop
from retape.runtime import trees

GENERATOR = np.random.default_rng(5)
WEIGHTS = [GENERATOR.standard_normal((32, 32)) / 4 for _ in range(8)]
ROWS = GENERATOR.standard_normal((512, 32))


def rectified(weights, x):
    for weight in weights:
        x = np.maximum(x @ weight, 0)
    return np.sum(x * x)


def branching(weights, x, most):
    for weight in weights:
        x = np.maximum(x @ weight, 0)
        if np.sum(x) > most:
            x = x / 2
    return np.sum(x * x)


def clipped(weights, x):
    for weight in weights:
        x = np.where((x @ weight) > 0, x @ weight, np.minimum(x, 1))
    return np.sum(x * x)


def same_bits(found, expected):
    pairs = zip(trees.flatten(found)[0], trees.flatten(expected)[0], strict=True)
    return all(a.tobytes() == b.tobytes() for a, b in pairs)


def test_masks_are_kept_instead_of_what_a_rectifier_read_and_nothing_is_computed_again():
    whole = rt.plan(rectified, WEIGHTS, ROWS)
    plan = rt.plan(rectified, WEIGHTS, ROWS, memory_budget=int(0.75 * whole.projected_peak_bytes))
    assert plan.extra_work == 0
    early = {step.value for step in plan.steps[: plan.turn] if isinstance(step, Compute)}
    masks = {v for v in early if plan.program.labels[v] in ("greater", "equal")}
    assert len(masks) == 2 * len(WEIGHTS) and min(masks) >= plan.program.forward
    without = PLANNERS["next_use"](plan.program, plan.budget_bytes or 0)
    assert without is not None and without.extra_work > 0, "in the program's own order there is no room for all"


@pytest.mark.parametrize(("f", "share"), [(rectified, 0.75), (rectified, 0.3), (clipped, 0.8)])
def test_hoisting_changes_no_bit_at_any_call(f, share):
    expected = rt.value_and_grad(f)(WEIGHTS, ROWS)
    budget = int(share * rt.plan(f, WEIGHTS, ROWS).projected_peak_bytes)
    step = rt.value_and_grad(f, memory_budget=budget)
    for _ in range(3):
        assert same_bits(step(WEIGHTS, ROWS), expected)
        assert step.report is not None and step.report.peak_bytes <= step.report.projected_bytes <= budget


def test_a_program_that_leaves_its_plan_lets_go_of_the_masks_made_early():
    step = rt.value_and_grad(
        branching, memory_budget=int(0.7 * rt.plan(branching, WEIGHTS, ROWS, math.inf).projected_peak_bytes)
    )
    for most in (math.inf, math.inf, 0.0, math.inf, 3000.0, 0.0, 0.0):
        assert same_bits(step(WEIGHTS, ROWS, most), rt.value_and_grad(branching)(WEIGHTS, ROWS, most))
        assert step.report is not None and step.report.peak_bytes <= step.report.projected_bytes


def made_of(rows, forward, outputs):
    program = Program(outputs=outputs, forward=forward)
    for size, inputs in rows:
        program.add(size, inputs)
    return program


@pytest.mark.parametrize(
    "program",
    [
        made_of([(80, ()), (80, (0,)), (80, (0,)), (80, (1, 2))], 2, (3,)),  # not smaller
        made_of([(80, ()), (80, (0,)), (8, (0,)), (80, (1, 2, 0))], 2, (3,)),  # also read otherwise
        made_of([(80, ()), (80, (0,)), (8, (0,)), (80, (1, 2))], 2, (2, 3)),  # a gradient itself
        made_of([(80, ()), (80, (0,)), (8, (1,)), (8, (0, 2)), (80, (3,))], 2, (1, 4)),  # reads the reverse sweep
    ],
)
def test_what_would_save_nothing_is_left_where_it_is(program):
    assert hoisting(program) is None


def test_a_hoisted_program_is_the_same_one_in_another_order_and_its_values_are_followed_call_by_call():
    # Two layers whose reverse reads a mask of their input, one of them made with a constant.
    rows = [(80, ()), (80, (0,)), (80, (1,)), (10, (1,)), (80, (2, 3)), (8, ()), (10, (0, 5)), (80, (4, 6))]
    program = made_of(rows, 3, (7,))
    assert hoisted_values(program) == {3: 2, 5: 1, 6: 1}
    ahead = hoisting(program)
    assert ahead is not None and ahead.order == (0, 5, 6, 1, 3, 2, 4, 7)
    for v, u in enumerate(ahead.order):
        assert (ahead.program.sizes[v], ahead.program.costs[v]) == (program.sizes[u], program.costs[u])
        assert [ahead.order[p] for p in ahead.program.inputs[v]] == list(program.inputs[u])
    plan = best(program, 180)
    made = [{step.value for step in plan.steps[:stop] if isinstance(step, Compute)} for stop in plan.stops]
    assert plan.extra_work == 0 and all(v in values for v, values in enumerate(made))


def forward_counts(plan, op):
    """Return how often each value of an op in the forward sweep is computed."""
    return [plan.computed[v] for v in range(plan.program.forward) if plan.program.labels[v] == op]


@pytest.mark.parametrize("bend", [np.tanh, np.exp], ids=lambda bend: bend.__name__)
def test_what_reads_its_output_in_reverse_is_made_again_from_its_input_where_that_is_cheaper(bend):
    def gated(weights, x):
        for weight in weights:
            h = x @ weight
            x = bend(h) * np.sin(h)  # the reverse reads bend(h), sin(h) and h: the last one gives the others
        return np.sum(x * x)

    whole = rt.plan(gated, WEIGHTS, ROWS)
    plan = rt.plan(gated, WEIGHTS, ROWS, memory_budget=int(0.5 * whole.projected_peak_bytes), planning_effort=5_000)
    products, bent = forward_counts(plan, "matmul"), forward_counts(plan, bend.__name__)
    assert sum(1 for product, output in zip(products, bent, strict=True) if output > product == 1) >= 3


def test_the_output_alone_is_kept_where_nothing_else_reads_the_input():
    def layers(weights, x):
        for weight in weights:
            x = np.tanh(x @ weight)
        return np.sum(x * x)

    plan = rt.plan(layers, WEIGHTS, ROWS)
    steps = plan.steps[: plan.turn]
    held = {step.value for step in steps if isinstance(step, Compute)} - {s.value for s in steps if isinstance(s, Drop)}
    labels = [plan.program.labels[v] for v in held if plan.program.sizes[v] == ROWS.nbytes]
    assert labels.count("tanh") == len(WEIGHTS) and "matmul" not in labels and plan.extra_work == 0
