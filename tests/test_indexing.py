"""Reading and writing by index: NumPy's own values, and gradients that agree with finite differences."""

import numpy as np
import pytest
from test_ops import agrees_with_numpy, real

import retape as rt

X = real(4, 5, 3)
ROWS = np.array([3, 0, 0, -1])
MASK = real(4, 5, seed=7) > 0

READS = [
    ("an integer", np.s_[1]), ("a negative integer", np.s_[-1]), ("a NumPy integer", np.int64(2)),
    ("a slice", np.s_[1:3]), ("an open slice", np.s_[:-1]), ("a negative step", np.s_[::-1]),
    ("a step over an end", np.s_[3:0:-2]), ("an empty slice", np.s_[2:2]),
    ("several slices", np.s_[1:, ::2, -1]),
    ("an ellipsis", np.s_[..., 1]), ("an ellipsis in the middle", np.s_[0, ..., 1:]),
    ("only an ellipsis", np.s_[...]),
    ("a new axis", np.s_[:, None]), ("new axes around an ellipsis", np.s_[None, ..., None]),
    ("nothing", ()), ("a full set of integers", np.s_[1, 2, 0]), ("integers out of a list", [2, 0, 2]),
    ("repeated rows", ROWS), ("a matrix of rows", ROWS.reshape(2, 2)), ("a mask of two axes", MASK),
    ("a mask of one axis", np.array([True, False, True, True])), ("an empty mask", np.zeros(4, bool)),
    ("an empty list", []), ("two index arrays", (ROWS, np.array([0, 4, 4, 1]))),
    ("broadcast index arrays", (ROWS[:, None], np.array([0, 2]))), ("an array after a slice", np.s_[:, ROWS]),
    ("an array and an integer", (ROWS, 2)), ("an integer and an array", (1, ROWS)),
    ("arrays parted by a slice", (ROWS, slice(None), np.array([0, 2, 2, 1]))),
    ("an integer and an array parted by a slice", (1, slice(1, 4), np.array([0, 2]))),
    ("an array after an ellipsis", (Ellipsis, np.array([2, 2, 0]))),
    ("an array, a new axis and a slice", (ROWS, None, slice(0, 2))),
    ("a mask and an integer", (MASK, 1)),
    ("a slice and a mask", (slice(1, 3), np.array([True, False, True, False, True]))),
    ("a mask and an array", (np.array([True, False, True, False]), np.array([1, 4]))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "index"), READS, ids=[case[0] for case in READS])
def test_reading_by_index_equals_numpy(name, index):
    np.testing.assert_array_equal(agrees_with_numpy(lambda x: x[index], X), X[index])
    rt.check_grads(lambda x: x[index] ** 2 * 3, X, order=2)


@pytest.mark.parametrize(("name", "index"), READS, ids=[case[0] for case in READS])
def test_writing_by_index_equals_numpy(name, index):
    def assign_scalar(x, v):
        y = x * x
        y[index] = v
        return y * x

    def assign_array(x, v):
        y = x * x
        y[index] = v * np.arange(np.size(X[index])).reshape(np.shape(X[index]))
        return y * x

    def scale(x, v):
        y = x * x
        y[index] *= v
        y[index] += x[index]
        return y * x

    for f in (assign_scalar, assign_array, scale):
        agrees_with_numpy(f, X, np.float64(1.5))
        rt.check_grads(f, X, np.float64(1.5), order=2)


@pytest.mark.parametrize(("name", "index"), READS, ids=[case[0] for case in READS])
def test_adding_at_an_index_equals_numpy(name, index):
    def f(x, v):
        y = x * x
        np.add.at(y, index, v * x[index])
        return y * x

    agrees_with_numpy(f, X, np.float64(1.5))
    rt.check_grads(f, X, np.float64(1.5), order=2)


def test_indices_and_masks_may_be_computed_from_traced_values():
    def f(x):
        rows = np.argsort(x[:, 0])
        y = x[rows][:2]
        y[y > 0.1] *= 2.0
        return y[np.nonzero(y)] * x[np.argmax(x[:, 1]), 0] + x[np.where(x[:, 0] > 5)].sum()

    agrees_with_numpy(f, real(4, 3))
    rt.check_grads(f, real(4, 3), order=2)


