"""Differences, slopes and areas: what is refused, and the precision of spacings."""

import numpy as np
import pytest

import retape as rt


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.diff(x, -1),
        lambda x: np.diff(x, axis=1),
        lambda x: np.diff(x[0]),
        lambda x: np.diff(x, prepend=np.ones((2, 2))),
        lambda x: np.ediff1d([1, 2], to_end=x),
        lambda x: np.gradient(x[:1]),
        lambda x: np.gradient(x, 1.0, 2.0),
        lambda x: np.gradient(x, [1.0, 2.0]),
        lambda x: np.gradient(x, np.ones((2, 2))),
        lambda x: np.gradient(x, edge_order=3),
        lambda x: np.gradient(x[:2], edge_order=2),
        lambda x: np.gradient(x, axis=2),
        lambda x: np.gradient(np.stack([x, x]), axis=(0, 0)),
        lambda x: np.trapezoid(x, axis=1),
        lambda x: np.trapezoid(x, np.ones(5)),
    ],
)
def test_wrong_input_raises_what_numpy_raises(call):
    x = np.array([0.5, 1.0, 2.0])
    with pytest.raises(Exception) as expected:  # noqa: B017
        call(x)
    with pytest.raises(expected.type):
        rt.vjp(call, x)


def test_a_slope_has_the_precision_of_its_samples_whatever_that_of_the_spacing():
    f = np.arange(6.0, dtype=np.float32) ** 2
    for spacing in (0.5, np.float64(0.5), np.arange(6.0) ** 2):
        y, pullback = rt.vjp(lambda f, spacing=spacing: np.gradient(f, spacing), f)
        np.testing.assert_array_equal(y, np.gradient(f, spacing))
        assert y.dtype == np.float32 and pullback(y)[0].dtype == np.float32
