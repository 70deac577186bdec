"""Norms, deviations and other roots of sums of squares at 0, where their powers are smooth and they are not."""

import numpy as np
import pytest

import retape as rt

ONES = np.ones(2)
SMOOTH = [
    ("a norm squared", lambda x: np.linalg.norm(x) ** 2, 2 * np.eye(3)),
    ("a norm to a power that is no integer", lambda x: np.linalg.norm(x) ** 2.0 + np.linalg.norm(x) ** 2.5, 2 * np.eye(3)),
    ("a norm cubed", lambda x: np.linalg.norm(x) ** 3, np.zeros((3, 3))),
    ("a norm by np.power", lambda x: np.power(np.linalg.norm(x, 2), 2), 2 * np.eye(3)),
    ("norms of rows", lambda x: np.sum(np.linalg.norm(np.stack([x, 2 * x]), axis=1) ** 2), 10 * np.eye(3)),
    ("columns, kept", lambda x: np.sum(np.linalg.norm(np.outer(x, ONES), axis=0, keepdims=True) ** 2), 4 * np.eye(3)),
    ("a Frobenius norm", lambda x: np.linalg.norm(np.outer(x, ONES)) ** 2, 4 * np.eye(3)),
    ("matrix_norm", lambda x: np.sum(np.linalg.matrix_norm(np.outer(x, ONES), keepdims=True) ** 2), 4 * np.eye(3)),
    ("vector_norm over two axes", lambda x: np.linalg.vector_norm(np.outer(x, ONES)) ** 2, 4 * np.eye(3)),
    ("a complex norm", lambda x: np.linalg.norm(x * (3 + 4j)) ** 2, 50 * np.eye(3)),
    ("a deviation squared", lambda x: np.std(x) ** 2, 2 / 3 * (np.eye(3) - 1 / 3)),
    ("a deviation with another ddof", lambda x: np.std(x, ddof=1) ** 2, np.eye(3) - 1 / 3),
    ("under a mask", lambda x: np.std(x, where=[True, True, False]) ** 2, [[0.5, -0.5, 0], [-0.5, 0.5, 0], [0, 0, 0]]),
    ("nanstd", lambda x: np.nanstd(x) ** 2, 2 / 3 * (np.eye(3) - 1 / 3)),
    ("a square root of a sum", lambda x: np.sqrt(np.sum(x * x)) ** 2, 2 * np.eye(3)),
    ("a power of one half", lambda x: ((x @ x) ** 0.5) ** 2, 2 * np.eye(3)),
    ("hypot", lambda x: np.hypot(x[0], x[1]) ** 2, np.diag([2.0, 2.0, 0.0])),
    ("absolute values", lambda x: np.sum(np.abs(x) ** 2), 2 * np.eye(3)),
    ("sizes of complex numbers", lambda x: np.sum(np.abs((1 + 1j) * x) ** 2), 4 * np.eye(3)),
    ("a norm times itself", lambda x: (lambda n: n * n)(np.linalg.norm(x)), 2 * np.eye(3)),
    ("a square root times itself", lambda x: (lambda r: np.multiply(r, r))(np.sqrt(x @ x)), 2 * np.eye(3)),
    ("a norm squared by np.square", lambda x: np.square(np.linalg.norm(x)), 2 * np.eye(3)),
    ("the cosine of a norm", lambda x: np.cos(np.linalg.norm(x)), -np.eye(3)),
    ("the hyperbolic cosine of a norm", lambda x: np.cosh(np.linalg.norm(x)), np.eye(3)),
    ("cosines of absolute values", lambda x: np.sum(np.cos(np.abs(x)) - np.cosh(np.abs(x))), -2 * np.eye(3)),
    ("the cosine of a deviation", lambda x: np.cos(np.std(x)), (1 / 3 - np.eye(3)) / 3),
    ("the cosine of a square root", lambda x: np.cos(np.sqrt(x @ x)), -np.eye(3)),
    ("the cosine of a power of one half", lambda x: np.cosh((x @ x) ** 0.5), np.eye(3)),
    ("the cosine of hypot", lambda x: np.cos(np.hypot(x[0], x[1])) - x[2] ** 2 / 2, -np.eye(3)),
    ("cosines of sizes of complex numbers", lambda x: np.sum(np.cos(np.abs((3 + 4j) * x))), -25 * np.eye(3)),
    ("a norm of what does not move", lambda x: np.sum(np.exp(-np.linalg.norm(x - x + 0 * ONES[0]))) + x @ x, 2 * np.eye(3)),
]  # fmt: skip


