"""Convolution, interpolation, unwrapping: kinks, dtypes, and what is refused."""

import numpy as np
import pytest

import retape as rt


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.float64])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolution_has_the_bits_of_numpy(mode, dtype):
    a, v = np.random.default_rng(0).standard_normal((2, 9)).astype(dtype)
    for f in (np.convolve, np.correlate):
        for n, m in ((9, 4), (4, 9)):
            y, pullback = rt.vjp(lambda a, v, f=f: f(a, v, mode), a[:n], v[:m])
            np.testing.assert_array_equal(y, f(a[:n], v[:m], mode))
            assert [g.dtype for g in pullback(y)] == [dtype, dtype]


def test_the_slope_of_interp_at_a_sample_is_that_of_its_right_side_and_of_the_last_one_that_of_its_left():
    slope = rt.grad(lambda x: np.sum(np.interp(x, [0.0, 1.0, 3.0], [0.0, 2.0, 1.0])))(np.array([-1.0, 0.0, 1.0, 3.0, 4.0]))
    np.testing.assert_array_equal(slope, [0, 2, -0.5, -0.5, 0])


def test_a_jump_of_interp_has_no_gradient_at_the_jump():
    def f(x, xp, fp):
        return np.sum(np.interp(x, xp, fp))

    gradients = rt.grad(f, (0, 1, 2))(np.array([0.5, 1.0]), np.array([0.0, 1.0, 1.0]), np.array([0.0, 1.0, 5.0]))
    np.testing.assert_array_equal(gradients[0], [1, 0])
    np.testing.assert_array_equal(gradients[2], [0.5, 0.5, 1])


def test_outside_of_the_samples_interp_gives_its_gradient_to_the_nearest():
    gradient = rt.grad(lambda fp: np.sum(np.interp([-5.0, 9.0, 9.0], [0.0, 1.0], fp)))(np.zeros(2))
    np.testing.assert_array_equal(gradient, [1, 2])


def test_a_plan_of_interp_and_unwrap_needs_no_numbers():
    def f(x):
        return np.sum(np.interp(x, np.arange(3.0), x[:3]) * np.unwrap(x))

    plan = rt.plan(f, np.arange(8.0), memory_budget="1MiB")
    assert plan.projected_peak_bytes <= plan.budget_bytes


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.convolve(x, []),
        lambda x: np.convolve(x, np.ones((2, 2))),
        lambda x: np.convolve(x, x, "no such mode"),
        lambda x: np.interp(x, [0.0, 1.0], [1.0]),
        lambda x: np.interp(x, [], []),
        lambda x: np.interp(x, np.ones((2, 2)), np.ones((2, 2))),
        lambda x: np.interp(x, [0.0, 1.0], [1.0, 2.0], period=0),
        lambda x: np.interp(x * 1j, [0.0, 1.0], [1.0, 2.0]),
        lambda x: np.interp(x, [0.0, 1.0], [1.0, 2.0], left=1j),
        lambda x: np.unwrap(x * 1j),
        lambda x: np.unwrap(x, axis=1),
        lambda x: np.unwrap(x[0]),
    ],
)
def test_wrong_input_raises_what_numpy_raises(call):
    x = np.array([0.5, 1.0, 2.0])
    with pytest.raises(Exception) as expected:  # noqa: B017
        call(x)
    with pytest.raises(expected.type):
        rt.vjp(call, x)


def test_a_traced_period_of_unwrap_is_refused():
    with pytest.raises(rt.MissingRuleError, match="period"):
        rt.grad(lambda p, period: np.sum(np.unwrap(p, period=period)), (0, 1))(np.zeros(3), 2.0)
