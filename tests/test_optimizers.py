import math
import pickle

import numpy as np
import pytest

from retape.cluster.optimizers import (
    OPTIMIZERS,
    adamw,
    clip_by_global_norm,
    constant,
    cosine,
    global_norm,
    lamb,
    lars,
    linear_scaling,
    momentum,
    sgd,
    square_root_scaling,
    staircase,
    warmup,
    warmup_cosine,
)


def run(optimizer, gradients, start, rate):
    params = {"w": np.array(start, np.float64)}
    state = optimizer.init(params)
    for gradient in gradients:
        params, state = optimizer.update(params, {"w": np.array(gradient, np.float64)}, state, rate)
    return params["w"], state


def test_sgd_is_a_straight_step_without_a_state():
    w, state = run(sgd(), [[1.0, -2.0]], [3.0, 3.0], 0.5)
    np.testing.assert_array_equal(w, [2.5, 4.0])
    assert state == {}


def test_momentum_on_a_constant_gradient_follows_the_closed_form():
    steps, beta, rate = 7, 0.9, 0.1
    w, _ = run(momentum(beta=beta), [[1.0]] * steps, [0.0], rate)
    closed = -rate * sum((1 - beta**k) / (1 - beta) for k in range(1, steps + 1))
    np.testing.assert_allclose(w, [closed], rtol=1e-12)


def test_nesterov_looks_one_step_ahead():
    w, _ = run(momentum(beta=0.5, nesterov=True), [[1.0], [1.0]], [0.0], 1.0)
    np.testing.assert_allclose(w, [-(1 + 0.5) - (1 + 0.5 * 1.5)])


@pytest.mark.parametrize("optimizer", [sgd(weight_decay=0.1), momentum(weight_decay=0.1)])
def test_decoupled_weight_decay_shrinks_by_rate_times_decay(optimizer):
    w, _ = run(optimizer, [[0.0]], [2.0], 0.5)
    np.testing.assert_allclose(w, [2.0 * (1 - 0.05)])


def test_adamw_equals_the_formula_of_the_paper():
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((9, 4, 3))
    beta1, beta2, epsilon, decay, rate = 0.9, 0.99, 1e-6, 0.1, 0.02
    optimizer = adamw(beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=decay)
    start = rng.standard_normal((4, 3))
    w, state = run(optimizer, gradients, start, rate)
    expected, m, v = start.copy(), np.zeros((4, 3)), np.zeros((4, 3))
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        direction = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon)
        expected = expected - rate * (direction + decay * expected)
    np.testing.assert_allclose(w, expected, rtol=1e-10)
    assert int(state["count"]) == 9


def test_lamb_equals_algorithm_2_of_the_paper():
    rng = np.random.default_rng(1)
    gradients, start = rng.standard_normal((6, 4, 3)), rng.standard_normal((4, 3))
    beta1, beta2, epsilon, decay, rate = 0.9, 0.99, 1e-6, 0.1, 0.02
    w, _ = run(lamb(beta1=beta1, beta2=beta2, epsilon=epsilon, weight_decay=decay), gradients, start, rate)
    expected, m, v = start.copy(), np.zeros((4, 3)), np.zeros((4, 3))
    for t, g in enumerate(gradients, 1):
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        u = (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + epsilon) + decay * expected
        expected = expected - rate * np.linalg.norm(expected) / np.linalg.norm(u) * u
    np.testing.assert_allclose(w, expected, rtol=1e-10)


