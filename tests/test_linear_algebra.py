"""Linear algebra where it is singular, degenerate, refused, or returned in a named tuple."""

import numpy as np
import pytest
from forms import cplx, matrix, real

import retape as rt

VECTOR_ORDS = [None, 0, 1, 2, 3, 2.5, 0.5, -1, -2, np.inf, -np.inf]
MATRIX_ORDS = [None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf]


@pytest.mark.parametrize(
    ("ord", "zero"),
    [(ord, np.zeros(3, dtype)) for ord in VECTOR_ORDS for dtype in (float, complex)]
    + [(ord, np.zeros((3, 2), dtype)) for ord in MATRIX_ORDS for dtype in (float, complex)],
)
def test_the_gradient_of_a_norm_and_of_its_square_at_0_is_0(ord, zero):
    def norm(x):
        return np.linalg.norm(x, ord)

    np.testing.assert_array_equal(rt.grad(norm)(zero), zero)
    np.testing.assert_array_equal(rt.grad(lambda x: norm(x) ** 2)(zero), zero)


def test_zeros_among_the_elements_have_no_part_in_a_power_norm():
    x = np.array([0.0, 3.0, -4.0])
    np.testing.assert_allclose(rt.grad(lambda x: np.linalg.norm(x, 3))(x), [0, 9, -16] / np.cbrt(91) ** 2)
    assert rt.vjp(lambda x: np.linalg.norm(x, -1), x)[0] == 0


def test_the_gradient_of_det_at_a_singular_matrix_is_the_cofactors():
    a = np.array([[1.0, 2.0], [2.0, 4.0]])
    np.testing.assert_allclose(rt.grad(np.linalg.det)(a), [[4, -2], [-2, 1]], atol=1e-14)


def test_the_second_derivative_of_det_at_the_identity_counts_pairs():
    along = real(3, 3)
    hessian_row = rt.grad(lambda a: np.sum(rt.grad(np.linalg.det)(a) * along))(np.eye(3))
    np.testing.assert_allclose(hessian_row, np.trace(along) * np.eye(3) - along.T, atol=1e-13)


def test_cofactors_by_singular_values_agree_with_those_by_the_inverse():
    a = np.stack([matrix(4), np.diag([1.0, 1.0, 1.0, 0.0])])
    alone = rt.grad(np.linalg.det)(a[0])
    stacked = rt.grad(lambda a: np.sum(np.linalg.det(a)))(a)
    np.testing.assert_allclose(stacked[0], alone, rtol=1e-12)
    np.testing.assert_allclose(stacked[1], np.diag([0.0, 0, 0, 1]), atol=1e-15)


@pytest.mark.parametrize("a", [np.zeros((3, 3)), np.diag([1.0, 0.0, 0.0]), np.diag([1.0, 2.0, 0.0])], ids=["0", "1", "2"])
def test_the_third_derivative_of_det_of_three_rows_is_that_of_a_cubic(a):
    x, y, z = np.random.default_rng(0).standard_normal((3, 3, 3))
    first = lambda a: rt.jvp(np.linalg.det, (a,), (x,))[1]  # noqa: E731
    third = rt.jvp(lambda a: rt.jvp(first, (a,), (y,))[1], (a,), (z,))[1]
    polar = np.linalg.det(x + y + z) - sum(np.linalg.det(s) for s in (x + y, y + z, x + z))
    np.testing.assert_allclose(third, polar + sum(np.linalg.det(s) for s in (x, y, z)), rtol=1e-12)


def repeated(*values):
    q = np.linalg.qr(real(len(values), len(values)))[0]
    return q @ np.diag(values) @ q.T


def symmetric(a):
    return (a + a.T) / 2


WEIGHTS = real(4, 4, seed=1)
BY_VECTORS = [
    ("a matrix function", lambda w, v: np.sum((v * np.exp(w)) @ v.T * WEIGHTS)),
    ("a matrix function that is 0", lambda w, v: np.sum((v * np.log(w)) @ v.T * WEIGHTS)),
    ("a projector", lambda w, v: np.sum(v[:, :2] @ v[:, :2].T * WEIGHTS)),
    ("one vector of two", lambda w, v: np.sum(v[:, 0] * WEIGHTS[0])),
    ("one eigenvalue of two", lambda w, v: w[0]),
]


