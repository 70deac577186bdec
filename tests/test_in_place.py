"""Writes in place: what they cost, what they refuse, and random programs of views and writes against plain NumPy."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import retape as rt
from retape.runtime.op import OPS

X = np.array([0.9, -0.4, 1.3, 0.7])


@pytest.fixture
def copied(monkeypatch):
    """Counts the bytes of the arrays that ops which write copy instead of overwriting, and that are copied as a whole."""
    count = {"bytes": 0}
    before = {}
    for name in ("setitem", "erase", "index_add", "copy"):
        op = OPS[name]
        before[name] = op.run

        def counting(x, *rest, _run=op.run, **parameters):
            count["bytes"] += np.asarray(x).nbytes
            return _run(x, *rest, **parameters)

        object.__setattr__(op, "run", counting)
    yield count
    for name, run in before.items():
        object.__setattr__(OPS[name], "run", run)


def elements(x):
    z = rt.numpy.zeros(x.shape)
    z[0] = x[0]
    for i in range(1, len(x)):
        z[i] = 0.5 * z[i - 1] + x[i] * x[i]
    return np.sum(z * z)


def elements_added_to(x):
    z = rt.numpy.zeros(x.shape)
    for i in range(len(x)):
        z[i] += x[i] * x[i - 1]
        z[i] *= x[i]
    return np.sum(z * z)


def rows(x):
    u = rt.numpy.zeros((len(x), 4))
    u[0] = x[:4]
    for t in range(len(x) - 1):
        u[t + 1] = np.tanh(u[t] * x[t])
    return np.sum(u * u)


def rows_that_are_kept(x):
    u = rt.numpy.zeros((len(x), 4))
    u[0] = x[:4]
    history = []
    for t in range(len(x) - 1):
        history.append(u[t])
        u[t + 1] = np.tanh(history[-1] * x[t])
    return np.sum(u * u) + sum(np.sum(row) for row in history)


def elements_of_views_of_views(x):
    z = rt.numpy.zeros(x.shape)
    inner, flat = z[1:-1], z.reshape(-1, 1)
    for i in range(len(x) - 2):
        inner[i] = x[i] * x[i + 1]
        flat[i, 0] += x[i]
    return np.sum(z * inner.sum())


def elements_of_rows(x):
    z = rt.numpy.zeros((len(x) // 16, 16))
    for i in range(len(z)):
        for j in range(16):
            z[i][j] = x[16 * i + j] * x[j]
    return np.sum(z * z)


def two_halves_in_turn(x):
    z = rt.numpy.zeros(x.shape)
    left, right = np.split(z, 2)
    for i in range(len(left)):
        left[i] = x[i] ** 2
        right[i] = left[i] * x[-i]
    return np.sum(z * z)


def additions_at_places(x):
    z = rt.numpy.zeros(x.shape)
    for i in range(len(x)):
        np.add.at(z, [i], x[i] * x[i])
    return np.sum(z * z)


def rows_iterated_over(x):
    z = x * 1.0
    for row in z.reshape(-1, 4):
        row *= 2.0
        row[0] = row[1] * row[2]
    return np.sum(z * z)


def an_argument(x):
    for i in range(1, len(x)):
        x[i] += 0.5 * x[i - 1]
    return np.sum(x * x)


def bounded(f, x):
    return rt.grad(f, memory_budget="16MiB")(x)


def bounded_again(f, x):
    gradient = rt.grad(f, memory_budget="16MiB")
    gradient(x)
    return gradient(x)


LOOPS = [
    elements, elements_added_to, rows, rows_that_are_kept, elements_of_views_of_views, elements_of_rows,
    two_halves_in_turn, additions_at_places, rows_iterated_over, an_argument,
]  # fmt: skip
WAYS = {
    "reverse": lambda f, x: rt.grad(f)(x),
    "forward": lambda f, x: rt.jvp(f, (x,), (np.ones_like(x),))[1],
    "forward over reverse": lambda f, x: rt.hvp(f, (x,), (np.ones_like(x),))[0],
    "reverse over reverse": lambda f, x: rt.grad(lambda x: np.sum(rt.grad(f)(x) ** 2))(x),
    "under a budget": bounded,
    "under a budget, planned": bounded_again,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__)
def test_a_loop_of_writes_copies_a_few_arrays_however_long_it_is(f, way, copied):
    arrays = []
    for count in (32, 128):
        x = 0.5 * np.cos(np.arange(count))
        copied["bytes"] = 0
        WAYS[way](f, x)
        arrays.append(copied["bytes"] / x.nbytes)
    assert arrays[1] <= 1.25 * arrays[0] + 4


@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__)
def test_loops_of_writes_have_the_derivatives_of_finite_differences(f):
    x = 0.5 * np.cos(np.arange(16.0))
    rt.check_grads(lambda x: f(x * 1.0), x, order=2, tolerance=1e-5)
    np.testing.assert_array_equal(bounded_again(f, x), rt.grad(f)(x))


def write_an_element(z, x):
    z[0] = x[0]


def write_a_row(z, x):
    z[:] = x


def write_through_a_mask(z, x):
    z[z == 0] = x


def add_in_place(z, x):
    z += x


def add_to_a_part(z, x):
    z[1:] += x[1:]


INTO_PLAIN = [
    write_an_element, write_a_row, write_through_a_mask, add_in_place, add_to_a_part,
    lambda z, x: np.copyto(z, x), lambda z, x: np.copyto(z, 1.0, where=x), lambda z, x: np.put(z, [0], x[0]),
    lambda z, x: np.place(z, z == 0, x), lambda z, x: np.putmask(z, z == 0, x),
    lambda z, x: np.put_along_axis(z, np.array([0]), x[:1], 0), lambda z, x: np.fill_diagonal(z.reshape(2, 2), x[:2]),
    lambda z, x: np.add.at(z, [0], x[0]), lambda z, x: np.multiply.at(z, [0], x[0]), lambda z, x: np.multiply(x, x, out=z),
    lambda z, x: np.cumsum(x, out=z), lambda z, x: z.fill(x[0]), lambda z, x: float(x[0]),
]  # fmt: skip


@pytest.mark.parametrize("write", INTO_PLAIN)
@pytest.mark.parametrize("budget", [None, "16MiB"])
def test_a_traced_value_for_a_plain_array_names_the_line_and_the_cure(write, budget):
    def f(x):
        z = np.zeros(4)
        write(z, x)
        return np.sum(x)

    cure = r"\(test_in_place\.py:\d+\).*retape\.numpy.*retape\.patched\(\)"
    with pytest.raises(rt.NotDifferentiableError, match=cure):
        rt.grad(f, memory_budget=budget)(X)


def test_a_traced_value_in_a_plain_array_is_an_error_in_forward_mode_and_when_nested_too():
    def f(x):
        z = np.zeros(4)
        z[0] = x[0]
        return np.sum(z)

    for run in (lambda: rt.jvp(f, (X,), (X,)), lambda: rt.hvp(f, (X,), (X,)), lambda: rt.jacobian(f)(X)):
        with pytest.raises(rt.NotDifferentiableError, match="retape.numpy"):
            run()


@pytest.mark.parametrize(
    "view",
    [
        lambda y: np.broadcast_to(y, (2, 4)), lambda y: np.diagonal(y.reshape(2, 2)), lambda y: np.broadcast_to(y[0], 4)[1:],
        lambda y: np.lib.stride_tricks.sliding_window_view(y, 2),
    ],
)  # fmt: skip
def test_a_view_that_is_read_only_in_numpy_is_read_only_here(view):
    for write in (lambda v: v.__setitem__(0, 1.0), lambda v: v.__iadd__(1.0)):
        with pytest.raises(ValueError):
            write(view(X.copy()))
        with pytest.raises(ValueError, match="read-only"):
            rt.vjp(lambda x, write=write: (write(view(x * 1.0)), x)[1], X)


WRONG = [
    lambda y: y.__setitem__(0, 1j), lambda y: y.__setitem__(0, "word"), lambda y: y.__setitem__(slice(0, 2), np.ones(3)),
    lambda y: y.__setitem__(9, 1.0), lambda y: y.__setitem__([0, 9], 1.0), lambda y: y.__setitem__(np.zeros(3, bool), 1.0),
    lambda y: np.copyto(y, 1j * y), lambda y: np.copyto(y, np.ones(3)), lambda y: np.copyto(y, 1.0, where=y),
    lambda y: np.put(y, [4], 1.0), lambda y: np.put(y, [0], 1.0, mode="none"), lambda y: np.put(y, np.array([0.5]), 1.0),
    lambda y: np.place(y, [True], 1.0), lambda y: np.place(y, y > 0, []), lambda y: np.putmask(y, [True], 1.0),
    lambda y: np.put_along_axis(y, np.array([0.5]), 1.0, 0), lambda y: np.put_along_axis(y, np.array([[0]]), 1.0, 0),
    lambda y: np.put_along_axis(y, np.array([0]), 1.0, 1), lambda y: np.put_along_axis(y, np.array([9]), 1.0, None),
    lambda y: np.fill_diagonal(y, 1.0), lambda y: np.fill_diagonal(np.reshape(y, (1, 2, 2)), 1.0),
    lambda y: np.put_along_axis(y, np.array([[0]]), 1.0, None), lambda y: y.flat.__setitem__(9, 1.0),
]  # fmt: skip


@pytest.mark.parametrize("write", WRONG)
def test_what_numpy_does_not_write_raises_the_same_type_here(write):
    with pytest.raises(Exception) as plain:  # noqa: B017
        write(X.copy())
    with pytest.raises(type(plain.value)):
        rt.vjp(lambda x: (write(x * 1.0), x)[1], X)


def test_a_complex_array_written_into_a_real_one_warns_as_numpy_does():
    for run in (lambda f: f(X.copy()), lambda f: rt.vjp(f, X)):
        with pytest.warns(np.exceptions.ComplexWarning):
            run(lambda x: (x * 1.0).__setitem__(slice(None), np.ones(4) * 1j))


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_a_generator_shuffles_numbers_as_ever_and_refuses_rows(make):
    def f(x, size):
        y = np.reshape(x * x, size)
        make(0).shuffle(y)
        return y * y

    with pytest.warns(UserWarning, match="Sequence"):
        traced = rt.vjp(lambda x: f(x, 4), X)[0]
    np.testing.assert_array_equal(traced, f(X, 4))
    with pytest.raises(rt.NotDifferentiableError, match="permutation"), pytest.warns(UserWarning, match="Sequence"):
        rt.vjp(lambda x: f(x, (4, 1)), X)


def test_rows_exchanged_by_assignment_are_lost_as_in_numpy():
    def f(x):
        y = np.outer(x, x)
        y[0], y[1] = y[1], y[0]
        return y

    np.testing.assert_array_equal(rt.vjp(f, X)[0], f(X))


def change(x):
    x[0] = x[1] * 2.0
    x *= 3.0
    x[1:].sort()
    np.put(x, [2], x[3])
    return x * x


def test_no_transform_changes_an_array_that_it_was_given():
    arrays = [X.copy() for _ in range(3)]
    x, t, w = arrays
    total = lambda x: np.sum(change(x))  # noqa: E731
    rt.grad(total)(x)
    rt.value_and_grad(total, memory_budget="16MiB")(x)
    rt.jvp(change, (x,), (t,))
    rt.hvp(total, (x,), (t,))
    rt.vjp(change, x)[1](w)
    rt.linearize(change, x)[1](t)
    rt.jacobian(change)(x)
    rt.hessian(total)(x)
    rt.grad(rt.checkpoint(total))(x)
    for array in arrays:
        np.testing.assert_array_equal(array, X)


def test_a_function_that_writes_into_its_argument_has_the_derivatives_of_one_that_does_not():
    pure = lambda x: change(x * 1.0)  # noqa: E731
    for mode in ("forward", "reverse"):
        np.testing.assert_array_equal(rt.jacobian(change, mode=mode)(X), rt.jacobian(pure, mode=mode)(X))
    np.testing.assert_array_equal(rt.vjp(change, X)[1](X)[0], rt.vjp(pure, X)[1](X)[0])
    np.testing.assert_array_equal(rt.linearize(change, X)[1](X), rt.linearize(pure, X)[1](X))
    np.testing.assert_array_equal(rt.jvp(change, (X,), (X,))[1], rt.jvp(pure, (X,), (X,))[1])


def test_a_number_as_argument_is_not_written_to_and_an_array_without_dimensions_is():
    def f(x):
        y = x
        x += 1.0
        return y * x

    for number in (2.0, np.float64(2.0), np.array(2.0)):
        before = number.copy() if isinstance(number, np.ndarray) else number
        expected = f(before)
        for value in (rt.value_and_grad(f)(number)[0], rt.vjp(f, number)[0], rt.jvp(f, (number,), (1.0,))[0]):
            assert value == expected
        assert rt.value_and_grad(f, memory_budget="16MiB")(number)[0] == expected


def test_a_write_that_fails_leaves_views_as_they_were():
    def f(x):
        y = x * x
        view = y.reshape(2, 2)
        with pytest.raises(ValueError):
            y[:2] = np.ones(3)
        with pytest.raises(IndexError):
            view[5] = 1.0
        return y * np.ravel(view)

    rt.check_grads(f, X)


NUMBERS = [
    ("a product", lambda x: x @ x),
    ("matmul", lambda x: np.matmul(x, x)),
    ("vecdot", lambda x: np.vecdot(x, x)),
    ("dot", lambda x: np.dot(x, x)),
    ("tensordot, an array", lambda x: np.tensordot(x, x, 1)),
    ("cov, an array", lambda x: np.cov(x)),
    ("einsum", lambda x: np.einsum("i,i", x, x)),
    ("a sum", lambda x: x.sum()),
    ("a norm", lambda x: np.linalg.norm(x)),
    ("an element", lambda x: x[1]),
    ("an element's transpose", lambda x: x[1].T),
    ("a vector of one, squeezed", lambda x: np.squeeze(x[:1])),
    ("a choice, an array", lambda x: np.where(x[0] > 0, x[0], 1.0)),
    ("a trace", lambda x: np.trace(np.outer(x, x))),
    ("a median", lambda x: np.median(x)),
]  # fmt: skip


@pytest.mark.parametrize("budget", [None, "64MiB"], ids=["plainly", "under a budget"])
@pytest.mark.parametrize(("name", "f"), NUMBERS, ids=[case[0] for case in NUMBERS])
def test_an_update_of_a_number_is_seen_by_another_name_for_it_where_numpy_has_an_array(name, f, budget):
    def program(x):
        y = f(x)
        z = y
        y *= 2
        return z * 1.0 + np.sum(x)

    assert rt.value_and_grad(program, memory_budget=budget)(X.copy())[0] == pytest.approx(program(X.copy()), rel=1e-13)


def test_a_number_is_not_filled():
    def f(x):
        squares = x @ x
        squares.fill(0.4)
        return squares

    np.testing.assert_allclose(rt.vjp(f, X)[0], f(X), rtol=1e-15)
    rt.check_grads(f, X)


VIEWS = [
    lambda a: a[1:], lambda a: a[::2], lambda a: a[::-1], lambda a: a[0], lambda a: a[..., -1], lambda a: a[None],
    lambda a: a.T, lambda a: a.reshape(-1), lambda a: a.reshape(2, -1), lambda a: np.swapaxes(a, 0, -1),
    lambda a: a[..., 1:][..., ::-1], lambda a: np.array_split(a, 2)[1], lambda a: a * 1.1, lambda a: a.copy(),
    lambda a: np.sum(a, axis=0), lambda a: a[[0, 0, 1]], lambda a: np.copy(a, order="F"), lambda a: a.ravel("F"),
]  # fmt: skip
WRITES = [
    lambda a, b: a.__setitem__(..., 0.7), lambda a, b: a.__setitem__(0, np.mean(b)), lambda a, b: a.__imul__(0.9),
    lambda a, b: a.__setitem__(slice(1, None), a[:-1]), lambda a, b: a.__setitem__(..., a[::-1]),
    lambda a, b: a.__setitem__(slice(None, None, 2), b[::2]), lambda a, b: a.__iadd__(b), lambda a, b: a.__iadd__(np.mean(b)),
    lambda a, b: a.__setitem__(a > 0.5, np.mean(b)), lambda a, b: a.__setitem__([0, 1], a[[1, 0]]),
    lambda a, b: np.add.at(a, [0, 0, 1], 0.3), lambda a, b: np.sin(a, out=a), lambda a, b: np.copyto(a, b, where=b > 0),
    lambda a, b: a[..., 0].__setitem__(..., 0.3), lambda a, b: np.multiply(a[0], b[0], out=a[-1]),
    lambda a, b: np.put(a, [0, -1], b), lambda a, b: a.T.__setitem__(0, np.mean(b)), lambda a, b: a.sort(0),
    lambda a, b: a.__setitem__(0, a[-1]), lambda a, b: a.flat.__setitem__(1, np.mean(b)),
]  # fmt: skip
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("view"), st.integers(0, len(VIEWS) - 1), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("write"), st.integers(0, len(WRITES) - 1), st.integers(0, 99), st.integers(0, 99)),
    ),
    min_size=2,
    max_size=9,
)


def take(step, held):
    kind, number, a, b = step
    if kind == "view":
        held.append(VIEWS[number](held[a % len(held)]))
    else:
        WRITES[number](held[a % len(held)], held[b % len(held)])


def fitting(steps, x, v):
    """The steps that plain NumPy takes; what it refuses halfway is left out."""
    kept = []
    for step in steps:
        held = [x * 1.0, v * 1.0]
        try:
            for earlier in (*kept, step):
                if earlier[0] == "write" and not isinstance(held[earlier[2] % len(held)], np.ndarray):
                    raise TypeError("numbers are not written to")
                take(earlier, held)
        except (ValueError, IndexError, TypeError, AttributeError, RuntimeWarning):
            continue
        kept.append(step)
    return kept


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS)
def test_random_programs_of_views_and_writes_are_those_of_numpy(steps):
    generator = np.random.default_rng(0)
    x, v = generator.standard_normal((3, 4)), generator.standard_normal(4)
    steps = fitting(steps, x, v)

    def f(x, v):
        held = [x * 1.0, v * 1.0]
        for step in steps:
            take(step, held)
        return [np.sin(a) for a in held]

    plain = f(x, v)
    for a, b in zip(plain, rt.vjp(f, x, v)[0], strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-13, atol=1e-13)
    rt.check_grads(f, x, v, order=1, tolerance=1e-5)
    rt.check_grads(rt.grad(lambda x, v: sum(np.sum(a) for a in f(x, v)), (0, 1)), x, v, modes=["rev"], tolerance=1e-5)
    total = lambda x, v: sum(np.sum(a * a) for a in f(x, v))  # noqa: E731
    expected = rt.grad(total, (0, 1))(x, v)
    bounded = rt.grad(total, (0, 1), memory_budget="16MiB")
    for _ in range(2):
        for a, b in zip(expected, bounded(x, v), strict=True):
            np.testing.assert_array_equal(a, b)
