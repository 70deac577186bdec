"""Fits of polynomials: what is refused, and what is warned of."""

import numpy as np
import pytest

import retape as rt


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.polyfit(x, x, -1),
        lambda x: np.polyfit(np.stack([x, x]), x, 1),
        lambda x: np.polyfit(x[:0], x[:0], 1),
        lambda x: np.polyfit(x, x[0], 1),
        lambda x: np.polyfit(x, x[:2], 1),
        lambda x: np.polyfit(x, x, 1, w=np.ones((3, 1))),
        lambda x: np.polyfit(x, x, 1, w=np.ones(2)),
        lambda x: np.polyfit(x, x, 2, cov=True),
    ],
)
def test_wrong_input_raises_what_numpy_raises(call):
    x = np.array([0.5, 1.0, 2.0])
    with pytest.raises(Exception) as expected:  # noqa: B017
        call(x)
    with pytest.raises(expected.type):
        rt.vjp(call, x)


def test_a_fit_of_too_few_points_warns_as_numpy_does():
    with pytest.warns(np.exceptions.RankWarning):
        rt.vjp(lambda y: np.polyfit([1.0, 1.0, 1.0], y, 1), np.ones(3))
