"""Forms of calling a ufunc: out=, where=, dtype=, casting=, and the methods reduce, accumulate, reduceat, outer and at."""

import numpy as np

from . import Form, distinct, inside, positive, real

MASK = np.array([[True, False, True], [False, False, True]])
FOLDED = [
    np.add, np.subtract, np.multiply, np.true_divide, np.power, np.float_power, np.maximum, np.minimum, np.fmax, np.fmin,
    np.logaddexp, np.logaddexp2, np.hypot, np.arctan2, np.remainder, np.fmod, np.copysign, np.heaviside,
]  # fmt: skip
REORDERABLE = [np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot]
UPDATES = [
    np.add,
    np.subtract,
    np.multiply,
    np.true_divide,
    np.power,
    np.maximum,
    np.minimum,
    np.logaddexp,
    np.hypot,
    np.fmod,
]


def single(ufunc):
    return ufunc is not np.float_power


def _folds(ufunc):
    name = f"numpy.{ufunc.__name__}"
    x = 0.4 + distinct(5, 3) / 4
    options = {"tolerance": 1e-5, "float32": single(ufunc)}
    yield Form(f"{name}.reduce", "along the first axis", lambda x: ufunc.reduce(x), (x,), **options)
    yield Form(
        f"{name}.reduce", "along a negative axis, kept", lambda x: ufunc.reduce(x, axis=-1, keepdims=True), (x,), **options
    )
    yield Form(f"{name}.reduce", "from a start", lambda x, s: ufunc.reduce(x, initial=s), (x, np.float64(1.3)), **options)
    yield Form(
        f"{name}.reduce", "under a mask", lambda x: ufunc.reduce(x[:2], axis=1, initial=1.5, where=MASK), (x,), **options
    )
    yield Form(f"{name}.reduce", "of one element", lambda x: ufunc.reduce(x[:1]), (x,), **options)
    yield Form(f"{name}.accumulate", "along the first axis", lambda x: ufunc.accumulate(x), (x,), **options)
    yield Form(f"{name}.accumulate", "along the last axis", lambda x: ufunc.accumulate(x, axis=-1), (x,), **options)
    yield Form(f"{name}.reduceat", "pieces of rows", lambda x: ufunc.reduceat(x, [0, 3, 1, 4]), (x,), **options)
    yield Form(f"{name}.reduceat", "pieces of columns", lambda x: ufunc.reduceat(x, [1, 0], axis=1), (x,), **options)
    yield Form(f"{name}.outer", "of two vectors", lambda x: ufunc.outer(x[:, 0], x[:2, 1]), (x,), **options)
    yield Form(f"{name}.outer", "of a matrix and plain numbers", lambda x: ufunc.outer(x, [0.9, 1.7]), (x,), float32=False)


def _reorderable(ufunc):
    name = f"numpy.{ufunc.__name__}.reduce"
    x = 0.4 + distinct(2, 3, 4) / 6
    yield Form(name, "along two axes", lambda x: ufunc.reduce(x, axis=(0, -1)), (x,))
    yield Form(name, "along all axes", lambda x: ufunc.reduce(x, axis=None, keepdims=True), (x,))
    yield Form(name, "a mask over all axes", lambda x: ufunc.reduce(x, axis=None, where=x > 1.1, initial=1.2), (x,))


def _updates(ufunc):
    name = f"numpy.{ufunc.__name__}.at"
    options = {"tolerance": 1e-5}
    yield Form(
        name, "repeated places", _at(ufunc, [0, 2, 0, 0, 1, 2]), (positive(4), 0.4 + distinct(6, seed=3) / 3), **options
    )
    yield Form(name, "places of a matrix", _at(ufunc, ([0, 1, 0], [2, 2, 2])), (positive(2, 3), distinct(3)), **options)
    yield Form(name, "rows, one operand", _at(ufunc, [1, 1]), (positive(2, 3), 0.4 + distinct(3)), **options)
    yield Form(name, "a slice", _at(ufunc, slice(1, None)), (positive(4), distinct(3)), **options)
    yield Form(name, "a mask", _at(ufunc, np.array([True, False, True])), (positive(3), distinct(2)), **options)


def _at(ufunc, index):
    def program(a, b):
        a = a * 2.0
        assert ufunc.at(a, index, b) is None
        return a

    return program


