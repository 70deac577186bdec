"""Shapes, joins, pads and choices: errors as NumPy's, views that share memory where NumPy's do, and layouts."""

import numpy as np
import pytest

import retape as rt

X = np.arange(12.0).reshape(3, 4) + 0.5

BAD = [
    ("reshape to another size", lambda x: np.reshape(x, (5, -1))),
    ("reshape with two unknowns", lambda x: np.reshape(x, (-1, -1))),
    ("reshape in no order", lambda x: np.reshape(x, (4, 3), order="Q")),
    ("reshape in memory order", lambda x: np.reshape(x, (4, 3), order="K")),
    ("reshape of a transpose without a copy", lambda x: np.reshape(x.T, 12, copy=False)),
    ("reshape of nothing given", lambda x: x.reshape()),
    ("transpose over too few axes", lambda x: np.transpose(x, (0,))),
    ("transpose over an axis twice", lambda x: np.transpose(x, (0, 0))),
    ("transpose over an axis that is not there", lambda x: np.transpose(x, (0, 5))),
    ("swapaxes over an axis that is not there", lambda x: np.swapaxes(x, 0, 2)),
    ("matrix_transpose of a vector", lambda x: np.matrix_transpose(x[0])),
    ("mT of a vector", lambda x: x[0].mT),
    ("moveaxis of unlike lists", lambda x: np.moveaxis(x, (0, 1), 0)),
    ("rollaxis past the end", lambda x: np.rollaxis(x, 0, 4)),
    ("expand_dims twice in one place", lambda x: np.expand_dims(x, (0, 0))),
    ("squeeze of an axis that is not 1", lambda x: np.squeeze(x, 0)),
    ("broadcast_to a smaller shape", lambda x: np.broadcast_to(x, (3, 2))),
    ("broadcast_arrays of unlike shapes", lambda x: np.broadcast_arrays(x, np.ones(3))),
    ("flip of an axis that is not there", lambda x: np.flip(x, 2)),
    ("fliplr of a vector", lambda x: np.fliplr(x[0])),
    ("flipud of a scalar", lambda x: np.flipud(x[0, 0])),
    ("rot90 over one axis", lambda x: np.rot90(x, axes=(1, 1))),
    ("rot90 over three axes", lambda x: np.rot90(x, axes=(0, 1, 2))),
    ("rot90 over an axis that is not there", lambda x: np.rot90(x, axes=(0, 2))),
    ("windows wider than the array", lambda x: np.lib.stride_tricks.sliding_window_view(x, (4, 4))),
    ("windows for some axes only", lambda x: np.lib.stride_tricks.sliding_window_view(x, 2)),
    ("diagonal of a vector", lambda x: np.diagonal(x[0])),
    ("diagonal of one axis twice", lambda x: np.diagonal(x, 0, 1, 1)),
    ("diagonal of an axis that is not there", lambda x: np.diagonal(x, 0, 0, 2)),
    ("diag of a scalar", lambda x: np.diag(x[0, 0])),
    ("diag of a cube", lambda x: np.diag(x[None])),
    ("concatenate of nothing", lambda x: np.concatenate([x[:0].reshape(-1)[k] for k in range(0)] or [], out=x)),
    ("concatenate of unlike shapes", lambda x: np.concatenate([x, x[:, :2]])),
    ("concatenate of unlike dimensions", lambda x: np.concatenate([x, x[0]])),
    ("concatenate of scalars", lambda x: np.concatenate([x[0, 0], x[0, 1]])),
    ("concatenate along an axis that is not there", lambda x: np.concatenate([x, x], 2)),
    ("concatenate to integers", lambda x: np.concatenate([x, x], dtype=int)),
    ("stack of unlike shapes", lambda x: np.stack([x, x[0]])),
    ("stack along an axis that is not there", lambda x: np.stack([x, x], 3)),
    ("block of a tuple", lambda x: np.block((x, x))),
    ("block of lists of unlike depth", lambda x: np.block([[x], x])),
    ("block of an empty list", lambda x: np.block([[x], []])),
    ("split into unequal parts", lambda x: np.split(x, 2)),
    ("array_split into no parts", lambda x: np.array_split(x, 0)),
    ("hsplit of a scalar", lambda x: np.hsplit(x[0, 0], 1)),
    ("vsplit of a vector", lambda x: np.vsplit(x[0], 1)),
    ("dsplit of a matrix", lambda x: np.dsplit(x, 1)),
    ("unstack of a scalar", lambda x: np.unstack(x[0, 0])),
    ("roll over an axis that is not there", lambda x: np.roll(x, 1, 2)),
    ("roll by a matrix", lambda x: np.roll(x, [[1, 2]], (0, 1))),
    ("repeat of a negative number", lambda x: np.repeat(x, -1)),
    ("repeat by counts of another length", lambda x: np.repeat(x, [1, 2], axis=0)),
    ("tile by a fraction", lambda x: np.tile(x, 1.5)),
    ("resize to a negative size", lambda x: np.resize(x, (-1, 2))),
    ("insert past the end", lambda x: np.insert(x, 9, 1.0, axis=0)),
    ("insert along an axis that is not there", lambda x: np.insert(x, 0, 1.0, axis=2)),
    ("insert by a matrix of places", lambda x: np.insert(x, [[0, 1]], 1.0)),
    ("delete past the end", lambda x: np.delete(x, 3, axis=0)),
    ("delete by a mask of another length", lambda x: np.delete(x, [True, False], axis=0)),
    ("trim_zeros at no side", lambda x: np.trim_zeros(x[0], "x")),
    ("pad by a fraction", lambda x: np.pad(x, 1.5)),
    ("pad by a negative number", lambda x: np.pad(x, -1)),
    ("pad by pairs for too many axes", lambda x: np.pad(x, ((1, 1),) * 3)),
    ("pad in no mode", lambda x: np.pad(x, 1, "nothing")),
    ("pad with a keyword of another mode", lambda x: np.pad(x, 1, "edge", constant_values=1)),
    ("pad an empty axis with its edge", lambda x: np.pad(x[:0], 1, "edge")),
    ("pad an empty axis with a ramp", lambda x: np.pad(x[:0], 1, "linear_ramp")),
    ("pad with the largest of nothing", lambda x: np.pad(x, 1, "maximum", stat_length=0)),
    ("pad with a statistic of a negative length", lambda x: np.pad(x, 1, "mean", stat_length=-1)),
    ("select of lists of unlike length", lambda x: np.select([x > 0], [x, x])),
    ("select of nothing", lambda x: np.select([], [])),
    ("select by numbers", lambda x: np.select([x], [x])),
    ("choose past the end", lambda x: np.choose([0, 2, 0, 0], [x[0], x[1]])),
    ("choose by fractions", lambda x: np.choose([0.5, 0, 0, 0], [x[0], x[1]])),
    ("piecewise with too few functions", lambda x: np.piecewise(x[0], [x[0] > 0, x[0] < 9], [np.sin])),
    ("compress by a matrix", lambda x: np.compress([[True]], x)),
    ("apply_along_axis over no rows", lambda x: np.apply_along_axis(np.sum, 1, x[:0])),
    ("apply_over_axes with a function that drops two axes", lambda x: np.apply_over_axes(lambda a, k: np.sum(a), x, [0])),
    ("ix_ of a matrix", lambda x: np.ix_(x)),
    ("meshgrid in no indexing", lambda x: np.meshgrid(x[0], x[1], indexing="yx")),
    ("a view of another size", lambda x: x[:, :3].view(complex)),
    ("a view of a transpose as complex", lambda x: x.T.view(complex)),
    ("imaginary part of real numbers set", lambda x: setattr(x, "imag", 1.0)),
    ("to another device", lambda x: x.to_device("gpu")),
    ("the length of a scalar", lambda x: len(x[0, 0])),
    ("sorting over an axis that is not there", lambda x: x.sort(2)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "f"), BAD, ids=[case[0] for case in BAD])
