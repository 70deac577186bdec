"""Forms of choosing by conditions, of applying functions piece by piece, and of grids."""

import numpy as np

from . import Form, cplx, inside, real

X, Y = real(2, 3), real(2, 3, seed=1)


def scaled_power(v, a, b):
    """A function with arguments."""
    return v**a * b


def squared(v):
    """A matrix of a vector."""
    return np.outer(v, v)


FORMS = [
    Form("numpy.select", "two conditions", lambda x: np.select([x > 0.5, x < -0.5], [x**2, x**3], x), (X,)),
    Form("numpy.select", "a number by default", lambda x: np.select([x > 0.5, x < -0.5], [x**2, 3], 7), (X,)),
    Form("numpy.select", "the first wins", lambda x: np.select([x > -9, x > 0], [x**2, x]), (X,)),
    Form("numpy.select", "broadcasting", lambda a, b: np.select([a > 0, b > 0], [b, a * b], a), (real(3, 1), real(2))),
    Form("numpy.select", "a plain condition", lambda x: np.select([np.eye(2, 3) > 0], [x * x], -x), (X,)),
    Form("numpy.select", "complex", lambda x: np.select([np.array([True, False])], [x * x], 1j), (cplx(2),)),
    Form("numpy.choose", "of a list", lambda a, b: np.choose([[0, 1, 0], [1, 1, 0]], [a * a, b * a]), (X, Y)),
    Form("numpy.choose", "of an array", lambda a, b: np.choose([1, 0, 1], a * b), (X, Y)),
    Form("numpy.choose", "broadcasting", lambda a, b: np.choose([[0], [1]], [a[0] ** 2, b[0, 0]]), (X, Y)),
    Form("numpy.choose", "with a number", lambda a, b: np.choose([0, 1, 0], [a[0] * b[0], 2.0]), (X, Y)),
    Form("numpy.choose", "wrapping", lambda a, b: np.choose([3, -1, 4], [a[0] ** 2, b[0]], mode="wrap"), (X, Y)),
    Form("numpy.choose", "clipping", lambda a, b: np.choose([3, -1, 4], [a[0] ** 2, b[0]], mode="clip"), (X, Y)),
    Form("numpy.choose", "by traced truths", lambda a, b: np.choose((a > 0).astype(int), [a * b, b**2]), (X, Y)),
    Form("numpy.choose", "into out", lambda a, b: np.choose([0, 1, 0], [a[0], b[0]], out=np.zeros_like(a[0])) ** 2, (X, Y)),
    Form("numpy.piecewise", "functions", lambda x: np.piecewise(x, [x < 0, x >= 0], [lambda v: v**2, lambda v: v**3]), (X,)),
    Form("numpy.piecewise", "otherwise", lambda x: np.piecewise(x, [x < -0.5, x > 0.5], [-1, np.exp, np.sin]), (X,)),
    Form("numpy.piecewise", "one condition", lambda x: np.piecewise(x, x > 0, [np.sin, np.cos]), (real(4),)),
    Form("numpy.piecewise", "a list of truths", lambda x: np.piecewise(x, [True, False, True], [np.sin, np.cos]), (real(3),)),
    Form("numpy.piecewise", "with arguments", lambda x: np.piecewise(x, [x > 0], [scaled_power, 0], 2, b=3.0), (X,)),
    Form("numpy.piecewise", "of a scalar", lambda x: np.piecewise(x, [x > 0, x <= 0], [np.exp, np.sin]), (real(),)),
    Form("numpy.piecewise", "neither", lambda x: np.piecewise(x, [x > 9, x > 8], [np.exp, np.sin]) + x, (X,)),
    Form("numpy.extract", "by a condition", lambda x: np.extract(x > 0, x) ** 2, (inside(2, 3),)),
    Form("numpy.extract", "by numbers", lambda x: np.extract([[1, 0, 1], [0, 0, 1]], x) ** 2, (X,)),
    Form("numpy.compress", "flattened", lambda x: np.compress([True, False, True, True], x) ** 2, (X,)),
    Form("numpy.compress", "an axis", lambda x: np.compress([0, 1, 1], x, axis=1) ** 2, (X,)),
    Form("numpy.compress", "a negative axis", lambda x: np.compress([False, True], x, axis=-2) ** 2, (X,)),
    Form("numpy.compress", "by a traced condition", lambda x: np.compress(x[0] > 0, x, axis=1) ** 2, (inside(2, 3),)),
    Form("numpy.compress", "into out", lambda x: np.compress([0, 1, 1], x, 1, np.zeros_like(x[:, 1:])) ** 2, (X,)),
    Form("numpy.apply_along_axis", "to scalars", lambda x: np.apply_along_axis(lambda v: np.sum(v**2), 0, x), (X,)),
    Form("numpy.apply_along_axis", "to vectors", lambda x: np.apply_along_axis(np.cumsum, -1, x) ** 2, (X,)),
    Form("numpy.apply_along_axis", "to matrices", lambda x: np.apply_along_axis(squared, 1, x), (real(2, 3, 2),)),
    Form("numpy.apply_along_axis", "with arguments", lambda x: np.apply_along_axis(scaled_power, 1, x, 2, b=3.0), (X,)),
    Form("numpy.apply_along_axis", "of a vector", lambda x: np.apply_along_axis(lambda v: v[::-1] ** 2, 0, x), (real(3),)),
    Form("numpy.apply_along_axis", "plain results", lambda x: np.apply_along_axis(lambda v: 2.0, 0, x) * x, (X,)),
    Form("numpy.apply_over_axes", "sums", lambda x: np.apply_over_axes(np.sum, x**2, [0, -1]), (real(2, 3, 2),)),
    Form("numpy.apply_over_axes", "one axis", lambda x: np.apply_over_axes(np.mean, x**2, 1), (X,)),
    Form("numpy.ix_", "of truths", lambda x: x[np.ix_([1, 0], x[0] > -9)] ** 2, (X,)),
    Form("numpy.ix_", "an open grid of values", lambda a, b: np.multiply(*np.ix_(a, b)) ** 2, (real(2), real(3))),
    Form("numpy.meshgrid", "xy", lambda a, b: [g**2 for g in np.meshgrid(a, b)], (real(2), real(3))),
    Form("numpy.meshgrid", "ij", lambda a, b: [g**2 for g in np.meshgrid(a, b, indexing="ij")], (real(2), real(3))),
    Form("numpy.meshgrid", "sparse", lambda a, b: [g**2 for g in np.meshgrid(a, b, a, sparse=True)], (real(2), real(3))),
    Form("numpy.meshgrid", "views", lambda a, b: [g**2 for g in np.meshgrid(a, b, 2.0, copy=False)], (real(2), real(3))),
    Form("numpy.meshgrid", "of one", lambda a: [g**2 for g in np.meshgrid(a)], (real(3),)),
]  # fmt: skip