def _negated_at(a):
    a = a * 2.0
    np.negative.at(a, [0, 0, 1])
    np.square.at(a, [2, 2])
    return a


def _into(ufunc, *operands, **keywords):
    out = np.zeros_like(operands[0]) + 0.5
    made = ufunc(*operands, out=out, **keywords)
    assert made is out
    return out * operands[0]


def _in_place(x):
    y = x * 2.0
    np.add(y, 1.0, out=y)
    np.multiply(y, x, y)
    np.exp(y, out=(y,), where=y > 2.0)
    return y


def _both_into(x):
    fraction, whole = np.zeros_like(x), np.zeros_like(x)
    made = np.modf(3 * x, out=(fraction, whole))
    assert made[0] is fraction and made[1] is whole
    return fraction * x + whole


def _one_of_two_into(a, b):
    remainder = np.zeros_like(a)
    quotient, _ = np.divmod(a, b, out=(None, remainder))
    return quotient * a + remainder


def _truth_into_plain(x):
    is_large = np.zeros(x.shape, bool)
    np.greater(x, 0.0, out=is_large)
    is_large &= x < 1.0
    return np.where(is_large, x * x, x)


FORMS = [
    *(form for ufunc in FOLDED for form in _folds(ufunc)),
    *(form for ufunc in REORDERABLE for form in _reorderable(ufunc)),
    *(form for ufunc in UPDATES for form in _updates(ufunc)),
    Form("numpy.negative.at", "and square.at, repeated", _negated_at, (real(3),)),
    Form("numpy.logaddexp.reduce", "of nothing", lambda x: np.logaddexp.reduce(x[:0], initial=2.0) + x[0], (real(3, 2),)),
    Form("numpy.hypot.reduce", "of nothing", lambda x: np.hypot.reduce(x[:0]) + x[0], (real(3, 2),)),
    Form("numpy.maximum.accumulate", "of nothing", lambda x: np.maximum.accumulate(x[:0]), (real(3, 2),)),
    Form("numpy.subtract.reduce", "in complex numbers", lambda x: np.subtract.reduce(x, dtype=complex) * x[0], (real(3, 2),),
         float32=False),
    Form("numpy.logical_and.reduce", "times x", lambda x: np.where(np.logical_and.reduce(x > -2, axis=1), x[:, 0] ** 2, 0),
         (real(4, 3),)),
    Form("numpy.logical_or.accumulate", "times x", lambda x: np.logical_or.accumulate(x > 0.5) * x * x, (real(4),)),
    Form("numpy.logical_xor.reduce", "under a mask, times x",
         lambda x: np.logical_xor.reduce(x > 0, where=np.array([True, False, True, True]), keepdims=True) * x, (inside(4),)),
    Form("numpy.floor_divide.outer", "times x", lambda x: np.floor_divide.outer(x, [0.3, 0.7]) * x[:, None], (inside(4),),
         float32=False),
    Form("numpy.sqrt", "into a traced array", lambda x: _into(np.sqrt, x), (positive(3),)),
    Form("numpy.multiply", "into a traced array", lambda x: _into(np.multiply, x, 3.0), (positive(3),)),
    Form("numpy.add", "in place, again and again", _in_place, (positive(4),)),
    Form("numpy.add", "into an array of more dimensions", lambda x: _broadcast_into(x), (positive(4),)),
    Form("numpy.modf", "into two arrays", _both_into, (inside(3),)),
    Form("numpy.divmod", "into one of two arrays", _one_of_two_into, (3 * real(4), positive(4))),
    Form("numpy.greater", "into a plain array", _truth_into_plain, (2 * inside(5),)),
    Form("numpy.sqrt", "where positive, into zeros", lambda x: _into(np.sqrt, x, where=x > 0), (inside(6),)),
    Form("numpy.log", "where positive, into zeros", lambda x: _into(np.log, x, where=x > 0), (inside(6),)),
    Form("numpy.arccosh", "where above one", lambda x: _into(np.arccosh, x, where=x > 1), (positive(6),)),
    Form("numpy.arctanh", "where below one", lambda x: _into(np.arctanh, x, where=x < 1), (positive(6),)),
    Form("numpy.true_divide", "where the divisor is not 0",
         lambda a, b: _into(np.divide, a, b * np.array([0.0, 1.0, 1.0], b.dtype), where=np.array([False, True, True])),
         (real(3), positive(3))),
    Form("numpy.power", "under a mask", lambda a: _into(np.power, a, 1.5, where=a > 0), (inside(6),)),
    Form("numpy.add", "under a mask that broadcasts", lambda a: _into(np.add, a, 1.5, where=np.array([[True], [False]])),
         (real(2, 3),)),
    Form("numpy.multiply", "where=True", lambda a: np.multiply(a, a, where=True), (real(3),)),
    Form("numpy.modf", "under a mask, into two arrays",
         lambda x: np.modf(3 * x, out=(np.zeros_like(x), np.zeros_like(x)), where=x > 0), (inside(5),)),
    Form("numpy.add.outer", "into an array", lambda x: np.add.outer(x, x, out=np.zeros_like(x, shape=(3, 3))), (real(3),)),
    Form("numpy.subtract.reduce", "into an array",
         lambda x: np.subtract.reduce(x, out=np.zeros_like(x[0])) * x[0], (real(3, 2),)),
    Form("numpy.hypot.accumulate", "into an array",
         lambda x: np.hypot.accumulate(x, out=np.zeros_like(x)) * x, (real(3, 2),)),
    Form("numpy.exp", "in double precision", lambda x: np.exp(x, dtype=np.float64), (real(3),), float32=False),
    Form("numpy.exp", "order= and subok=", lambda x: np.exp(x, order="F", subok=False), (real(2, 3),)),
    *(
        Form("numpy.multiply", f"order={order!r}, read as it lies", lambda x, y, order=order:
             np.ravel(np.multiply(x.T, y.T, order=order) ** 2, "K"), (real(2, 3), real(2, 3, seed=1)))
        for order in "CFAK"
    ),
    Form("numpy.add.outer", "order=, read as it lies", lambda x: np.ravel(np.add.outer(x, x[:2], order="F") ** 2, "K"),
         (real(3),)),
    Form("numpy.floor_divide.accumulate", "the first passes on", lambda x: np.floor_divide.accumulate(x) * x, (positive(4),)),
    Form("numpy.floor_divide.reduceat", "those alone pass on",
         lambda x: np.floor_divide.reduceat(x, [0, 2, 1]) * x[:3], (positive(4),)),
    Form("numpy.floor_divide.reduce", "of one, of many, from a start",
         lambda x: [np.floor_divide.reduce(x[:1]) ** 2, np.floor_divide.reduce(x[:1], where=False, initial=x[1]) ** 2],
         (positive(4),)),
    Form("numpy.add", "in complex numbers", lambda x: np.add(x, 1.0, dtype=complex), (real(3),), float32=False),
    Form("numpy.multiply", "by a signature", lambda x: np.multiply(x, 2, signature="dd->d") * x, (real(3),), float32=False),
    Form("numpy.multiply", "by a tuple of dtypes",
         lambda x: np.multiply(x, x, signature=(np.float64, np.float64, np.float64), casting="safe"), (real(3),),
         float32=False),
    Form("numpy.add", "cast to integers, times x", lambda x: np.add(x, 1, dtype=int, casting="unsafe") * x, (3 * inside(3),),
         float32=False),
    Form("numpy.add", "casting= alone", lambda x: np.add(x, x, casting="no"), (real(3),)),
    Form("numpy.greater", "dtype=bool, times x", lambda x: np.greater(x, 0, dtype=bool) * x, (inside(3),)),
    Form("numpy.clip", "dtype=", lambda x: np.clip(x, -0.5, 0.5, dtype=np.float64), (real(7),), float32=False),
    Form("numpy.clip", "out= and where=", lambda x: _clipped(x), (real(7),)),
    Form("numpy.clip", "one side, out=", lambda x: np.clip(x, 0.1, None, out=np.zeros_like(x)) * x, (real(7),)),
]  # fmt: skip


def _broadcast_into(x):
    out = np.zeros_like(x, shape=(2, 4))
    np.add(x, 1.0, out=out)
    return out * x


def _clipped(x):
    y = x * x
    np.clip(x, -0.5, 0.5, out=y, where=x > -1)
    return y
