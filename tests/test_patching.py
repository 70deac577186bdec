"""The mode in which NumPy's own creators make what traced values can be written into."""

import math
import threading

import numpy as np
import pytest
from test_forms import each_form, total

import retape as rt

X = np.array([0.9, -0.4, 1.3, 0.7])
PLAIN = {name: getattr(np, name) for name in ("zeros", "ones", "array", "asarray", "full", "zeros_like")}


@pytest.fixture(autouse=True)
def nothing_stays_replaced():
    yield
    assert all(getattr(np, name) is function for name, function in PLAIN.items())


@pytest.mark.slow
@each_form
def test_the_mode_changes_no_bit_of_what_works_without_it(form):
    argnums = tuple(range(len(form.args)))
    gradient = rt.grad(lambda *a: total(form, *a), argnums)
    expected = gradient(*form.args)
    with rt.patched():
        for a, b in zip(expected, gradient(*form.args), strict=True):
            np.testing.assert_array_equal(a, b)


def zeros_filled(x):
    z = np.zeros(4)
    z[0] = x[0]
    z[1:] += x[1:] ** 2
    z[:2] *= x[3]
    return z


def empty_filled_in_fortran_order(x):
    z = np.empty((2, 2), order="F")
    z[:, 0], z[:, 1] = x[:2], x[2:] ** 2
    return z.ravel("K")


def ones_filled(x):
    z = np.ones((4, 4))
    np.fill_diagonal(z, x)
    return z @ x


def full_of_a_traced_value(x):
    z = np.full((2, 2), x[0])
    z[1] = x[2:]
    return z


def an_array_of_traced_values(x):
    return np.array([[x[0], math.sin(x[1])], [2.0, x[2] ** 2]])


def an_array_of_numbers_filled(x):
    z = np.array([0.0, 1.0])
    z[1] = x[1] * x[2]
    return z


def asarray_of_a_list_filled(x):
    z = np.asarray([[0.0, 1.0], [2.0, 3.0]])
    z[0] = x[:2] ** 2
    return np.asarray([x[0], x[1]]) + z


def fromiter_of_traced_values(x):
    return np.fromiter((v * v for v in x), float)


def like_plain_arrays(x):
    a, b, c, d = np.zeros_like(X), np.ones_like(X), np.empty_like(X), np.full_like(X, x[0])
    for made in (a, b, c):
        made[:] = x**2
    d[1] *= x[1]
    return a * b * c * d


def a_copy_filled(x):
    z = np.copy(X)
    z[1] = x[2] ** 2
    return z * x


def an_identity_changed(x):
    e, i = np.eye(3, k=1), np.identity(3)
    e[0, 0] = x[0]
    i[2] = x[:3]
    return e @ i


def a_matrix_in_nested_loops(x):
    m = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            m[i][j] = math.exp(-x[i] * x[j]) + math.hypot(x[i], 1.0)
    return np.linalg.solve(m + 5 * np.identity(3), x[:3])


def rows_and_columns(x):
    return np.concatenate(
        [np.ravel(np.r_[x, 0.0, x[::-1], 1:3]), np.ravel(np.c_[x, x * x]), np.ravel(np.c_[x[:, None], 2 * x])]
    )


def a_vectorized_function(x):
    return np.vectorize(lambda v: v * v if v > 0 else -v)(x)


def math_of_traced_values(x):
    p = x[0]
    parts = [
        math.exp(p), math.expm1(p), math.log(p), math.log(p, 3), math.log2(p), math.log10(p), math.log1p(p), math.sqrt(p),
        math.cbrt(p), math.pow(p, 1.5), math.sin(p), math.cos(p), math.tan(p), math.asin(p), math.acos(p), math.atan(p),
        math.atan2(p, x[2]), math.sinh(p), math.cosh(p), math.tanh(p), math.asinh(p), math.acosh(p + 1), math.atanh(p),
        math.hypot(p, x[1]), math.fabs(x[1]), math.degrees(p), math.radians(p), math.copysign(p, x[1]), math.exp2(p),
    ]  # fmt: skip
    return np.array(parts) if not math.isnan(p) and math.isfinite(p) and not math.isinf(p) else p


PROGRAMS = [
    zeros_filled, empty_filled_in_fortran_order, ones_filled, full_of_a_traced_value, an_array_of_traced_values,
    an_array_of_numbers_filled, asarray_of_a_list_filled, fromiter_of_traced_values, like_plain_arrays, a_copy_filled,
    an_identity_changed, a_matrix_in_nested_loops, rows_and_columns, a_vectorized_function, math_of_traced_values,
]  # fmt: skip


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_programs_of_plain_creators_work_unchanged(f):
    plain = f(X)
    with rt.patched():
        assert type(f(X)) is np.ndarray
        np.testing.assert_allclose(rt.vjp(f, X)[0], plain, rtol=1e-14)
        rt.check_grads(f, X, order=2, tolerance=1e-5)
        gradient = rt.grad(lambda x: np.sum(np.sin(f(x))))(X)
        budgeted = rt.grad(lambda x: np.sum(np.sin(f(x))), memory_budget="1MiB")
        for _ in range(2):
            np.testing.assert_array_equal(budgeted(X), gradient)