def test_what_numpy_refuses_is_refused_with_the_same_type(name, f):
    with pytest.raises(Exception) as plain:  # noqa: B017
        f(X.copy())
    with pytest.raises(type(plain.value)):
        rt.vjp(lambda x: f(x * 1.0), X)


def written(f):
    """A program that writes into what `f` made of an array, and returns both: it tells views from copies."""

    def program(x):
        y = x * 1.0
        part = f(y)
        part[...] = part * 2 + 1
        y[0] = y[0] * 3
        return y * 1.0, part * 1.0

    return program


SHARED = [
    ("a reshape", lambda y: y.reshape(4, 3)),
    ("a reshape of a transpose", lambda y: y.T.reshape(3, 4)),
    ("a reshape to Fortran order", lambda y: y.reshape(4, 3, order="F")),
    ("a reshape of a transpose to Fortran order", lambda y: y.T.reshape((2, 6), order="F")),
    ("a reshape with a copy", lambda y: y.reshape(4, 3, copy=True)),
    ("a reshape to its own shape with a copy", lambda y: np.reshape(y, (3, 4), copy=True)),
    ("ravel", lambda y: y.ravel()),
    ("ravel of every other column", lambda y: y[:, ::2].ravel()),
    ("ravel of every other element", lambda y: y[0, ::2].ravel()),
    ("ravel of a transpose", lambda y: y.T.ravel()),
    ("ravel of a transpose in Fortran order", lambda y: y.T.ravel("F")),
    ("ravel of a transpose in memory order", lambda y: y.T.ravel("K")),
    ("ravel of a reversed array in memory order", lambda y: y[::-1].ravel("K")),
    ("ravel in order A of a transpose", lambda y: y.T.ravel("A")),
    ("flatten", lambda y: y.flatten()),
    ("copy", lambda y: y.copy()),
    ("transpose", lambda y: np.transpose(y)),
    ("transpose of a vector", lambda y: np.transpose(y[1])),
    ("moveaxis", lambda y: np.moveaxis(y, 0, 1)),
    ("rollaxis to its own place", lambda y: np.rollaxis(y, 0, 1)),
    ("squeeze", lambda y: y[:, None].squeeze()),
    ("expand_dims", lambda y: np.expand_dims(y, 1)),
    ("atleast_3d", lambda y: np.atleast_3d(y)),
    ("atleast_1d", lambda y: np.atleast_1d(y)),
    ("flip", lambda y: np.flip(y, 1)),
    ("rot90", lambda y: np.rot90(y)),
    ("rot90 twice", lambda y: np.rot90(y, 2)),
    ("rot90 back", lambda y: np.rot90(y, 3)),
    ("rot90 by nothing", lambda y: np.rot90(y, 0)),
    ("the first of a split", lambda y: np.split(y, 2, axis=1)[1]),
    ("one of unstack", lambda y: np.unstack(y, axis=1)[2]),
    ("trim_zeros", lambda y: np.trim_zeros(y[1])),
    ("tile once", lambda y: np.tile(y, 1)),
    ("repeat once", lambda y: np.repeat(y, 1, axis=0)),
    ("roll by nothing", lambda y: np.roll(y, 0)),
    ("pad by nothing", lambda y: np.pad(y, 0)),
    ("resize to its own size", lambda y: np.resize(y, (3, 4))),
    ("a view", lambda y: y.view()),
    ("a view as complex", lambda y: y.view(complex).real),
    ("a part of an array of its own", lambda y: y.real),
    ("meshgrid", lambda y: np.meshgrid(y[0], y[1])[0]),
    ("block of one", lambda y: np.block(y)),
    ("concatenate of one", lambda y: np.concatenate([y])),
    ("ascontiguousarray", lambda y: rt.numpy.ascontiguousarray(y)),
    ("ascontiguousarray of a transpose", lambda y: rt.numpy.ascontiguousarray(y.T)),
    ("asfortranarray", lambda y: rt.numpy.asfortranarray(y)),
    ("reshape of an array joined of transposes", lambda y: np.concatenate([y.T, y.T]).reshape(-1)),
]  # fmt: skip


