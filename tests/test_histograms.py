"""Histograms: what is counted where, to the last bin, and what is refused."""

import numpy as np
import pytest

import retape as rt


@pytest.mark.parametrize("bins", [1, 3, 10, "auto", np.array([0.1, 0.1, 0.5, 0.9]), [-1.0, 0.0, 2.0]])
@pytest.mark.parametrize("range", [None, (0.2, 0.7)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_traced_data_fall_into_the_bins_of_numpy(bins, range, dtype):
    data = np.round(np.random.default_rng(0).uniform(0, 1, 200), 1).astype(dtype)
    counts, edges = rt.vjp(lambda a: np.histogram(a, bins, range), data)[0]
    expected_counts, expected_edges = np.histogram(data, bins, range)
    np.testing.assert_array_equal(counts, expected_counts)
    np.testing.assert_array_equal(edges, expected_edges)
    assert edges.dtype == expected_edges.dtype and counts.dtype == expected_counts.dtype
    if not isinstance(bins, str):
        weighted = rt.vjp(lambda a, w: np.histogram(a, bins, range, weights=w), data, data)[0][0]
        np.testing.assert_allclose(weighted, np.histogram(data, bins, range, weights=data)[0], rtol=1e-5)
        assert weighted.dtype == dtype


def test_points_outside_the_bins_have_no_gradient():
    gradient = rt.grad(lambda w: np.sum(np.histogram([0.5, 7.0, np.nan, -1.0], [0.0, 1.0], weights=w)[0]))(np.ones(4))
    np.testing.assert_array_equal(gradient, [1, 0, 0, 0])


def test_data_that_are_all_equal_fill_one_bin():
    sums, edges = rt.vjp(lambda a, w: np.histogram(a, 4, weights=w), np.full(3, 2.0), np.ones(3))[0]
    np.testing.assert_array_equal(sums, np.histogram(np.full(3, 2.0), 4, weights=np.ones(3))[0])
    np.testing.assert_array_equal(edges, np.linspace(1.5, 2.5, 5))


@pytest.mark.parametrize(
    "call",
    [
        lambda w: np.bincount([0, 1], w),
        lambda w: np.bincount([0, -1, 2], w),
        lambda w: np.bincount([0, 1, 2], w * 1j),
        lambda w: np.histogram(np.ones(4), weights=w),
        lambda w: np.histogram(w, 0),
        lambda w: np.histogram(w, 2.5),
        lambda w: np.histogram(w, [2.0, 1.0]),
        lambda w: np.histogram(w, np.ones((2, 2))),
        lambda w: np.histogram(w, 3, (2, 1)),
        lambda w: np.histogram(w, 3, (np.nan, 1)),
        lambda w: np.histogram(w * np.inf, 3),
        lambda w: np.histogram(w, "no such rule"),
        lambda w: np.histogram(w, "auto", weights=w),
        lambda w: np.histogram2d(w, np.ones(4)),
        lambda w: np.histogramdd([w, w], (3, 3, 3)),
        lambda w: np.histogramdd([w, w], 3, [(0, 1)]),
        lambda w: np.histogramdd([w, w], 3, weights=w * 1j),
    ],
)
def test_wrong_input_raises_what_numpy_raises(call):
    x = np.array([0.5, 1.0, 2.0])
    with pytest.raises(Exception) as expected:  # noqa: B017
        call(x)
    with pytest.raises(expected.type):
        rt.vjp(call, x)
