"""Gradients in memory of the caller's: the bits of those that a call returns, each told of once, as soon as it is there."""

import numpy as np
import pytest

import retape as rt
from retape.runtime import landing, trees
from retape.runtime.errors import DisconnectedError, InputError
from retape.runtime.landing import Landing

WIDE = 128  # a matrix of it takes 64 KiB in float32
draw = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def matrices_are_large(monkeypatch):
    """Lets small programs take the road of gradients that are too large to be copied."""
    monkeypatch.setattr(landing, "LEAST_BYTES", 32 * 1024)


def matrix(*shape, dtype: type = np.float32):
    return np.asarray(draw.standard_normal(shape) / np.sqrt(WIDE), dtype)


X = matrix(16, WIDE)


def mlp(params, x):
    for layer in params["layers"]:
        x = np.tanh(x @ layer["w"] + layer["b"])
    return np.mean(x**2)


def recurrent(params, x):
    h = np.zeros_like(x)
    for _ in range(5):
        h = np.tanh(h @ params["w"] + x @ params["u"] + params["b"])
    return np.sum(h * params["gain"])


def embedded(params, x):
    rows = params["table"][np.arange(64) % 40]
    return np.sum(np.tanh(rows @ params["w"]) ** 2) + np.sum(params["table"][:3] ** 3)


def tied(params, x):
    first = x @ params["w"]
    return (
        np.mean((first + params["same"]) ** 2)
        + np.sum(params["w"] * params["w"].T)
        + np.mean(params["other"] + params["same"])
    )


def looped(params, x):
    h, _ = rt.scan(lambda h, _: (np.tanh(h @ params["w"] + params["b"]), None), x, np.arange(4))
    return np.mean(rt.checkpoint(lambda h: np.tanh(h @ params["v"]))(h) ** 2)


def untouched(params, x):
    return np.sum((x @ params["w"]) ** 2)


PROGRAMS = {
    "layers": (mlp, {"layers": [{"w": matrix(WIDE, WIDE), "b": matrix(WIDE)} for _ in range(4)]}),
    "one matrix used five times": (
        recurrent,
        {"w": matrix(WIDE, WIDE), "u": matrix(WIDE, WIDE), "b": matrix(WIDE), "gain": matrix(16, WIDE)},
    ),
    "rows of a table": (embedded, {"table": matrix(200, WIDE), "w": matrix(WIDE, WIDE)}),
    "one cotangent for two": (tied, {"w": matrix(WIDE, WIDE), "same": matrix(16, WIDE), "other": matrix(16, WIDE)}),
    "a loop and a checkpoint": (looped, {"w": matrix(WIDE, WIDE), "b": matrix(WIDE), "v": matrix(WIDE, WIDE)}),
    "a leaf that is not used": (untouched, {"w": matrix(WIDE, WIDE), "unused": matrix(WIDE, WIDE), "scale": matrix()}),
    "in float64": (mlp, {"layers": [{"w": matrix(WIDE, WIDE, dtype=np.float64), "b": matrix(WIDE)} for _ in range(2)]}),
}


def landed(step, params, x, **settings):
    """The value, the gradients that a step lands, and the order in which it tells of them."""
    leaves, treedef = trees.flatten(params)
    order, copies = [], {}

    def take(number, gradient):
        assert gradient is places[number]
        order.append(number)
        copies[number] = gradient.copy()
        gradient[...] = np.nan  # it is the receiver's: nothing may read it any more

    places = [np.full_like(leaf, 7) for leaf in leaves]
    value = step.into(Landing(places, take), params, x)
    assert sorted(order) == list(range(len(leaves)))
    return value, trees.unflatten(treedef, [copies[number] for number in range(len(leaves))]), order


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in trees.flatten(tree)[0]]


