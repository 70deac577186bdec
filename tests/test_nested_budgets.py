"""Budgets on every transform, and inside others: the same bits, the promise kept, and refusals that name the cure."""

import numpy as np
import pytest

import retape as rt
from retape.scheduler.events import Finished, Planned

GENERATOR = np.random.default_rng(3)
X = GENERATOR.standard_normal(4000)
SMALL = X[:6]
W = GENERATOR.standard_normal((8, 8)) / 3
ROWS = GENERATOR.standard_normal((64, 8))


def net(x):
    y = x
    for _ in range(4):
        y = np.tanh(y * 1.1 + 0.1 * np.sin(y))
    return np.sum(y * y)


def field(x):
    return np.sin(x) * np.cumsum(x) + x[0]


def layers(w, x):
    for _ in range(5):
        x = np.tanh(x @ w)
    return np.mean(x * x)


def pulled(x, **budget):
    y, pullback = rt.vjp(lambda a: np.tanh(np.sin(a) * a), x, **budget)
    return y, pullback(y), pullback(y)


TRANSFORMS = {
    "grad": lambda **b: rt.grad(net, **b)(X),
    "value_and_grad": lambda **b: rt.value_and_grad(net, **b)(X),
    "hvp": lambda **b: rt.hvp(net, (X,), (np.cos(X),), **b),
    "vjp": lambda **b: pulled(X, **b),
    "jacobian": lambda **b: rt.jacobian(field, **b)(SMALL),
    "jacobian by rows": lambda **b: rt.jacobian(field, mode="reverse", **b)(SMALL),
    "hessian": lambda **b: rt.hessian(net, **b)(SMALL),
    "accumulate": lambda **b: rt.accumulate(layers, microbatch=16, **b)(W, ROWS),
}

NESTED = {
    "a gradient of a gradient": lambda **b: rt.grad(lambda x: np.sum(rt.grad(net, **b)(x) ** 2))(X),
    "a third derivative": lambda **b: rt.grad(lambda x: rt.grad(lambda y: rt.grad(np.sin, **b)(y), **b)(x))(0.7),
    "forward over reverse": lambda **b: rt.jvp(rt.grad(net, **b), (X,), (np.cos(X),)),
    "a Jacobian of a gradient": lambda **b: rt.jacobian(rt.grad(net, **b))(SMALL),
    "a gradient of a Hessian-vector product": lambda **b: rt.grad(lambda x: np.sum(rt.hvp(net, (x,), (x,), **b)[0]))(X),
    "a gradient of a Jacobian": lambda **b: rt.grad(lambda x: np.sum(rt.jacobian(field, **b)(x) ** 2))(SMALL),
    "in a loop": lambda **b: rt.grad(
        lambda x: np.sum(rt.scan(lambda c, _: (c - 0.1 * rt.grad(net, **b)(c), None), x, length=3)[0])
    )(X),
    "in a checkpointed function": lambda **b: rt.grad(lambda x: np.sum(rt.checkpoint(rt.grad(net, **b))(x) ** 2))(X),
    "in a batch of examples": lambda **b: rt.vmap(rt.grad(lambda row: np.sum(np.tanh(W[0] * np.sin(row))), **b))(ROWS[:5]),
    "a gradient of a batch of gradients": lambda **b: rt.grad(
        lambda x: np.sum(rt.vmap(rt.grad(lambda row: np.sum(np.sin(row) ** 3), **b))(x) ** 2)
    )(ROWS[:5]),
    "with a value and auxiliary output": lambda **b: rt.grad(
        lambda x: rt.value_and_grad(lambda y: (net(y), {"n": 2, "y": y * 3}), has_aux=True, **b)(x)[0][1]["y"].sum()
    )(X),
}


def leaves(tree):
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, (tuple, list)) else [np.asarray(tree)]


def same(a, b):
    found, expected = leaves(a), leaves(b)
    return len(found) == len(expected) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes() for x, y in zip(found, expected, strict=True)
    )


def reports(call, budget):
    """Return a call's result and the reports of all that ran under a budget in it."""
    told = []
    result = call(memory_budget=budget, subscriber=told.append)
    return result, [event.report for event in told if isinstance(event, Finished)]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_every_transform_keeps_the_promise_and_the_bits(name):
    call = TRANSFORMS[name]
    expected = call()
    result, loose = reports(call, "1GiB")
    assert same(result, expected) and loose
    budget = int(0.6 * max(report.projected_bytes for report in loose))
    try:
        result, tight = reports(call, budget)
    except rt.MemoryBudgetError as refused:
        assert refused.needed_bytes > budget
        result, tight = reports(call, refused.needed_bytes)
        budget = refused.needed_bytes
    assert same(result, expected)
    assert all(report.peak_bytes <= report.projected_bytes <= budget for report in tight)


@pytest.mark.parametrize("name", NESTED)
def test_a_budget_inside_other_transforms_keeps_the_promise_and_the_bits(name):
    call = NESTED[name]
    expected = call()
    result, loose = reports(call, "1GiB")
    assert same(result, expected) and loose
    budget = int(0.8 * max(report.projected_bytes for report in loose))
    try:
        result, tight = reports(call, budget)
    except rt.MemoryBudgetError as refused:
        assert refused.needed_bytes > budget
        return
    assert same(result, expected)
    assert all(report.peak_bytes <= report.projected_bytes <= budget for report in tight)