@pytest.mark.parametrize(("name", "f"), BY_VECTORS, ids=[case[0] for case in BY_VECTORS])
@pytest.mark.parametrize("a", [repeated(1.0, 1.0, 2.0, 3.0), np.eye(4)], ids=["two", "all"])
def test_what_equal_eigenvalues_cannot_tell_is_nan(name, f, a):
    assert np.any(np.isnan(rt.grad(lambda a: f(*np.linalg.eigh(symmetric(a))))(a)))
    if name != "one eigenvalue of two":  # whose tangent is the mean of both, whatever becomes of it
        assert np.isnan(rt.jvp(lambda a: f(*np.linalg.eigh(symmetric(a))), (a,), (symmetric(WEIGHTS),))[1])


@pytest.mark.parametrize("f", [lambda u, s, vt: (u * np.exp(s)) @ vt, lambda u, s, vt: u[:, :2] @ u[:, :2].T])
def test_what_equal_singular_values_cannot_tell_is_nan(f):
    a = np.diag([2.0, 2.0, 1.0, 0.5])
    assert np.any(np.isnan(rt.grad(lambda a: np.sum(f(*np.linalg.svd(a)) * WEIGHTS))(a)))


SYMMETRIC = [
    ("eigh", lambda a: np.linalg.eigh(symmetric(a))[0]),
    ("eigvalsh", lambda a: np.linalg.eigvalsh(symmetric(a))),
    ("eigvals", lambda a: np.real(np.linalg.eigvals(a))),
    ("eig", lambda a: np.real(np.linalg.eig(a)[0])),
    ("svdvals", np.linalg.svdvals),
    ("svd", lambda a: np.linalg.svd(a)[1]),
]


@pytest.mark.parametrize(("name", "values"), SYMMETRIC, ids=[case[0] for case in SYMMETRIC])
@pytest.mark.parametrize("a", [repeated(1.0, 1.0, 2.0, 3.0), np.eye(4)], ids=["two", "all"])
def test_symmetric_functions_of_equal_eigenvalues_have_their_first_derivatives_and_no_wrong_second_ones(name, values, a):
    def f(a):
        return np.sum(np.exp(values(a)))

    w, v = np.linalg.eigh(a)
    expected = (v * np.exp(w)) @ v.T
    np.testing.assert_allclose(rt.grad(f)(a), expected, rtol=1e-11, atol=1e-11)
    direction = real(4, 4, seed=2)
    np.testing.assert_allclose(rt.jvp(f, (a,), (direction,))[1], np.sum(expected * direction), rtol=1e-11)
    assert np.any(np.isnan(rt.hvp(f, (a,), (direction,))[0]))
    assert np.any(np.isnan(rt.jvp(rt.grad(f), (a,), (direction,))[1]))
    assert np.any(np.isnan(rt.grad(lambda a: rt.jvp(f, (a,), (direction,))[1])(a)))


def test_equal_eigenvalues_share_the_cotangent_of_one_as_ties_do():
    a = repeated(1.0, 1.0, 2.0, 3.0)
    v = np.linalg.eigh(a)[1][:, :2]
    np.testing.assert_allclose(rt.grad(lambda a: np.linalg.eigvalsh(symmetric(a))[0])(a), v @ v.T / 2, atol=1e-14)
    np.testing.assert_allclose(rt.grad(lambda a: np.linalg.norm(a, 2))(np.eye(4)), np.eye(4) / 4, atol=1e-14)