def hessians(f, x):
    basis = np.eye(3)
    yield rt.hessian(f)(x.copy())
    yield rt.hessian(f, memory_budget="64MiB")(x.copy())
    yield np.stack([rt.hvp(f, (x.copy(),), (e,))[0] for e in basis])
    yield np.stack([rt.jvp(rt.grad(f), (x.copy(),), (e,))[1] for e in basis])
    yield np.stack([rt.grad(lambda x, e=e: rt.jvp(f, (x,), (e,))[1])(x.copy()) for e in basis])
    along = rt.grad(lambda x, e: np.sum(rt.jvp(f, (x,), (e,))[1]), memory_budget="64MiB")
    yield np.stack([along(x.copy(), e) for e in basis])


@pytest.mark.parametrize(("name", "f", "expected"), SMOOTH, ids=[case[0] for case in SMOOTH])
def test_powers_of_roots_have_the_derivatives_of_polynomials_at_0(name, f, expected):
    zero = np.zeros(3)
    np.testing.assert_array_equal(rt.grad(f)(zero.copy()), 0)
    for found in hessians(f, zero):
        np.testing.assert_allclose(found, expected, atol=1e-15)


@pytest.mark.parametrize(("name", "f", "expected"), SMOOTH, ids=[case[0] for case in SMOOTH])
def test_roots_and_their_powers_are_right_to_the_third_order_away_from_0(name, f, expected):
    rt.check_grads(f, np.array([0.7, -0.4, 1.1]), order=3, tolerance=1e-5)


def test_the_fourth_derivative_of_a_fourth_power_of_a_norm_at_0_is_that_of_a_polynomial():
    e = np.eye(3)[0]
    f = lambda x: np.linalg.norm(x) ** 4  # noqa: E731
    for _ in range(4):
        f = lambda x, g=f: rt.jvp(g, (x,), (e,))[1]  # noqa: E731
    assert f(np.zeros(3)) == 24
    assert rt.jvp(lambda x: rt.grad(lambda x: rt.grad(lambda x: np.linalg.norm(x) ** 4)(x)[0])(x)[0], (e,), (e,))[1] == 24


ROUGH = [
    ("a norm", lambda x: np.linalg.norm(x)),
    ("a product of norms", lambda x: np.linalg.norm(x) * np.linalg.norm(x)),
    ("the cosine of twice a norm", lambda x: np.cos(2 * np.linalg.norm(x))),
    ("a matrix norm", lambda x: np.linalg.norm(np.outer(x, ONES))),
    ("a deviation", lambda x: np.std(x)),
    ("a product of deviations", lambda x: np.std(x) * np.std(x)),
    ("the cosine of twice hypot", lambda x: np.cos(2 * np.hypot(x[0], np.hypot(x[1], x[2])))),
    ("cosines of twice the sizes of complex numbers", lambda x: np.sum(np.cos(2 * np.abs((3 + 4j) * x)))),
    ("a norm of another order", lambda x: np.linalg.norm(x, 3)),
    ("the cosine of a norm of another order", lambda x: np.cos(np.linalg.norm(x, 4)) + np.cosh(np.linalg.norm(x, 1.5))),
]
# What is flat at 0 of a root whose own derivative is infinite there; a gradient taken backwards is 0.
FLAT = [
    ("the cosine of twice a square root", lambda x: np.cos(2 * np.sqrt(x @ x))),
    ("a square root times its sine", lambda x: (lambda r: r * np.sin(r))(np.sqrt(x @ x))),
    ("a power of one half", lambda x: np.cosh(2 * (x @ x) ** 0.5)),
    ("float_power", lambda x: np.cosh(np.float_power(x @ x, 0.5))),
    ("a power of an array", lambda x: np.sum(np.cosh(np.power(x @ x, np.array([0.5, 0.4]))))),
    ("a cube root", lambda x: np.cbrt(x @ x) ** 3),
    ("square roots of elements", lambda x: np.sum(np.exp(-((2 * np.sqrt(x * x)) ** 2)))),
]


@pytest.mark.parametrize(("name", "f"), ROUGH + FLAT, ids=[case[0] for case in ROUGH + FLAT])
@pytest.mark.filterwarnings("ignore:divide by zero|invalid value:RuntimeWarning")
def test_what_cannot_be_told_of_a_root_at_0_is_nan_and_never_a_wrong_number(name, f):
    np.testing.assert_array_equal(rt.grad(f)(np.zeros(3)), 0)
    for found in hessians(f, np.zeros(3)):
        assert np.all(np.isnan(np.diag(found)))


def distances(p):
    square = np.sum((p[:, None] - p[None]) ** 2, axis=-1)
    apart = square > 0
    return np.where(apart, np.sqrt(square), 0.0)