def test_a_gradient_of_a_pullback_within_a_budget_is_right():
    expected = rt.grad(lambda x: np.sum(pulled(x)[1][0] ** 2))(X)
    found = rt.grad(lambda x: np.sum(pulled(x, memory_budget="1MiB")[1][0] ** 2))(X)
    np.testing.assert_allclose(found, expected, rtol=1e-12)  # the forward sweep is another one: shares add up otherwise


def test_an_argument_given_twice_gets_one_cotangent():
    found, expected = (
        rt.grad(lambda x, b=b: np.sum(rt.hvp(net, (x,), (x,), **b)[0]))(X) for b in ({"memory_budget": "1MiB"}, {})
    )
    assert same(found, expected)


def test_inside_a_budget_the_outer_one_bounds_everything():
    told = []

    def loss(x):
        return np.sum(rt.grad(net, memory_budget=1)(x) ** 2)

    step = rt.grad(loss, memory_budget="1MiB", subscriber=told.append)
    assert same(step(X), rt.grad(lambda x: np.sum(rt.grad(net)(x) ** 2))(X))
    assert step.report is not None and step.report.peak_bytes <= 2**20
    assert len([event for event in told if isinstance(event, Finished)]) == 1


@pytest.mark.parametrize("name", ["hvp", "vjp"])
def test_a_transform_called_at_once_is_planned_when_its_function_comes_again(name):
    told = []
    for _ in range(2):
        rt.hvp(net, (X,), (X,), memory_budget="1MiB", subscriber=told.append)
    assert sum(isinstance(event, Planned) for event in told) == 1


def test_a_jacobian_and_a_hessian_tell_what_they_took():
    for made in (rt.jacobian(field, memory_budget="1MiB"), rt.hessian(net, memory_budget="1MiB")):
        for planner in ("online", "keep_all"):
            made(SMALL)
            assert made.report.planner == planner and made.report.peak_bytes <= made.report.projected_bytes <= 2**20


def test_results_are_arrays_of_their_own():
    x = X.copy()
    _, pullback = rt.vjp(lambda a, b: (a, b * 2.0), x, x, memory_budget="1MiB")
    first, second = pullback((x, x))
    assert not np.shares_memory(first, x) and not np.shares_memory(first, second)
    assert same(first, x) and same(second, 2 * x)


def test_a_pullback_whose_function_is_not_repeatable_is_refused():
    generator = np.random.default_rng(0)
    _, pullback = rt.vjp(lambda a: np.sin(a) * generator.standard_normal(), X, memory_budget="1MiB")
    with pytest.raises(rt.ChangedError, match="something else.*global random generator"):
        pullback(X)


def test_a_pullback_draws_the_same_random_numbers_again():
    _, pullback = rt.vjp(lambda a: np.sin(a) * rt.random.normal(size=a.shape), X, memory_budget="1MiB")
    once = pullback(X)
    rt.random.normal()
    assert same(pullback(X), once)


def test_a_pullback_of_arguments_written_to_since_is_refused():
    x = X.copy()
    _, pullback = rt.vjp(lambda a: np.sin(a) * a, x, memory_budget="1MiB")
    x[0] += 1.0
    with pytest.raises(rt.ChangedError, match="was written to"):
        pullback(X)


BAD = [
    ({"memory_budgt": "1MiB"}, TypeError, "memory_budgt.*those of a memory budget are: memory_budget, planner"),
    ({"memory_budget": "lots"}, ValueError, "memory_budget='lots'"),
    ({"memory_budget": "1MiB", "planner": "worst"}, ValueError, "unknown planner 'worst'; known are best"),
    ({"memory_budget": "1MiB", "planning_effort": -1}, ValueError, "planning_effort=-1"),
    ({"memory_budget": "1MiB", "subscriber": 3}, rt.InputError, "subscriber="),
    ({"spill": "."}, ValueError, "give a memory_budget too"),
    ({"memory_budget": "1MiB", "spill_budget": "1GiB"}, ValueError, "name a folder"),
    ({"memory_budget": "1MiB", "spill": "/nowhere/at/all"}, rt.SpillError, "/nowhere/at/all"),
]
MAKERS = {
    "grad": lambda **b: rt.grad(net, **b),
    "value_and_grad": lambda **b: rt.value_and_grad(net, **b),
    "accumulate": lambda **b: rt.accumulate(layers, **b),
    "plan": lambda **b: rt.plan(net, X, **b),
    "vjp": lambda **b: rt.vjp(net, X, **b),
    "hvp": lambda **b: rt.hvp(net, (X,), (X,), **b),
    "jacobian": lambda **b: rt.jacobian(field, **b),
    "hessian": lambda **b: rt.hessian(net, **b),
}


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("options", "error", "text"), BAD)
def test_every_transform_refuses_bad_options_at_once(name, options, error, text):
    with pytest.raises(error, match=text):
        MAKERS[name](**options)