@pytest.mark.parametrize("budget", [None, "64MiB"], ids=["plainly", "under a budget"])
@pytest.mark.parametrize(("name", "f"), SHARED, ids=[case[0] for case in SHARED])
def test_views_and_copies_are_numpys(name, f, budget):
    program = written(f)
    plain = program(X)
    seen = {}

    def total(x):
        y, part = program(x)
        seen["y"], seen["part"] = rt.stop_gradient(y), rt.stop_gradient(part)
        seen["y"], seen["part"] = np.asarray(seen["y"]), np.asarray(seen["part"])
        return np.sum(y * y) + np.sum(part)

    rt.grad(total, memory_budget=budget)(X) if budget else rt.grad(total)(X)
    np.testing.assert_array_equal(seen["y"], plain[0])
    np.testing.assert_array_equal(seen["part"], plain[1])
    rt.check_grads(program, X / 10, order=2, tolerance=1e-5)


def test_memory_is_shared_by_views_of_one_array():
    def f(x):
        y = x * 1.0
        left, right = y[:, ::2], y[:, 1::2]
        assert np.may_share_memory(left, right) and not np.shares_memory(left, right)
        assert np.shares_memory(y.T, left) and np.shares_memory(y, y) and not np.shares_memory(y, x)
        assert not np.may_share_memory(y, X)
        return np.sum(y * y)

    rt.grad(f)(X)


