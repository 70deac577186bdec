"""Forms of reading and writing by index, and of np.take and np.take_along_axis."""

import numpy as np

from . import Form, cplx, real

ROWS = np.array([2, 0, 0])
MASK = np.array([[True, False, True], [False, True, True]])
COLUMNS = np.array([[1, 0], [2, 2]])


def written(index, scale=1.0):
    """A program that writes into an array by an index and returns it."""

    def f(x, value):
        y = x * x
        y[index] = value * scale
        return y * x

    return f


def taken_into(x):
    out = np.zeros_like(x, shape=(2, 2))
    assert np.take(x, [0, 1], axis=1, out=out) is out
    return out * out


FORMS = [
    *(
        Form("numpy.ndarray.__getitem__", text, lambda x, index=index: x[index] ** 2, (x,))
        for text, index, x in [
            ("a number", 1, real(3)),
            ("a negative number", (-1, -2), real(2, 3)),
            ("a slice", slice(1, None), real(3, 2)),
            ("a slice backwards", (slice(None, None, -2), slice(0, 2)), real(4, 3)),
            ("an ellipsis", (..., 0), real(2, 3, 2)),
            ("a new axis", (None, slice(None), None), real(3)),
            ("nothing", slice(2, 2), real(3)),
            ("of a scalar", (), real()),
            ("a list, with repeats", [2, 0, 2], real(3, 2)),
            ("an array, with repeats", ROWS, real(3, 2)),
            ("two arrays", (np.array([0, 1, 1]), np.array([2, 0, 0])), real(2, 3)),
            ("two arrays apart", (np.array([0, 1]), slice(None), np.array([2, 0])), real(2, 2, 3)),
            ("arrays that broadcast", (np.array([[0], [1]]), np.array([2, 0])), real(2, 3)),
            ("an array and a number", (slice(None), ROWS, 1), real(2, 3, 2)),
            ("a mask", MASK, real(2, 3)),
            ("a mask of rows", np.array([True, False]), real(2, 3)),
            ("complex", (slice(None), [1, 1]), cplx(2, 3)),
        ]
    ),
    *(
        Form("numpy.ndarray.__setitem__", text, written(index), (x, value))
        for text, index, x, value in [
            ("a number", 1, real(3), real()),
            ("a row, broadcast", 1, real(3, 2), real(2)),
            ("a slice", slice(1, None), real(3, 2), real(2, 2)),
            ("a slice of a slice", (slice(None, None, 2), slice(0, 1)), real(4, 3), real(2, 1)),
            ("an ellipsis", (..., 0), real(2, 3, 2), real(3)),
            ("everything", ..., real(2, 3), real(2, 3, seed=1)),
            ("a list", [2, 0], real(3, 2), real(2, 2)),
            ("arrays that broadcast", (np.array([[0], [1]]), np.array([2, 0])), real(2, 3), real(2, 2)),
            ("a mask", MASK, real(2, 3), real(4)),
            ("a mask, one value", MASK, real(2, 3), real()),
            ("complex", (slice(None), 1), cplx(2, 3), cplx(2)),
        ]
    ),
    Form("numpy.ndarray.__setitem__", "again and again", lambda x, v: written(0)(written([0, 1])(x, v), v),
         (real(3), real())),
    Form("numpy.take", "of everything", lambda x: np.take(x, ROWS) ** 2, (real(2, 3),)),
    Form("numpy.take", "of a number", lambda x: np.take(x[1], [0, 0], axis=0) ** 2, (real(3),)),
    Form("numpy.take", "along an axis", lambda x: np.take(x, ROWS, axis=0) ** 2, (real(3, 2),)),
    Form("numpy.take", "along a negative axis, indices of two axes", lambda x: np.take(x, COLUMNS, axis=-1) ** 2,
         (real(2, 3),)),
    Form("numpy.take", "one place", lambda x: np.take(x, 1, axis=1) ** 2, (real(2, 3, 2),)),
    Form("numpy.take", "places beyond the ends, wrapped", lambda x: np.take(x, [-4, 5, 1], axis=0, mode="wrap") ** 2,
         (real(3, 2),)),
    Form("numpy.take", "places beyond the ends, clipped", lambda x: np.take(x, [-4, 5, 1], mode="clip") ** 2, (real(3, 2),)),
    Form("numpy.take", "into an array", taken_into, (real(2, 3),)),
    Form("numpy.take", "no place", lambda x: np.take(x, np.zeros(0, int), axis=1), (real(2, 3),)),
    Form("numpy.take", "complex", lambda x: np.take(x, ROWS, axis=0) ** 2, (cplx(3, 2),)),
    Form("numpy.take_along_axis", "along the last axis", lambda x: np.take_along_axis(x, COLUMNS, -1) ** 2, (real(2, 3),)),
    Form("numpy.take_along_axis", "along the first axis", lambda x: np.take_along_axis(x, COLUMNS[:, :1], axis=0) ** 2,
         (real(3, 1),)),
    Form("numpy.take_along_axis", "of everything", lambda x: np.take_along_axis(x, np.array([5, 0, 0]), None) ** 2,
         (real(2, 3),)),
    Form("numpy.take_along_axis", "by an order of its own", lambda x: np.take_along_axis(x, np.argsort(x, 0), axis=0) ** 2,
         (real(3, 2),)),
    Form("numpy.take_along_axis", "indices that broadcast", lambda x: np.take_along_axis(x, np.array([[1, 0]]), axis=1) ** 2,
         (real(3, 2),)),
]  # fmt: skip
