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
    ("a norm of what does not move", lambda x: np.sum(np.exp(-np.linalg.norm(x - x + 0 * ONES[0]))) + x @ x, 2 * np.eye(3)),
]  # fmt: skip


def hessians(f, x):
    basis = np.eye(3)
    yield rt.hessian(f)(x.copy())
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
    ("the cosine of a norm", lambda x: np.cos(np.linalg.norm(x))),
    ("a matrix norm", lambda x: np.linalg.norm(np.outer(x, ONES))),
    ("a deviation", lambda x: np.std(x)),
    ("a product of deviations", lambda x: np.std(x) * np.std(x)),
    ("the cosine of hypot", lambda x: np.cos(np.hypot(x[0], np.hypot(x[1], x[2])))),
    ("cosines of sizes of complex numbers", lambda x: np.sum(np.cos(np.abs((3 + 4j) * x)))),
]


@pytest.mark.parametrize(("name", "f"), ROUGH, ids=[case[0] for case in ROUGH])
def test_what_cannot_be_told_of_a_root_at_0_is_nan_and_never_a_wrong_number(name, f):
    np.testing.assert_array_equal(rt.grad(f)(np.zeros(3)), 0)
    for found in hessians(f, np.zeros(3)):
        assert np.all(np.isnan(np.diag(found)))


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