def test_the_spectral_norm_has_its_second_derivative_beside_equal_singular_values():
    a, direction = repeated(1.0, 1.0, 2.0, 3.0), real(4, 4, seed=2)
    slope = rt.grad(lambda a: np.linalg.norm(a, 2))
    by_difference = (slope(a + 1e-5 * direction) - slope(a - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(rt.hvp(lambda a: np.linalg.norm(a, 2), (a,), (direction,))[0], by_difference, atol=1e-8)
    np.testing.assert_allclose(rt.jvp(slope, (a,), (direction,))[1], by_difference, atol=1e-8)


def test_many_close_eigenvalues_are_told_from_equal_ones():
    q = np.linalg.qr(real(40, 40))[0]
    weights = real(40, 40, seed=1)

    def projection(a):
        v = np.linalg.eigh(a).eigenvectors[:, :20]
        return np.sum(v @ v.T * weights)

    rt.check_grads(projection, q @ np.diag(np.repeat([1.0, 2.0], 20) + 1e-9 * np.arange(40)) @ q.T, tolerance=1e-5)
    assert np.all(np.isnan(rt.grad(projection)(q @ np.diag(np.repeat([1.0, 2.0], 20)) @ q.T)))


def test_singular_values_of_0_have_finite_gradients():
    low = np.outer(real(4), real(3, seed=1))
    assert np.all(np.isfinite(rt.grad(lambda a: np.linalg.svd(a, full_matrices=False)[1][0])(low)))
    rt.check_grads(lambda a: np.linalg.svdvals(a)[0], low)


@pytest.mark.parametrize("f", [np.linalg.cholesky, lambda a: np.linalg.eigh(a)[0], np.linalg.eigvalsh])
def test_the_gradient_is_0_in_the_triangle_that_numpy_does_not_read(f):
    a = matrix(3) @ matrix(3).T
    gradient = rt.grad(lambda a: np.sum(f(a)))(a)
    np.testing.assert_array_equal(np.triu(gradient, 1), 0)
    np.testing.assert_array_equal(rt.vjp(f, np.tril(a))[0], f(np.tril(a)))


@pytest.mark.parametrize(
    "f",
    [
        np.linalg.eigh, np.linalg.eig, np.linalg.qr, np.linalg.svd, np.linalg.slogdet,
        lambda a: np.linalg.svd(a, hermitian=True),
    ],
)  # fmt: skip
def test_results_are_numpys_named_tuples(f):
    a = matrix(3) + matrix(3).T
    traced, plain = rt.vjp(f, a)[0], f(a)
    assert type(traced) is type(plain)
    for x, y in zip(traced, plain, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12)


def test_parts_of_a_decomposition_are_written_in_place_one_by_one():
    def program(a):
        w, v = np.linalg.eigh(a)
        v *= np.sign(v[:1])
        w[0] = 0.0
        return np.sum(v * w)

    rt.check_grads(program, matrix(3))


def test_the_rank_of_least_squares_is_read_and_decides_on_residuals():
    a, b = real(4, 2), real(4)
    x, residuals, rank, s = rt.vjp(lambda a: np.linalg.lstsq(a, b), a)[0]
    plain = np.linalg.lstsq(a, b)
    for made, wanted in zip((x, residuals, rank, s), plain, strict=True):
        assert np.result_type(made) == np.result_type(wanted)
        np.testing.assert_allclose(made, wanted, rtol=1e-12)
    deficient = np.stack([b, b], axis=1)
    assert rt.vjp(lambda a: np.linalg.lstsq(a, b), deficient)[0][1].shape == (0,)


def test_the_rank_of_a_matrix_is_a_plain_number():
    ranks = []
    rt.grad(lambda a: ranks.append(np.linalg.matrix_rank(a)) or np.sum(a))(matrix(3))
    assert ranks == [3] and isinstance(ranks[0], np.integer)


@pytest.mark.parametrize(
    ("f", "error", "text"),
    [
        (lambda a: np.linalg.qr(a, "raw"), rt.MissingRuleError, "reduced"),
        (lambda a: np.linalg.qr(a, "thin"), ValueError, "thin"),
        (lambda a: np.einsum("ij,jk->iq", a, a), ValueError, "iq"),
        (lambda a: np.einsum("...j->j", a), ValueError, "'...'"),
        (lambda a: np.einsum("ij,j->i", a, np.ones(4)), ValueError, "extents 3 and 4"),
        (lambda a: np.einsum("ii->i", a[:1]), ValueError, "extents 1 and 3"),
        (lambda a: np.einsum("ij", a, dtype=np.float32), TypeError, "cast"),
        (lambda a: np.linalg.inv(a[:2]), np.linalg.LinAlgError, "square"),
        (lambda a: np.linalg.det(a[0]), np.linalg.LinAlgError, "at least two-dimensional"),
        (lambda a: np.linalg.solve(a, np.ones(4)), ValueError, "do not match"),
        (lambda a: np.linalg.inv(a - a), np.linalg.LinAlgError, "Singular"),
        (lambda a: np.linalg.cholesky(-a @ a.T), np.linalg.LinAlgError, "positive definite"),
        (lambda a: np.linalg.eigh(a, "X"), ValueError, "UPLO"),
        (lambda a: np.linalg.norm(a, 3), ValueError, "Invalid norm order"),
        (lambda a: np.linalg.norm(a[0], "fro"), ValueError, "Invalid norm order"),
        (lambda a: np.linalg.norm(a, axis=(0, 0)), ValueError, "Duplicate"),
        (lambda a: np.linalg.norm(a, 1, axis=5), np.exceptions.AxisError, "5"),
        (lambda a: np.linalg.cond(a[:0]), np.linalg.LinAlgError, "empty"),
        (lambda a: np.linalg.pinv(a, 0.1, rtol=0.1), ValueError, "both"),
        (lambda a: np.linalg.matrix_power(a, 0.5), TypeError, "integer"),
        (lambda a: np.linalg.matrix_power(a[:2], 2), np.linalg.LinAlgError, "square"),
        (lambda a: np.linalg.multi_dot([a]), ValueError, "at least two"),
        (lambda a: np.linalg.cross(a[:, :2], a[:, :2]), ValueError, "3-dimensional"),
        (lambda a: np.linalg.outer(a, a), ValueError, "one-dimensional"),
        (lambda a: np.tensordot(a, a, axes=([0, 0], [0, 0])), ValueError, "duplicate"),
        (lambda a: np.tensordot(a, a[:, :2], axes=([1], [1])), ValueError, "shape-mismatch"),
        (lambda a: np.dot(a, np.ones((4, 2))), ValueError, "not aligned"),
    ],
)
@pytest.mark.parametrize("budget", [None, "1MiB"])
def test_wrong_or_unsupported_arguments_raise_what_numpy_raises_or_name_the_cure(f, error, text, budget):
    with pytest.raises(error, match=text):
        rt.grad(lambda a: np.sum(f(a)[0]), memory_budget=budget)(matrix(3))


def test_half_precision_is_refused_as_numpy_refuses_it():
    with pytest.raises(TypeError, match="unsupported in linalg"):
        rt.vjp(np.linalg.inv, np.eye(2, dtype=np.float16))


def test_workspace_is_counted_with_the_matrices_and_not_with_the_square_of_the_longer_side():
    thin = real(20_000, 3)
    plan = rt.plan(lambda a: np.sum(np.linalg.svdvals(a)), thin)
    assert plan.projected_peak_bytes < 20 * thin.nbytes


@pytest.mark.parametrize(
    "f",
    [
        lambda a: np.sum(np.linalg.cholesky(a @ np.swapaxes(a, -1, -2))), lambda a: np.sum(np.linalg.qr(a)[0]),
        lambda a: np.sum(np.linalg.eigh(a)[1]), lambda a: np.sum(np.linalg.svd(a)[0]), lambda a: np.sum(np.linalg.pinv(a)),
        lambda a: np.sum(np.linalg.det(a)), lambda a: np.sum(np.linalg.solve(a, a[..., :1])),
        lambda a: np.sum(np.linalg.eig(a)[0].real), lambda a: np.sum(np.einsum("abij,abjk->baik", a, a)),
    ],
)  # fmt: skip
def test_the_promise_holds_for_stacks_that_are_not_laid_out_in_order(f):
    a = (real(3, 2, 8, 8) + 5 * np.eye(8)).transpose(1, 0, 3, 2)
    step = rt.grad(f, memory_budget="1MiB")
    for _ in range(2):
        np.testing.assert_array_equal(step(a), rt.grad(f)(a))
        assert step.report.peak_bytes <= step.report.projected_bytes


def test_a_complex_hermitian_matrix_has_the_gradient_of_numpys_own_phase():
    a = cplx(3, 3)
    a = a + a.conj().T
    rt.check_grads(lambda a: np.linalg.eigh(a).eigenvectors, a, order=2)


@pytest.mark.parametrize("seed", range(20))
def test_eigenvectors_of_real_matrices_move_as_numpys_do_but_for_the_sign(seed):
    a, direction = real(5, 5, seed=seed), real(5, 5, seed=seed + 100)
    (_, v), (_, tangent) = rt.jvp(np.linalg.eig, (a,), (direction,))
    above, below = (np.linalg.eig(a + step * direction).eigenvectors for step in (1e-6, -1e-6))
    for x in (above, below):
        x *= np.where(np.abs(x - v).max(axis=0) < np.abs(x + v).max(axis=0), 1, -1)
    np.testing.assert_allclose(tangent, (above - below) / 2e-6, rtol=1e-4, atol=1e-4)