@pytest.mark.parametrize("calls", [1, 3], ids=["first sight", "seen before"])
@pytest.mark.parametrize("budget", [None, "8MiB", "1.5MiB"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_landed_gradients_have_the_bits_of_returned_ones(name, budget, calls):
    f, params = PROGRAMS[name]
    if budget == "1.5MiB":
        budget = int(1.02 * rt.plan(f, params, X, memory_budget=None).unbudgeted_peak_bytes)
    value, gradient = rt.value_and_grad(f)(params, X)
    step = rt.value_and_grad(f, memory_budget=budget)
    for _ in range(calls):
        found, grads, _ = landed(step, params, X)
        assert bits(found) == bits(value) and bits(grads) == bits(gradient)


def test_gradients_come_in_the_order_of_the_reverse_sweep_while_it_goes_on():
    f, params = PROGRAMS["layers"]
    for budget in (None, "8MiB"):
        step = rt.value_and_grad(f, memory_budget=budget)
        for _ in range(2):
            order = landed(step, params, X)[2]
            layers = [number // 2 for number in order]  # each layer's b and w are told of together
            assert layers == sorted(layers, reverse=True)


@pytest.mark.parametrize("name", ["layers", "one matrix used five times", "rows of a table"])
def test_large_gradients_are_written_into_their_places_and_not_copied(name, monkeypatch):
    f, params = PROGRAMS[name]
    copied = []
    copyto = np.copyto
    monkeypatch.setattr(np, "copyto", lambda to, what, **more: (copied.append(np.size(what)), copyto(to, what, **more)))
    for budget in (None, "64MiB"):
        step = rt.value_and_grad(f, memory_budget=budget)
        for _ in range(2):
            landed(step, params, X)
    table = params.get("table", np.empty(0)).size  # two uses, the second one a slice: added up first, then copied
    assert max(copied, default=0) <= max(8192 - 1, table)


@pytest.mark.parametrize("size", [1, 3, 5, 16])
@pytest.mark.parametrize("budget", [None, "2MiB"])
def test_microbatches_land_with_the_same_bits(size, budget):
    f, params = PROGRAMS["one matrix used five times"]
    params = params | {"gain": matrix(WIDE)}
    settings = {"microbatch": size, "memory_budget": budget}
    value, gradient = rt.accumulate(f, **settings)(params, X)
    found, grads, _ = landed(rt.accumulate(f, **settings), params, X)
    assert bits(found) == bits(value) and bits(grads) == bits(gradient)


def test_an_automatic_microbatch_lands_with_the_same_bits_and_tells_of_each_gradient_once():
    f, params = PROGRAMS["layers"]
    x = matrix(256, WIDE)
    budget = rt.plan(f, params, x[:32]).unbudgeted_peak_bytes + sum(map(len, bits(params)))
    value, gradient = rt.accumulate(f, memory_budget=budget, planner="uniform")(params, x)
    step = rt.accumulate(f, memory_budget=budget, planner="uniform")
    found, grads, _ = landed(step, params, x)
    assert step.report is not None and step.report.microbatch is not None and step.report.microbatch < 256
    assert bits(found) == bits(value) and bits(grads) == bits(gradient)


def test_places_that_do_not_fit_are_refused_before_anything_runs():
    f, params = PROGRAMS["layers"]
    ran = []

    def watched(params, x):
        ran.append(1)
        return f(params, x)

    leaves = trees.flatten(params)[0]
    good = [np.empty_like(leaf) for leaf in leaves]
    for budget in (None, "8MiB"):
        step = rt.value_and_grad(watched, memory_budget=budget)
        for bad in (good[:-1], [*good[:-1], good[-1].T[:3]], [*good[:-1], good[-1].astype(np.float64)]):
            with pytest.raises(InputError, match="place"):
                step.into(Landing(bad, lambda *_: None), params, X)
    assert not ran


def test_a_leaf_that_is_not_reached_is_zeros_or_an_error_as_asked():
    f, params = PROGRAMS["a leaf that is not used"]
    for budget in (None, "8MiB"):
        _, grads, _ = landed(rt.value_and_grad(f, memory_budget=budget), params, X)
        assert not grads["unused"].any() and grads["scale"] == 0
        with pytest.raises(DisconnectedError):
            landed(rt.value_and_grad(f, memory_budget=budget, disconnected="error"), params, X)


def test_what_a_receiver_raises_ends_the_call_and_leaves_nothing_behind():
    f, params = PROGRAMS["layers"]
    places = [np.empty_like(leaf) for leaf in trees.flatten(params)[0]]

    def refuse(number, gradient):
        raise KeyError("enough")

    for budget in (None, "8MiB"):
        step = rt.value_and_grad(f, memory_budget=budget)
        for _ in range(3):
            with pytest.raises(KeyError, match="enough"):
                step.into(Landing(places, refuse), params, X)
        assert bits(step(params, X)) == bits(rt.value_and_grad(f)(params, X))
