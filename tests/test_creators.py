"""NumPy's creators given traced values: programs that call them by name work as they stand, and nothing else is changed."""

import functools
import threading

import numpy as np
import pytest
from numpy import array as an_array

import retape as rt

X = np.array([0.9, 1.4, 1.3, 0.7])
NAMES = ("array", "asarray", "asanyarray", "ascontiguousarray", "full", "full_like", "fromiter", "copy", "require")
PLAIN = {name: getattr(np, name) for name in NAMES} | {"call": np.vectorize.__call__}


def replaced():
    now = {name: getattr(np, name) for name in NAMES} | {"call": np.vectorize.__call__}
    return [name for name, function in PLAIN.items() if now[name] is not function]


@pytest.fixture(autouse=True)
def nothing_stays_replaced():
    yield
    assert replaced() == []


WORKING = {
    "an array of numbers": lambda x: np.array([x[0], 2.0, x[1] * x[2]]),
    "an array of rows": lambda x: np.array([[x[0], 1.0], [x[1], x[2] ** 2]]),
    "an array of arrays": lambda x: np.array((x, x * x, X)),
    "a copy": lambda x: np.array(x) * np.array(x, copy=True, ndmin=2),
    "an array of float32": lambda x: np.array([x[0], x[1]], dtype=np.float32).astype(float) * x[:2],
    "a comprehension": lambda x: np.array([v * v for v in x]),
    "asarray": lambda x: np.asarray(x) * np.asarray([v for v in x], dtype=float),
    "asanyarray": lambda x: np.asanyarray(x) ** 2,
    "a C order": lambda x: np.ascontiguousarray(np.outer(x, x[:2]).T).ravel("K") * np.arange(8.0),
    "a Fortran order": lambda x: np.asfortranarray(np.outer(x, x[:2])).ravel("K") * np.arange(8.0),
    "require": lambda x: np.require(x, float, ["C", "O"]) ** 2,
    "full": lambda x: np.full((2, 4), x) * np.full(4, x[0]),
    "full_like": lambda x: np.full_like(X, x[1]) * x,
    "fromiter": lambda x: np.fromiter((v * v for v in x), float),
    "fromiter of the first": lambda x: np.fromiter(iter(x), float, count=2),
    "a copy of a list": lambda x: np.copy([x[0], x[1]]) ** 2,
    "like a traced one": lambda x: np.array([x[0], x[1]], like=x) * np.full(2, x[2], like=x),
    "r_": lambda x: np.r_[x, 1.0, x[::-1], 1:3] ** 2,
    "c_": lambda x: np.c_[x, x * x] ** 2,
    "vectorize": lambda x: np.vectorize(lambda v: v * v if v > 1 else -v)(x),
    "nested": lambda x: np.array([rt.grad(lambda v: np.sum(np.array([v * v, v, x[0]]) ** 2))(x[1]), x[0]]),
}


@pytest.mark.parametrize("f", WORKING.values(), ids=WORKING)
def test_a_creator_that_a_program_calls_by_name_makes_a_traced_array(f):
    np.testing.assert_allclose(rt.vjp(f, X)[0], f(X), rtol=1e-14)
    if f is not WORKING["an array of float32"]:  # differences see its few digits
        rt.check_grads(f, X, order=2, tolerance=1e-5)
    plain, planned = rt.grad(lambda x: np.sum(f(x))), rt.grad(lambda x: np.sum(f(x)), memory_budget="64MiB")
    np.testing.assert_array_equal(planned(X), plain(X))


def test_joined_numbers_take_on_the_dtype_of_the_arrays_beside_them():
    x = X.astype(np.float32)
    for f in (lambda x: np.r_[x, 1.0], lambda x: np.r_[x, np.float64(1.0)], lambda x: np.c_[x, x], lambda x: np.r_[x, 1:3]):
        assert rt.vjp(f, x)[0].dtype == f(x).dtype
    assert rt.vjp(lambda x, y: np.r_[x, y], x, 2.0)[0].dtype == np.float32


def test_an_array_of_the_values_of_many_examples_is_made_for_each():
    def f(x, y):
        return np.sum(np.array([x, y * x]) ** 2)

    x, y = np.arange(3.0), np.ones(3) + 1
    np.testing.assert_array_equal(rt.vmap(f)(x, y), [f(a, b) for a, b in zip(x, y, strict=True)])
    np.testing.assert_array_equal(rt.vmap(rt.grad(f))(x, y), [rt.grad(f)(a, b) for a, b in zip(x, y, strict=True)])


REFUSED = {
    "map": lambda x: list(map(np.array, [x]))[0],
    "partial": lambda x: functools.partial(np.full, 3)(x[0]),
    "a name taken before": lambda x: an_array([x[0], x[1]]),
    "a function of a list": lambda x: np.sum([x[0], x[1]]),
}


@pytest.mark.parametrize("f", REFUSED.values(), ids=REFUSED)
def test_what_is_not_such_a_call_is_refused(f):
    with pytest.raises(rt.NotDifferentiableError, match=r"test_creators\.py:\d+"):
        rt.grad(lambda x: np.sum(f(x)))(X)


def test_an_error_of_the_items_own_is_not_taken_for_a_refusal():
    with pytest.raises(rt.NotDifferentiableError, match=r"float\(\)"):
        rt.grad(lambda x: np.sum(np.fromiter((float(v) for v in x), float)))(X)
    with pytest.raises(ValueError, match="inhomogeneous"):
        rt.grad(lambda x: np.sum(np.array([[1.0], [1.0, 2.0]]) * x[0]))(X)


def test_plain_values_make_plain_arrays_within_a_transform():
    def f(x):
        made = [np.array([1.0, 2.0]), np.asarray(X), np.full(3, 2.0), np.fromiter(iter([1.0]), float), np.r_[1.0, X]]
        assert all(type(array) is np.ndarray for array in made) and made[1] is X
        return np.sum(x)

    rt.grad(f)(X)


def test_the_creators_are_back_when_the_last_transform_has_ended():
    def f(x):
        assert set(replaced()) == set(PLAIN)
        rt.grad(lambda y: y * y)(1.0)
        assert set(replaced()) == set(PLAIN)
        return np.sum(x)

    rt.grad(f)(X)
    assert replaced() == []
    with pytest.raises(ZeroDivisionError):
        rt.grad(lambda x: 1 / 0)(X)


def test_a_transform_that_ends_leaves_the_creators_to_one_that_runs_in_another_thread():
    first_has_begun, second_has_ended, seen = threading.Event(), threading.Event(), []

    def f(x):
        first_has_begun.set()
        second_has_ended.wait(60)
        return np.sum(np.array([x, x]))

    worker = threading.Thread(target=lambda: seen.append(rt.grad(f)(X)))
    worker.start()
    first_has_begun.wait(60)
    assert type(np.array([1.0])) is np.ndarray
    np.testing.assert_array_equal(rt.grad(lambda x: np.sum(np.array([x])))(X), np.ones(4))
    second_has_ended.set()
    worker.join()
    np.testing.assert_array_equal(seen[0], 2 * np.ones(4))


def test_the_mode_of_writable_arrays_within_a_transform_gives_them_back_as_they_were():
    def f(x):
        with rt.patched():
            z = np.zeros(2)
            z[0] = x[0]
        return np.sum(np.array([z[0], x[1]]) ** 2)

    rt.check_grads(f, X, order=2)
