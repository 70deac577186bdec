import math

import numpy as np
import pytest

from retape.cluster.optimizers import adamw, clip_by_global_norm, constant, global_norm, sgd, warmup_cosine


def run(optimizer, gradients, start, rate):
    params = {"w": np.array(start, np.float64)}
    state = optimizer.init(params)
    for gradient in gradients:
        params, state = optimizer.update(params, {"w": np.array(gradient, np.float64)}, state, rate)
    return params["w"], state


def test_sgd_without_momentum_is_a_straight_step():
    w, _ = run(sgd(momentum=0.0), [[1.0, -2.0]], [3.0, 3.0], 0.5)
    np.testing.assert_array_equal(w, [2.5, 4.0])


def test_sgd_with_momentum_on_a_constant_gradient_follows_the_closed_form():
    steps, beta, rate = 7, 0.9, 0.1
    w, _ = run(sgd(momentum=beta), [[1.0]] * steps, [0.0], rate)
    closed = -rate * sum((1 - beta**k) / (1 - beta) for k in range(1, steps + 1))
    np.testing.assert_allclose(w, [closed], rtol=1e-12)


def test_nesterov_looks_one_step_ahead():
    w, _ = run(sgd(momentum=0.5, nesterov=True), [[1.0], [1.0]], [0.0], 1.0)
    np.testing.assert_allclose(w, [-(1 + 0.5) - (1 + 0.5 * 1.5)])


def test_sgd_weight_decay_shrinks_by_rate_times_decay():
    w, _ = run(sgd(momentum=0.0, weight_decay=0.1), [[0.0]], [2.0], 0.5)
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


def test_adamw_leaves_vectors_out_of_weight_decay():
    w, _ = run(adamw(weight_decay=0.5), [[0.0]], [2.0], 0.1)
    np.testing.assert_array_equal(w, [2.0])


@pytest.mark.parametrize("optimizer", [sgd(), sgd(nesterov=True, weight_decay=0.1), adamw()])
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
        (lambda: sgd(momentum=1.0), "momentum"),
        (lambda: sgd(weight_decay=-1.0), "weight_decay"),
        (lambda: adamw(beta1=1.0), "beta1"),
        (lambda: adamw(epsilon=0.0), "epsilon"),
        (lambda: adamw(weight_decay=math.nan), "weight_decay"),
        (lambda: constant(0.0), "rate"),
        (lambda: warmup_cosine(math.nan, steps=3), "rate"),
        (lambda: warmup_cosine(0.1, steps=3, warmup=4), "warm-up"),
        (lambda: clip_by_global_norm({}, 0.0), "limit"),
    ],
)
def test_bad_settings_are_refused_by_name(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_the_global_norm_is_over_all_leaves_and_does_not_overflow():
    assert global_norm({"a": np.array([3.0]), "b": np.array([[4.0]])}) == 5.0
    assert global_norm([np.full(4, 1e30, np.float32)]) == pytest.approx(2e30)


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
