"""Fourier transforms: dtypes, errors, and what the tables of forms cannot say."""

import numpy as np
import pytest

import retape as rt


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft"])
def test_results_have_the_dtype_and_the_bits_of_numpy(name, dtype):
    x = np.arange(1.0, 6.0).astype(dtype)
    f = getattr(np.fft, name)
    if np.iscomplexobj(x) and name in ("rfft", "ihfft"):
        with pytest.raises(TypeError):
            rt.vjp(f, x)
        with pytest.raises(TypeError):
            rt.grad(lambda x: np.sum(np.abs(f(x))), memory_budget="1MiB")(x)
        return
    y, pullback = rt.vjp(f, x)
    assert y.dtype == f(x).dtype
    np.testing.assert_array_equal(y, f(x))
    assert pullback(np.ones_like(y))[0].dtype == dtype


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.fft.fft(x, 0),
        lambda x: np.fft.fft(x, norm="no such norm"),
        lambda x: np.fft.hfft(x, norm="no such norm"),
        lambda x: np.fft.irfft(x[:1]),
        lambda x: np.fft.fft(x, axis=1),
        lambda x: np.fft.fft2(x),
        lambda x: np.fft.fftn(x, s=(3, 3), axes=(0,)),
        lambda x: np.fft.fftshift(x, axes=3),
        lambda x: np.fft.rfftn(x, axes=()),
    ],
)
def test_wrong_input_raises_what_numpy_raises(call):
    with pytest.raises(Exception) as expected:  # noqa: B017
        call(np.ones(4))
    with pytest.raises(expected.type):
        rt.vjp(call, np.ones(4))


def test_the_gradient_of_power_is_that_of_the_signal():
    x = np.random.default_rng(0).standard_normal(64)
    gradient = rt.grad(lambda x: np.sum(np.abs(np.fft.rfft(x, norm="ortho")[1:-1]) ** 2))(x)
    filtered = np.fft.rfft(x, norm="ortho")
    filtered[[0, -1]] = 0
    np.testing.assert_allclose(gradient, np.fft.irfft(filtered, norm="ortho"), atol=1e-14)


def test_a_plan_needs_no_numbers():
    plan = rt.plan(lambda x: np.sum(np.abs(np.fft.irfft2(np.fft.rfft2(x) ** 2))), np.ones((8, 8)), memory_budget="1MiB")
    assert plan.projected_peak_bytes <= plan.budget_bytes