def test_a_gather_adds_up_the_gradients_of_repeated_rows():
    table = real(5, 2)
    gradient = rt.grad(lambda t: np.sum(t[[1, 1, 3, 1]]))(table)
    np.testing.assert_array_equal(gradient, [[0, 0], [3, 3], [0, 0], [1, 1], [0, 0]])


@pytest.mark.parametrize("index", [7, -5, (0, 9), np.array([0, 4]), np.zeros(3, bool), 1.5, (0, 0, 0, 0)])
def test_a_wrong_index_raises_an_index_error_as_in_numpy(index):
    with pytest.raises(IndexError):
        X[index]
    with pytest.raises(IndexError):
        rt.vjp(lambda x: x[index], X)


def assign_one(x):
    y = np.zeros(4) + x[0] * 0
    y[1] = x[2] * x[3]
    y[-1] = 5.0
    return y


def assign_in_a_loop(x):
    y = np.zeros_like(x)
    y[0] = x[0]
    for k in range(1, len(x)):
        y[k] = 0.5 * y[k - 1] * y[k - 1] + x[k]
    return y


def assign_slices(x):
    y = rt.numpy.full((3, 4), x[0])
    y[1] = x
    y[:, 1:3] *= 2
    y[::2, ::-1] += x * x
    return y


def assign_a_broadcast(x):
    y = np.zeros((3, 4)) + x
    y[:, 0] = x[1]
    y[1:] = x[None] ** 2
    return y


def assign_through_a_mask(x):
    y = x * 1.0
    y[x > 0] += x[x > 0] ** 2
    y[x <= 0] = 0.0
    return y * x


def views_of_views(x):
    y = np.zeros((4, 4)) + x
    inner = y[1:][:, 1:]
    inner[0] *= x[0]
    column = inner[:, 1]
    column[1:] = x[1] ** 2
    return y * np.sum(column)


def a_view_sees_a_write_to_its_base(x):
    y = x * x
    view = y[1:3]
    y[2] = x[0] * 3
    y *= 2.0
    return view * x[3]


def a_base_sees_a_write_to_its_view(x):
    y = x * x
    view = y[::-1]
    view[0] = x[1] * x[2]
    view += 1.0
    return y


def two_views_overlap(x):
    y = x * x
    a, b = y[:3], y[1:]
    a *= x[0]
    b += a.sum()
    return a * b


def views_by_shape(x):
    y = np.outer(x, x)
    flat = y.reshape(-1)
    flat[::5] = 0.0
    turned = y.T
    turned[1] = x
    y.swapaxes(0, 1)[2, 3] += x[0]
    np.squeeze(y[None])[0, 0] = x[1] ** 2
    return flat * turned.sum()


def a_copy_is_not_written(x):
    y = x * x
    copies = [y.copy(), +y, y.flatten(), y[[0, 1, 2, 3]], y.astype(np.float64), np.concatenate([y])]
    copies += [np.roll(y, 0), y.reshape((2, 2), copy=True), np.clip(y, None, None), np.pad(y, 0), y.T.copy()]
    y[:] = 7.0
    y += x
    return y + sum(np.ravel(c) for c in copies)


def a_reshape_of_strided_memory_is_a_copy(x):
    y = np.outer(x, x)
    flat = y.T.reshape(-1)
    part = y[:, :2].reshape(-1)
    y[0] = 9.0
    flat *= 2.0
    return flat.sum() + part * y.sum()


def a_diagonal_and_a_broadcast_are_views(x):
    y = np.outer(x, x)
    diagonal, spread = np.diagonal(y), np.broadcast_to(y[0], (2, 4))
    y[0] = x
    y[1, 1] = x[3]
    return diagonal * spread


def rows_of_a_loop(x):
    y = np.outer(x, x)
    for row in y:
        row /= np.sum(row * row)
    for row, number in zip(y, x, strict=True):
        row[1:] = number
    return y


def a_name_kept_before_an_in_place_operator(x):
    y = x * x
    same = y
    y += x
    y *= same
    return same