BRANCHES = [
    ("a square root", lambda x: np.sum(np.where(x > 1, np.sqrt(x), 0.0) ** 2)),
    ("a root of a sum of squares", lambda x: np.where(x[0] > 1, np.cosh(2 * np.sqrt(x @ x)), np.sum(x**2)) ** 2),
    ("roots of products", lambda x: np.sum(np.where(x > 1, np.sqrt(x * x), x * x))),
    ("a cube root and a power", lambda x: np.sum(np.where(x > 1, np.cbrt(x * x) + np.float_power(x * x, 0.4), x) ** 2)),
    ("distances between points", lambda x: np.sum(np.exp(-distances(np.array([[1.0, 2.0], [3.0, 4.0]]) * x[0] + x[1:])))),
    ("squares of distances", lambda x: np.sum(distances(np.array([[1.0, 2.0], [3.0, 4.0]]) + x[:2]) ** 2 * x[2])),
]


@pytest.mark.parametrize(("name", "f"), BRANCHES, ids=[case[0] for case in BRANCHES])
@pytest.mark.filterwarnings("ignore:divide by zero|invalid value:RuntimeWarning")
def test_a_root_of_0_in_a_branch_that_is_not_taken_has_no_part_in_a_hessian(name, f):
    x = np.array([0.0, 0.0, 0.0]) if "points" not in name else np.array([1.0, 0.5, 0.0])
    step = 1e-4
    shifts = step * np.eye(3)
    gradient = rt.grad(f)
    expected = np.stack([(gradient(x + e) - gradient(x - e)) / (2 * step) for e in shifts])
    for found in hessians(f, x):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("f", "slopes"), [(np.cos, (-1 / 2, 1 / 12, -1 / 120)), (np.cosh, (1 / 2, 1 / 12, 1 / 120))])
def test_cosines_of_square_roots_have_every_derivative_at_0_and_beside_it(f, slopes):
    g = lambda x: f(np.sqrt(x))  # noqa: E731
    for slope in slopes:
        g = rt.grad(g)
        np.testing.assert_allclose(g(0.0), slope, rtol=1e-14)
    for x in (0.3, 8.9, 9.1, 40.0):
        rt.check_grads(lambda x: f(np.sqrt(x)), x, order=3, tolerance=1e-6)


def test_a_size_of_0_in_a_branch_that_is_not_taken_has_no_part_in_a_gradient():
    for size in (lambda x: np.hypot(x, 0.0), lambda x: np.abs(1j * x), lambda x: np.linalg.norm(x[:, None], axis=1)):
        with np.errstate(divide="ignore"):
            gradient = rt.grad(lambda x, size=size: np.sum(np.where(x > 0, 1 / size(x), 0)))(np.array([0.0, 2.0]))
        np.testing.assert_allclose(gradient, [0.0, -0.25])


def test_distances_of_a_point_to_itself_have_no_part_in_a_hessian():
    def energy(p):
        return np.sum(np.exp(-np.linalg.norm(p[:, None] - p[None], axis=-1)))

    points = np.random.default_rng(0).standard_normal((4, 2))
    rt.check_grads(energy, points, order=2, tolerance=1e-5)


def test_a_deviation_of_one_number_alone_has_second_derivatives_of_0():
    x = np.array([[0.5, 1.0], [np.nan, 2.0]])
    found = rt.hessian(lambda y: np.sum(np.nanstd(x * y, axis=0) ** 2.5))(np.ones((2, 2)))
    np.testing.assert_array_equal(found[0, 0, 0, 0], 0.0)
    assert np.isfinite(rt.hessian(lambda y: np.sum(np.nanstd(y * x[:, :1], axis=0)))(np.ones((2, 1)))[0, 0, 0, 0])


def test_a_root_that_was_written_to_is_a_root_no_more():
    def f(x):
        y = np.sqrt(x)
        y[0] = x[1]
        z = np.linalg.norm(np.stack([x, x]), axis=1)
        z *= x[0]
        x[:] = 3.0
        return np.sum(y**2) + np.sum(z**2) + np.sum(np.sqrt(x) ** 2)

    rt.check_grads(f, np.array([0.7, 0.4, 1.1]), order=2, tolerance=1e-5)


def test_a_root_knows_its_square_as_it_was():
    def f(x):
        y = x * 1.0
        root = np.abs(y)
        y[...] = 5.0
        return np.sum(root**2 * y)

    np.testing.assert_allclose(rt.grad(f)(np.array([0.5, -2.0])), [5.0, -20.0])
    np.testing.assert_allclose(rt.grad(f, memory_budget="64MiB")(np.array([0.5, -2.0])), [5.0, -20.0])