def test_shapes_and_dtypes_are_told_without_reading_a_number():
    def f(x):
        assert np.shape(x) == (3, 4) and np.ndim(x) == 2 and np.size(x) == 12 and np.size(x, 1) == 4
        assert np.size(x, (0, 1)) == 12
        assert np.result_type(x, np.float32) == np.float64 and np.can_cast(x.dtype, np.float32, "same_kind")
        assert np.common_type(x, x) is np.float64 and np.min_scalar_type(x) == np.float64
        assert not np.iscomplexobj(x) and np.isrealobj(x) and np.iscomplexobj(x * 1j)
        assert len(np.tril_indices_from(x[:3, :3])[0]) == len(np.triu_indices_from(x[:3, :3])[0]) == 6
        assert len(np.diag_indices_from(x[:3, :3])) == 2
        return np.sum(x * x)

    rt.plan(f, X, memory_budget="64MiB")
    rt.grad(f)(X)


def test_where_numbers_are_real_is_told_of_traced_ones():
    def f(z):
        assert np.all(np.isreal(z) == [False, True]) and np.all(np.iscomplex(z) == [True, False])
        return np.real(np.sum(z * z))

    rt.grad(f)(np.array([1 + 1j, 2]))


def test_an_array_prints_its_numbers_and_keeps_its_gradient():
    def f(x):
        assert np.array_str(x[0]) == str(X[0]) and np.array2string(x[0], precision=1) == np.array2string(X[0], precision=1)
        assert np.array_repr(x[0]) == repr(X[0])
        return np.sum(x * x)

    np.testing.assert_array_equal(rt.grad(f)(X), 2 * X)


def test_creators_make_plain_arrays_outside_of_transforms():
    for made in (
        rt.numpy.zeros(2),
        rt.numpy.ones(2),
        rt.numpy.empty(2),
        rt.numpy.eye(2),
        rt.numpy.full(2, 1.0),
        rt.numpy.array([1.0]),
    ):
        assert type(made) is np.ndarray
    assert type(rt.vjp(lambda x: x * rt.numpy.zeros(2, int)[0], 1.0)[0]) is not np.ndarray