@pytest.mark.parametrize("f", [zeros_filled, an_array_of_traced_values, a_copy_filled])
def test_without_the_mode_the_same_programs_raise_an_error_that_names_it(f):
    with pytest.raises(rt.NotDifferentiableError, match=r"test_patching\.py:\d+.*retape\.patched\(\)"):
        rt.vjp(f, X)


def test_outside_of_transforms_and_for_integers_creators_make_plain_arrays():
    def f(x):
        counts = np.zeros(3, int)
        counts[0] += 1
        assert all(type(made) is np.ndarray for made in (counts, np.array([1, 2]), np.ones(2, bool), np.asarray([1])))
        assert type(np.zeros(2)) is not np.ndarray and np.asarray(X) is X
        return x * counts[0]

    with rt.patched():
        assert type(np.zeros(3)) is np.ndarray
        rt.grad(lambda x: np.sum(f(x)))(X)
        assert type(np.zeros(3)) is np.ndarray


def test_the_mode_nests_and_survives_errors():
    with rt.patched():
        with pytest.raises(ZeroDivisionError), rt.patched():
            raise ZeroDivisionError
        assert np.zeros is not PLAIN["zeros"]
        rt.check_grads(zeros_filled, X)
    assert np.zeros is PLAIN["zeros"]


def test_the_mode_stays_on_until_it_is_turned_off_as_often():
    rt.patch()
    rt.patch()
    rt.unpatch()
    rt.check_grads(zeros_filled, X)
    rt.unpatch()
    with pytest.raises(RuntimeError, match="without a retape.patch"):
        rt.unpatch()


def test_what_somebody_else_has_replaced_since_stays():
    before = np.ones
    try:
        with rt.patched():
            np.ones = "theirs"
        assert np.ones == "theirs"
    finally:
        np.ones = before


def test_threads_without_a_transform_see_plain_creators():
    seen = []

    def f(x):
        worker = threading.Thread(target=lambda: seen.append(type(np.zeros(2))))
        worker.start()
        worker.join()
        return np.sum(np.zeros(2) + x[0])

    with rt.patched():
        rt.grad(f)(X)
    assert seen == [np.ndarray]


def test_many_threads_may_turn_the_mode_on_and_off_at_once():
    errors = []

    def work():
        try:
            for _ in range(20):
                with rt.patched():
                    np.testing.assert_allclose(rt.grad(lambda x: np.sum(zeros_filled(x)))(X)[0], X[3])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_nested_transforms_write_into_arrays_of_the_innermost():
    def inner(y, x):
        z = np.zeros(2)
        z[0], z[1] = x * y[0], y[1] ** 2
        return np.sum(z * z)

    def outer(x):
        return np.sum(rt.grad(inner)(np.array([1.5, 2.0]), x))

    with rt.patched():
        rt.check_grads(lambda x: outer(x), np.array(3.0), order=2)
        np.testing.assert_allclose(rt.grad(outer)(3.0), 2 * 2 * 3.0 * 1.5)


def test_scipys_functions_take_traced_arrays():
    linalg = pytest.importorskip("scipy.linalg")

    def f(x):
        return linalg.solve(np.outer(x, x) + 3 * np.eye(4), x)

    with rt.patched():
        rt.check_grads(f, X, order=2)


def test_compiled_code_that_asks_numpy_for_memory_gets_plain_arrays():
    def f(x):
        noise = np.random.default_rng(0).standard_normal(np.empty((4, 4)).shape)
        legacy = np.random.RandomState(0).uniform(np.zeros(4).shape[0] * 0.0, 1.0, np.ones(4).size)
        assert type(noise) is type(legacy) is np.ndarray
        return noise @ x + legacy

    with rt.patched():
        rt.check_grads(f, X)


def test_a_creator_reached_by_a_name_of_its_own_or_in_a_chain_is_the_patched_one():
    def f(x):
        xp, zeros = np, np.zeros
        a, b, c = xp.zeros(4), zeros((2, 2)).reshape(-1), np.zeros(shape=(4,), dtype=float).T
        for made in (a, b, c):
            made[1:] = x[1:]
        return a * b * c

    with rt.patched():
        rt.check_grads(f, X, order=2, tolerance=1e-5)