def out_arguments(x):
    y = np.zeros_like(x)
    np.multiply(x, x, out=y)
    np.add(y[1:], x[:-1], out=y[1:])
    np.exp(y, out=y)
    return y


def filled_and_sorted(x):
    y = x * x
    y.sort()
    z = np.empty_like(y)
    z.fill(x[0])
    z[1:] = y[1:]
    return z


def integer_buffers_hold_counts(x):
    counts = np.zeros_like(x, dtype=int)
    counts[1] = 2
    counts[x > 0] += 1
    return counts * x


def a_swap(x):
    y = x * x
    y[0], y[1] = y[1] * 1.0, y[0] * 1.0
    y[[2, 3]] = y[[3, 2]]
    return y


def a_value_written_twice(x):
    y = x * 1.0
    y[0] = x[1] * 2
    z = y * y
    y[0] = x[2] * 3
    return z + y * y


def a_stencil(x):
    u = np.outer(x, x)
    for _ in range(3):
        u[1:-1, 1:-1] += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
    return u


IN_PLACE = [
    assign_one, assign_in_a_loop, assign_slices, assign_a_broadcast, assign_through_a_mask, views_of_views,
    a_view_sees_a_write_to_its_base, a_base_sees_a_write_to_its_view, two_views_overlap, views_by_shape,
    a_copy_is_not_written, a_reshape_of_strided_memory_is_a_copy, a_diagonal_and_a_broadcast_are_views,
    rows_of_a_loop, a_name_kept_before_an_in_place_operator, out_arguments, filled_and_sorted,
    integer_buffers_hold_counts, a_swap, a_value_written_twice, a_stencil,
]  # fmt: skip


@pytest.mark.parametrize("f", IN_PLACE, ids=lambda f: f.__name__)
def test_programs_that_write_in_place_equal_numpy_and_finite_differences(f):
    x = np.array([0.9, -0.4, 1.3, 0.7])
    before = x.copy()
    agrees_with_numpy(f, x)
    rt.check_grads(f, x, order=2, tolerance=1e-5)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("f", IN_PLACE, ids=lambda f: f.__name__)
def test_programs_that_write_in_place_have_the_same_gradient_under_checkpoint_and_under_a_budget(f):
    x = np.array([0.9, -0.4, 1.3, 0.7])
    expected = rt.grad(lambda x: np.sum(f(x) ** 2))(x)
    np.testing.assert_array_equal(rt.grad(lambda x: np.sum(rt.checkpoint(f)(x) ** 2))(x), expected)
    bounded = rt.grad(lambda x: np.sum(f(x) ** 2), memory_budget="1MiB")
    np.testing.assert_array_equal(bounded(x), expected)
    np.testing.assert_array_equal(bounded(x), expected)


def test_a_function_that_writes_into_its_argument_leaves_the_callers_array_alone():
    def f(x):
        x[0] = x[1] * 2
        x *= 3
        return np.sum(x * x)

    x = np.array([1.0, 2.0])
    gradient = rt.grad(f)(x)
    np.testing.assert_array_equal(x, [1.0, 2.0])
    np.testing.assert_array_equal(gradient, [0.0, 9 * 2 * (2.0 + 8.0)])


def test_a_write_of_an_outer_value_into_an_inner_buffer_reaches_both_levels():
    def inner(y, x):
        buffer = np.zeros_like(y)
        buffer[0] = x * y[0]
        buffer[1] = x**2
        return np.sum(buffer * y)

    def outer(x):
        return np.sum(rt.grad(inner)(np.array([1.5, 2.0]), x))

    assert rt.grad(outer)(3.0) == pytest.approx(2 * 1.5 + 2 * 3.0)


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda y: y.__setitem__(slice(0, 2), np.ones(3)), ValueError),
        (lambda y: y.__iadd__(np.ones((2, 4))), ValueError),
        (lambda y: y.__setitem__(9, 1.0), IndexError),
        (lambda y: np.zeros_like(y, dtype=int).__iadd__(y), TypeError),
    ],
)
def test_a_write_that_does_not_fit_raises_as_in_numpy(write, error):
    for run in (lambda x: write(x * 1), lambda x: rt.vjp(lambda x: write(x * 1), x)):
        with pytest.raises(error):
            run(real(4))