def test_integers_made_inside_a_transform_stay_plain():
    def f(x):
        counts = rt.numpy.zeros(3, int)
        counts[1] += 2
        return x[counts].sum() if type(counts) is np.ndarray else None

    np.testing.assert_array_equal(rt.grad(f)(np.ones(3)), [2.0, 0.0, 1.0])


def test_ragged_lists_are_refused():
    with pytest.raises(ValueError):
        rt.vjp(lambda x: rt.numpy.array([[x[0]], [x[0], x[1]]]), X[0])


REFUSED = [
    ("resize", lambda x: x.resize(2)),
    ("byteswap", lambda x: x.byteswap()),
    ("getfield", lambda x: x.getfield(np.float32)),
    ("setfield", lambda x: x.setfield(1.0, np.float64)),
    ("setflags", lambda x: x.setflags(write=False)),
    ("pickling", lambda x: __import__("pickle").dumps(x)),
    ("a shape that is set", lambda x: setattr(x, "shape", (12,))),
    ("a dtype that is set", lambda x: setattr(x, "dtype", int)),
    ("a view as integers", lambda x: x.view(np.int64)),
    ("a view as a matrix", lambda x: x.view(np.matrix)),
]  # fmt: skip
WITHOUT_GRADIENT = [
    ("tobytes", lambda x: x.tobytes()),
    ("tofile", lambda x: x.tofile("nowhere")),
    ("dumps", lambda x: x.dumps()),
    ("item", lambda x: x.item(0)),
    ("tolist", lambda x: x.tolist()),
    ("float", lambda x: float(x[0, 0])),
    ("complex", lambda x: complex(x[0, 0])),
    ("int", lambda x: int(x[0, 0])),
    ("index", lambda x: [1, 2][x[0, 0]]),
    ("conversion", lambda x: x.__array__()),
    ("flat to a plain array", lambda x: np.asarray(x.flat)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "f"), REFUSED, ids=[case[0] for case in REFUSED])
def test_what_a_traced_array_does_not_do_names_the_way_round(name, f):
    with pytest.raises(rt.MissingRuleError):
        rt.vjp(lambda x: (f(x), x)[1], X)


@pytest.mark.parametrize(("name", "f"), WITHOUT_GRADIENT, ids=[case[0] for case in WITHOUT_GRADIENT])
def test_what_would_lose_a_gradient_is_refused(name, f):
    with pytest.raises(rt.NotDifferentiableError):
        rt.vjp(lambda x: (f(x), x)[1], X)


def test_numbers_without_a_gradient_are_read_by_every_method():
    def f(x):
        y = rt.stop_gradient(x)
        assert y.tobytes() == X.tobytes() and y.tolist() == X.tolist() and y.item(1) == X.item(1)
        assert bytes(y.data) == bytes(X.data) and complex(y[0, 0]) == 0.5 and 0.5 in y and 99.0 not in y
        return np.sum(x * y)

    np.testing.assert_array_equal(rt.grad(f)(X), X)


def test_the_memory_of_an_array_with_a_gradient_is_not_there():
    def f(x):
        assert not hasattr(x, "data") and not hasattr(x, "ctypes")
        return x

    rt.vjp(f, X)
    with pytest.raises(AttributeError, match="stop_gradient"):
        rt.vjp(lambda x: x.data, X)


def test_the_base_of_a_view_is_the_array_it_shows():
    def f(x):
        y = x * 1.0
        assert y.base is None and y[0].base is y and y.T.reshape(12).base is None
        return np.sum(y)

    rt.grad(f)(X)


def test_a_vectorized_function_takes_plain_excluded_and_empty_arguments():
    power = rt.numpy.vectorize(lambda x, n: x**n, excluded=[1])
    np.testing.assert_array_equal(power(np.ones(3), 2), np.ones(3))
    np.testing.assert_allclose(rt.grad(lambda x: np.sum(power(x, 2)))(X), 2 * X)
    with pytest.raises(ValueError, match="size 0"):
        rt.vjp(lambda x: power(x, 2), np.zeros(0))