def test_lars_equals_algorithm_1_of_the_paper():
    rng = np.random.default_rng(2)
    gradients, start = rng.standard_normal((6, 4, 3)), rng.standard_normal((4, 3))
    beta, trust, decay, rate = 0.8, 0.02, 0.1, 0.5
    w, _ = run(lars(momentum=beta, trust=trust, weight_decay=decay), gradients, start, rate)
    expected, v = start.copy(), np.zeros((4, 3))
    for g in gradients:
        weight, gradient = np.linalg.norm(expected), np.linalg.norm(g)
        local = trust * weight / (gradient + decay * weight)
        v = beta * v + rate * local * (g + decay * expected)
        expected = expected - v
    np.testing.assert_allclose(w, expected, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("optimizer", [lars(trust=1.0, weight_decay=0.0), lamb(epsilon=1e-30, weight_decay=0.0)])
def test_a_layers_first_step_is_the_rate_times_its_norm_whatever_the_gradients_size(optimizer, scale):
    start = np.array([[3.0, 4.0]])
    w, _ = run(optimizer, [np.array([[1.0, -2.0]]) * scale], start, 0.1)
    assert np.linalg.norm(w - start) == pytest.approx(0.1 * 5.0, rel=1e-9)


@pytest.mark.parametrize("make", [lars, lamb])
def test_a_layer_of_zeros_moves_and_a_zero_gradient_moves_nothing(make):
    w, _ = run(make(weight_decay=0.0), [[[1.0, -1.0]]], [[0.0, 0.0]], 0.1)
    np.testing.assert_allclose(w, [[-0.1, 0.1]], rtol=1e-5)
    w, _ = run(make(weight_decay=0.0), [[[0.0, 0.0]]], [[1.0, 2.0]], 0.1)
    np.testing.assert_array_equal(w, [[1.0, 2.0]])


def test_vectors_follow_momentum_under_lars_and_adam_under_lamb():
    gradients = [[1.0, -2.0], [0.5, 1.0]]
    ours, _ = run(lars(momentum=0.9, weight_decay=0.5), gradients, [2.0, 1.0], 0.1)
    np.testing.assert_allclose(ours, run(momentum(beta=0.9), gradients, [2.0, 1.0], 0.1)[0], rtol=1e-12)
    ours, _ = run(lamb(beta2=0.9, weight_decay=0.5), gradients, [2.0, 1.0], 0.1)
    adam = adamw(beta2=0.9, epsilon=1e-6, weight_decay=0.0)
    np.testing.assert_allclose(ours, run(adam, gradients, [2.0, 1.0], 0.1)[0], rtol=1e-12)


def test_adamw_leaves_vectors_out_of_weight_decay():
    w, _ = run(adamw(weight_decay=0.5), [[0.0]], [2.0], 0.1)
    np.testing.assert_array_equal(w, [2.0])


@pytest.mark.parametrize("optimizer", [*(make() for make in OPTIMIZERS.values()), momentum(nesterov=True, weight_decay=0.1)])
def test_an_update_writes_in_place_keeps_dtypes_and_leaves_gradients_alone(optimizer):
    params = {"a": np.ones((2, 3), np.float32), "b": np.array(1.0, np.float32)}
    grads = {"a": np.full((2, 3), 0.5, np.float32), "b": np.array(0.5, np.float32)}
    state = optimizer.init(params)
    updated, _ = optimizer.update(params, grads, state, 0.1)
    assert updated["a"] is params["a"]
    assert {leaf.dtype for leaf in updated.values()} == {np.dtype(np.float32)}
    assert (updated["a"] < 1).all() and updated["b"] < 1
    assert (grads["a"] == 0.5).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: momentum(beta=1.0), "beta"),
        (lambda: lars(momentum=-0.1), "momentum"),
        (lambda: lars(trust=0.0), "trust"),
        (lambda: lamb(beta2=1.0), "beta2"),
        (lambda: lamb(weight_decay=-1.0), "weight_decay"),
        (lambda: sgd(weight_decay=-1.0), "weight_decay"),
        (lambda: adamw(beta1=1.0), "beta1"),
        (lambda: adamw(epsilon=0.0), "epsilon"),
        (lambda: adamw(weight_decay=math.nan), "weight_decay"),
        (lambda: constant(0.0), "rate"),
        (lambda: warmup_cosine(math.nan, steps=3), "rate"),
        (lambda: warmup_cosine(0.1, steps=3, warmup=4), "warm-up"),
        (lambda: cosine(0.1, steps=-1), "steps"),
        (lambda: cosine(0.1, steps=1, floor=2.0), "floor"),
        (lambda: staircase(0.1, at=(3, 2)), "rise"),
        (lambda: staircase(0.1, at=(2,), factor=1.5), "factor"),
        (lambda: warmup(constant(0.1), steps=-1), "warm-up"),
        (lambda: linear_scaling(0.1, batch=0, global_batch=8), "batch"),
        (lambda: square_root_scaling(-0.1, batch=8, global_batch=8), "rate"),
        (lambda: clip_by_global_norm({}, 0.0), "limit"),
    ],
)
def test_bad_settings_are_refused_by_name(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_the_global_norm_is_over_all_leaves_and_does_not_overflow():
    assert global_norm({"a": np.array([3.0]), "b": np.array([[4.0]])}) == 5.0
    for size in (1e30, 1e10, 1.0, 1e-15, 1e-30):  # squares that float32 does not hold, or hardly
        gradient = np.full(4096, size, np.float32)
        assert global_norm([gradient]) == pytest.approx(64.0 * float(gradient[0]), rel=1e-7)


def test_clipping_scales_above_the_limit_and_returns_the_same_arrays_below_it():
    grads = {"a": np.array([3.0, 4.0], np.float32)}
    same, norm = clip_by_global_norm(grads, 5.0)
    assert same is grads and norm == 5.0
    clipped, norm = clip_by_global_norm(grads, 1.0)
    assert norm == 5.0 and clipped["a"].dtype == np.float32
    np.testing.assert_allclose(clipped["a"], [0.6, 0.8], rtol=1e-6)
    assert grads["a"][0] == 3.0


def test_clipping_hands_a_nan_norm_back_and_scales_nothing():
    grads = {"a": np.array([np.nan, 100.0])}
    same, norm = clip_by_global_norm(grads, 1.0)
    assert same is grads and math.isnan(norm)


def test_the_rate_climbs_to_its_peak_then_falls_to_its_floor():
    rate = warmup_cosine(1.0, steps=110, warmup=10, floor=0.1)
    assert [rate(s) for s in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]
    assert rate(60) == pytest.approx(0.55)
    assert rate(110) == rate(1000) == pytest.approx(0.1)


def test_a_warm_up_climbs_to_the_first_value_of_the_rate_that_follows_it():
    rate = warmup(cosine(2.0, steps=10, floor=0.5), steps=4)
    assert [rate(s) for s in (0, 1, 3, 4)] == [0.5, 1.0, 2.0, 2.0]
    assert rate(9) == pytest.approx(1.5) and rate(14) == rate(99) == pytest.approx(1.0)
    assert warmup(constant(0.1), steps=0)(0) == 0.1


def test_a_staircase_falls_at_its_steps_and_not_before():
    rate = staircase(1.0, at=(3, 5), factor=0.1)
    np.testing.assert_allclose([rate(s) for s in range(7)], [1, 1, 1, 0.1, 0.1, 0.01, 0.01])


def test_rates_scale_with_the_batch_or_with_its_root():
    assert linear_scaling(0.1, batch=32, global_batch=128) == pytest.approx(0.4)
    assert square_root_scaling(0.1, batch=32, global_batch=128) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "rate", [warmup(staircase(1.0, at=(2,)), steps=2), cosine(0.1, steps=4), warmup_cosine(0.1, steps=4)]
)
def test_a_rate_travels_to_workers(rate):
    copy = pickle.loads(pickle.dumps(rate))
    assert [copy(s) for s in range(6)] == [rate(s) for s in range(6)]
