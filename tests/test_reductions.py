"""Reductions, orders and sets where forms cannot tell: ties, NaN, zeros, empty arrays, dtypes, and what is refused."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import retape as rt

X = np.array([1.0, 2.0, 2.0, 0.0])
NAN = np.nan

SINGULAR = [
    ("std of equal values", np.std, np.ones(3), np.zeros(3)),
    ("std of equal complex values", lambda x: np.std(x), np.ones(3) * (1 + 1j), np.zeros(3)),
    ("nanstd of equal values", np.nanstd, np.array([1.0, NAN, 1.0]), np.zeros(3)),
    ("ties of max", np.max, X, np.array([0.0, 0.5, 0.5, 0.0])),
    ("ties of min over axes", lambda x: np.min(x, axis=(0, 1)), np.zeros((2, 2)), np.full((2, 2), 0.25)),
    ("ties of nanmax", np.nanmax, np.array([2.0, NAN, 2.0]), np.array([0.5, 0.0, 0.5])),
    ("ties of ptp", np.ptp, X, np.array([0.0, 0.5, 0.5, -1.0])),
    ("a tie with initial", lambda x: np.max(x, initial=2.0), np.array([1.0, 2.0]), np.array([0.0, 0.5])),
    ("max where nothing is", lambda x: np.max(x, initial=7.0, where=False), X, np.zeros(4)),
    ("prod of zeros only", np.prod, np.zeros(3), np.zeros(3)),
    ("sorted ties", lambda x: np.sort(x, stable=True) @ np.arange(4.0), X, np.array([1.0, 2.0, 3.0, 0.0])),
    ("a median among ties", np.median, np.array([1.0, 1.0, 1.0, 1.0]), None),
    ("the first of equal values", lambda x: np.unique(x) @ np.arange(1.0, 4.0), X, np.array([2.0, 3.0, 0.0, 1.0])),
    ("logsumexp without mass", lambda x: rt.logsumexp(x), np.array([-np.inf, 1.0]), np.array([0.0, 1.0])),
    ("a mean without NaN", np.nanmean, np.array([1.0, NAN, 3.0]), np.array([0.5, 0.0, 0.5])),
]


@pytest.mark.parametrize(("name", "f", "x", "expected"), SINGULAR, ids=[case[0] for case in SINGULAR])
def test_singular_points_have_their_stated_gradient(name, f, x, expected):
    gradient = rt.grad(lambda x: np.real(f(x)))(x)
    if expected is None:
        assert_allclose(np.sum(gradient), 1.0)
    else:
        assert_array_equal(gradient, expected)
    budgeted = rt.grad(lambda x: np.real(f(x)), memory_budget="64MiB")(x)
    assert_array_equal(budgeted, gradient)


def mixed(f, x, i, j):
    return rt.grad(lambda x: rt.grad(f)(x)[i])(x)[j]


def test_second_derivatives_of_products_are_exact_at_zeros():
    x = np.array([0.0, 2.0, 0.0, 3.0])
    assert mixed(np.prod, x, 0, 2) == 6.0
    assert mixed(np.prod, x, 0, 1) == 0.0
    assert mixed(lambda x: np.cumprod(x)[-1], x, 2, 0) == 6.0
    assert mixed(np.prod, np.zeros(2), 0, 1) == 1.0


def test_the_second_derivative_of_std_of_equal_values_is_zero():
    assert_array_equal(rt.grad(lambda x: np.sum(rt.grad(np.std)(x) ** 2))(np.ones(3)), np.zeros(3))


def test_long_products_do_not_take_long():
    x = np.ones(200_000)
    assert_array_equal(rt.grad(np.prod)(x), x)
    assert_array_equal(rt.grad(lambda x: np.cumprod(x)[-1])(x), x)


def test_nan_goes_where_numpy_puts_it():
    x = np.array([[1.0, NAN, 3.0], [4.0, 5.0, 6.5]])
    for f in (np.max, np.min, np.median, np.ptp, lambda x, axis: np.quantile(x, 0.3, axis=axis)):
        assert_array_equal(rt.vjp(lambda x, f=f: f(x, axis=1), x)[0], f(x, axis=1))
    assert np.isnan(rt.grad(np.max)(np.array([1.0, NAN]))).all()


ALL_NAN = [
    ("nanmean", np.nanmean, "Mean of empty slice"),
    ("nanvar", np.nanvar, "Degrees of freedom"),
    ("nanmax", np.nanmax, "All-NaN"),
    ("nanmin", np.nanmin, "All-NaN"),
    ("nanmedian", np.nanmedian, "All-NaN"),
    ("nanquantile", lambda x: np.nanquantile(x, 0.3), "All-NaN"),
]


@pytest.mark.parametrize(("name", "f", "words"), ALL_NAN, ids=[case[0] for case in ALL_NAN])
def test_slices_of_nothing_but_nan_warn_as_in_numpy(name, f, words):
    x = np.array([NAN, NAN])
    with pytest.warns(RuntimeWarning, match=words):
        assert np.isnan(f(x))
    with pytest.warns(RuntimeWarning, match=words):
        assert np.isnan(rt.vjp(f, x)[0])


WARNED = [
    ("the mean of nothing", lambda x: np.mean(x[:0]), "Mean of empty slice"),
    ("var without freedom", lambda x: np.var(x, ddof=4), "Degrees of freedom"),
    ("cov without freedom", lambda x: np.cov(x, ddof=4), "Degrees of freedom"),
]


@pytest.mark.parametrize(("name", "f", "words"), WARNED, ids=[case[0] for case in WARNED])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_too_few_values_warn_as_in_numpy(name, f, words):
    with pytest.warns(RuntimeWarning, match=words):
        plain = f(X)
    with pytest.warns(RuntimeWarning, match=words):
        assert_array_equal(rt.vjp(f, X)[0], plain)


WRONG = [
    ("an axis too far", lambda x: np.sum(x, axis=2)),
    ("an axis twice", lambda x: np.sum(x[None], axis=(0, 0))),
    ("a list of axes", lambda x: np.max(x, axis=[0])),
    ("an axis too far, cumulated", lambda x: np.cumsum(x, axis=1)),
    ("max of nothing", lambda x: np.max(x[:0])),
    ("max with where alone", lambda x: np.max(x, where=[True, False, True, True])),
    ("argmax over two axes", lambda x: np.argmax(x, axis=(0,))),
    ("where of another shape", lambda x: np.sum(x, where=[True, False])),
    ("var with ddof and correction", lambda x: np.var(x, ddof=1, correction=1)),
    ("weights that sum to zero", lambda x: np.average(x, weights=[1, -1, 0, 0])),
    ("weights without an axis", lambda x: np.average(x[None], weights=[1, 1, 1, 1])),
    ("weights of another axis", lambda x: np.average(x[None], axis=0, weights=[1, 1, 1, 1])),
    ("cumulative_sum without an axis", lambda x: np.cumulative_sum(x[None])),
    ("cov with a broken ddof", lambda x: np.cov(x, ddof=0.5)),
    ("cov with negative frequencies", lambda x: np.cov(x, fweights=[1, -1, 1, 1])),
    ("cov with broken frequencies", lambda x: np.cov(x, fweights=[1, 0.5, 1, 1])),
    ("cov with weights of another length", lambda x: np.cov(x, aweights=[1, 1])),
    ("cov in three dimensions", lambda x: np.cov(x[None, None])),
    ("a quantile beyond 1", lambda x: np.quantile(x, 1.5)),
    ("a percentile below 0", lambda x: np.percentile(x, -1)),
    ("a quantile by an unknown method", lambda x: np.quantile(x, 0.5, method="best")),
    ("a quantile of complex numbers", lambda x: np.quantile(x * 1j, 0.5)),
    ("a quantile of nothing", lambda x: np.quantile(x[:0], 0.5)),
    ("a weighted quantile by another method", lambda x: np.quantile(x, 0.5, weights=[1, 1, 1, 1])),
    ("a quantile with negative weights", lambda x: np.quantile(x, 0.5, method="inverted_cdf", weights=[1, -1, 1, 1])),
    ("sorting by a field", lambda x: np.sort(x, order="f")),
    ("sorting of an unknown kind", lambda x: np.sort(x, kind="bogo")),
    ("sorting of a kind and stable", lambda x: np.sort(x, kind="heapsort", stable=True)),
    ("sorting a scalar", lambda x: np.sort(x[0])),
    ("partitioning beyond the end", lambda x: np.partition(x, 7)),
    ("partitioning about a fraction", lambda x: np.partition(x, 1.5)),
    ("nanargmax of NaN", lambda x: np.nanargmax(x * NAN)),
    ("nanmean in integers", lambda x: np.nanmean(x, dtype=int)),
    ("softmax over an axis too far", lambda x: np.exp(rt.softmax(x, axis=1))),
]


@pytest.mark.parametrize(("name", "f"), WRONG, ids=[case[0] for case in WRONG])
def test_wrong_input_raises_what_numpy_raises(name, f):
    with pytest.raises((TypeError, ValueError, IndexError, ZeroDivisionError, RuntimeError)) as plain:
        f(X)
    with pytest.raises(plain.type):
        rt.vjp(f, X)
    with pytest.raises(plain.type):
        rt.grad(lambda x: np.sum(f(x)), memory_budget="64MiB")(X)


DTYPES = [
    ("sum in double", lambda x: np.sum(x, dtype=np.float64)),
    ("sum with a double initial", lambda x: np.sum(x, initial=np.float64(2.0))),
    ("max with a double initial", lambda x: np.max(x, initial=np.float64(2.0))),
    ("cumsum in double", lambda x: np.cumsum(x, dtype=np.float64)),
    ("prod in double", lambda x: np.prod(x, dtype=np.float64)),
    ("mean in double", lambda x: np.mean(x, dtype=np.float64)),
    ("var in double", lambda x: np.var(x, dtype=np.float64)),
    ("average with double weights", lambda x: np.average(x, weights=np.ones(4))),
    ("quantile of a number", lambda x: np.quantile(x, 0.3)),
    ("quantile of a NumPy number", lambda x: np.quantile(x, np.float64(0.3))),
    ("quantiles", lambda x: np.quantile(x, [0.3, 0.6])),
    ("whole quantiles", lambda x: np.quantile(x, [0, 1])),
    ("percentile", lambda x: np.percentile(x, 30)),
    ("nanquantile with NaN", lambda x: np.nanquantile(np.where(np.arange(4) == 1, np.float32(NAN), x), 0.3)),
    ("cov", np.cov),
    ("cov in single", lambda x: np.cov(x, dtype=np.float32)),
    ("sort_complex", np.sort_complex),
]


@pytest.mark.parametrize(("name", "f"), DTYPES, ids=[case[0] for case in DTYPES])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.longdouble])
def test_results_have_the_dtype_of_numpy_and_gradients_that_of_the_argument(name, f, dtype):
    x = X.astype(dtype)
    y, pullback = rt.vjp(f, x)
    assert y.dtype == f(x).dtype
    assert pullback(np.ones(np.shape(y), y.dtype))[0].dtype == dtype


def test_integer_accumulators_are_constant():
    y, pullback = rt.vjp(lambda x: np.sum(x * 1.3, dtype=int) * x, X)
    assert y[1] == 2 * np.sum(X * 1.3, dtype=int)
    assert_array_equal(pullback(np.ones(4))[0], np.full(4, float(np.sum(X * 1.3, dtype=int))))


def test_a_half_precision_mean_does_not_overflow():
    x = np.full(100, 6e4, np.float16)
    assert rt.vjp(np.mean, x)[0] == np.mean(x) == np.float16(6e4)


def test_a_traced_target_takes_the_result_of_plain_arguments():
    def f(x):
        target = x[:2] * 0
        np.sum([[1.0, 2.0], [3.0, 4.0]], axis=0, out=target)
        return np.sum(target * x[:2])

    assert_array_equal(rt.grad(f)(X), [4.0, 6.0, 0.0, 0.0])


def test_initial_values_have_gradients():
    assert_array_equal(rt.grad(lambda x: np.sum(x[:2], initial=x[3]) ** 2)(X), [6.0, 6.0, 0.0, 6.0])
    assert_array_equal(rt.grad(lambda x: np.max(x[:2], initial=3 * x[2]))(X), [0.0, 0.0, 3.0, 0.0])


@pytest.mark.parametrize("kth", [0, 5, -3, (2, 7)])
@pytest.mark.parametrize("shape", [(200,), (3, 50)])
def test_a_partition_has_the_order_of_numpy(kth, shape):
    x = np.random.default_rng(0).standard_normal(shape).round(1)
    assert_array_equal(rt.vjp(lambda x: np.partition(x, kth), x)[0], np.partition(x, kth))
    assert_array_equal(
        rt.vjp(lambda x: x[np.argpartition(x.ravel(), 3)[:3] % 3], x)[0], x[np.argpartition(x.ravel(), 3)[:3] % 3]
    )


def test_unique_gives_all_that_numpy_gives():
    x = np.array([2.0, 1.0, 2.0, NAN, NAN])
    for keywords in ({}, {"equal_nan": False}, {"return_counts": True}, {"return_index": True, "return_inverse": True}):
        plain, traced = np.unique(x, **keywords), rt.vjp(lambda x, k=keywords: np.unique(x, **k), x)[0]
        for a, b in zip(*(parts if isinstance(parts, tuple) else (parts,) for parts in (plain, traced)), strict=True):
            assert_array_equal(b, a)


def test_derivatives_of_weights_are_exact():
    assert_array_equal(rt.grad(lambda w: np.quantile(X, 0.4, method="inverted_cdf", weights=w))(np.ones(4)), np.zeros(4))
    assert_allclose(rt.grad(lambda w: np.average(X, weights=w))(np.ones(4)), (X - X.mean()) / 4)
