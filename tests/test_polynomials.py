"""Polynomials: roots, leading zeros, and what is refused."""

import contextlib

import numpy as np
import pytest
from numpy.polynomial import chebyshev, polynomial

import retape as rt


def test_a_root_at_zero_moves_with_the_last_coefficient():
    gradient = rt.grad(lambda p: np.real(np.sum(np.roots(p)[-1:])))(np.array([1.0, -3.0, 0.0]))
    np.testing.assert_allclose(gradient, [0, 0, 1 / 3])


def test_leading_zeros_have_no_root_but_move_the_others():
    p = np.array([0.0, 1.0, -3.0])
    assert rt.vjp(np.roots, p)[0].shape == (1,)
    np.testing.assert_allclose(rt.grad(lambda p: np.sum(np.roots(p)))(p), [-9, -3, -1])


def test_polynomials_without_roots_have_none():
    for p in (np.zeros(3), np.ones(1), np.array([0.0, 0.0, 2.0])):
        np.testing.assert_array_equal(rt.vjp(lambda p: np.roots(p) + np.sum(p), p)[0], [])


def test_a_product_with_zero_is_zero_and_follows_the_last_coefficient():
    y, pullback = rt.vjp(lambda p: np.polymul(p, [1.0, 2.0]), np.zeros(2))
    np.testing.assert_array_equal(y, np.polymul(np.zeros(2), [1.0, 2.0]))
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [0, 3])


def test_a_remainder_has_the_length_that_numpy_gives_it():
    u, v = np.array([1.0, 5.0, 6.0, 0.5]), np.array([1.0, 2.0])
    for a, b in zip(rt.vjp(np.polydiv, u, v)[0], np.polydiv(u, v), strict=True):
        np.testing.assert_array_equal(a, b)


BY_COEFFICIENTS = {
    "polyval": lambda x: polynomial.polyval(np.array([0.3, 0.7]), x),
    "polyval of both": lambda x: polynomial.polyval(x, 2 * x),
    "polyval2d": lambda x: polynomial.polyval2d(x, x, np.outer(x, x)),
    "polymul": lambda x: polynomial.polymul(x, x[:2]),
    "polyfromroots": polynomial.polyfromroots,
    "polyfit": lambda x: polynomial.polyfit(np.arange(3.0), x, 1),
    "chebval": lambda x: chebyshev.chebval(np.array([0.3, 0.7]), x),
    "hermval": lambda x: np.polynomial.hermite.hermval(x, x),
    "a polynomial of plain coefficients": polynomial.Polynomial([1.0, 2.0, 3.0]),
    "a polynomial of traced coefficients": lambda x: polynomial.Polynomial(x)(0.7),
    "a product of polynomials": lambda x: (polynomial.Polynomial(x) * polynomial.Polynomial(2 * x) + 1).coef,
    "a polynomial of a polynomial": lambda x: polynomial.Polynomial(x)(polynomial.Polynomial(x)).coef,
    "a domain": lambda x: polynomial.Polynomial([1.0, 2.0], domain=[x[0], x[1]])(0.3),
}


@pytest.mark.parametrize("patched", [False, True])
@pytest.mark.parametrize("f", BY_COEFFICIENTS.values(), ids=BY_COEFFICIENTS)
def test_numpy_polynomial_takes_traced_coefficients(f, patched):
    x = np.array([1.0, 2.0, 4.0])
    with rt.patched() if patched else contextlib.nullcontext():
        np.testing.assert_allclose(rt.vjp(f, x)[0], f(x), rtol=1e-14)
        rt.check_grads(f, x, order=2, tolerance=1e-5)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: polynomial.polyvander(x, 2),
        lambda x: polynomial.polyroots(x),
        lambda x: polynomial.polyder(x),
        lambda x: chebyshev.chebmul(x, x),
    ],
)
def test_functions_that_write_into_plain_arrays_are_refused(f):
    with pytest.raises((rt.NotDifferentiableError, rt.MissingRuleError)):
        rt.vjp(f, np.array([1.0, 2.0, 4.0]))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.polyder(x, -1),
        lambda x: np.polyint(x, -1),
        lambda x: np.polyint(x, 3, [1.0, 2.0]),
        lambda x: np.poly(np.stack([x, x])),
        lambda x: np.vander(np.stack([x, x])),
        lambda x: np.roots(np.stack([x, x])),
        lambda x: np.polymul(np.stack([x, x]), x),
    ],
)
def test_wrong_input_raises_what_numpy_raises(call):
    x = np.array([0.5, 1.0, 2.0])
    with pytest.raises(Exception) as expected:  # noqa: B017
        call(x)
    with pytest.raises(expected.type):
        rt.vjp(call, x)
