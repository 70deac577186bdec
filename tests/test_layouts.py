"""Results and written arrays lie in memory as NumPy's do: by that, a later reshape is a view or a copy."""

import numpy as np
import pytest

import retape as rt

X = np.random.default_rng(0).standard_normal((3, 4))
CUBE = np.random.default_rng(1).standard_normal((2, 3, 4))


def gapped(x):
    wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), 1e3, x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


FORMS = {
    "C order": np.array,
    "Fortran order": lambda x: np.array(x, order="F"),
    "axes out of order": lambda x: np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0),
    "gaps": gapped,
    "a reversed axis": lambda x: x[::-1].copy()[::-1],
}


OF_A_MATRIX = [
    ("copy of a transpose", lambda x: np.copy(x.T)),
    ("copy of a broadcast", lambda x: np.copy(np.broadcast_to(x, (2, 3, 4)))),
    ("copy in Fortran order", lambda x: x.copy("F")),
    ("concatenate of transposes", lambda x: np.concatenate([x.T, x.T], 1)),
    ("concatenate of unlike layouts", lambda x: np.concatenate([x.T, x.T.copy()], 1)),
    ("concatenate of cubes", lambda x: np.concatenate([x.reshape(3, 2, 2).transpose(1, 2, 0)] * 2)),
    ("stack of transposes", lambda x: np.stack([x.T, x.T])),
    ("stack of transposes at the end", lambda x: np.stack([x.T, x.T], -1)),
    ("pad of a transpose", lambda x: np.pad(x.T, 1)),
    ("zeros_like of a transpose", lambda x: np.zeros_like(x.T)),
    ("ones_like of axes out of order", lambda x: np.ones_like(x.reshape(3, 2, 2).transpose(1, 0, 2))),
    ("full_like of a transpose", lambda x: np.full_like(x.T, x[0, 0])),
    ("zeros_like of another shape", lambda x: np.zeros_like(x.T, shape=(2, 5))),
    ("diag", lambda x: np.diag(x[0])),
    ("diagonal", lambda x: np.diagonal(x)),
    ("windows", lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 2))),
    ("einsum by a path", lambda x: np.einsum("ij,kj,kl->il", x, x, x, optimize=True)),
    ("delete of two columns", lambda x: np.delete(x, [0, 2], axis=1)),
    ("delete of one column", lambda x: np.delete(x, 1, axis=1)),
    ("insert of a column", lambda x: np.insert(x, 1, 0.5, axis=1)),
    ("pad by the edge", lambda x: np.pad(x, 1, mode="edge")),
    ("gradient", lambda x: np.gradient(x)[1]),
    ("dot of a number", lambda x: np.dot(2.0, x)),
    ("the upper Cholesky factor", lambda x: np.linalg.cholesky(x @ x.T + np.eye(len(x)), upper=True)),
    ("singular vectors", lambda x: np.linalg.svd(x, full_matrices=False)[2]),
    ("matrix_power of nothing", lambda x: np.linalg.matrix_power(x[:, :3], 0)),
    ("nanpercentile", lambda x: np.nanpercentile(x, [20, 70], axis=1)),
]  # fmt: skip
OF_A_CUBE = [
    ("sum over the first axis", lambda x: np.sum(x, axis=0)),
    ("mean over the last axis, kept", lambda x: np.mean(x, axis=-1, keepdims=True)),
    ("max over the middle axis", lambda x: np.max(x, axis=1)),
    ("prod", lambda x: np.prod(x, axis=2)),
    ("std", lambda x: np.std(x, axis=1)),
    ("median", lambda x: np.median(x, axis=0)),
    ("sort", lambda x: np.sort(x, axis=1)),
    ("partition", lambda x: np.partition(x, 1, axis=2)),
    ("cumsum", lambda x: np.cumsum(x, axis=0)),
    ("fft", lambda x: np.fft.fft(x, n=5, axis=1)),
    ("irfft", lambda x: np.fft.irfft(x, axis=0)),
    ("the real part of a spectrum", lambda x: np.fft.fft(x).real),
    ("the imaginary part", lambda x: np.imag(x * 1j)),
    ("einsum", lambda x: np.einsum("aij,akj->aik", x, x)),
    ("einsum over another axis", lambda x: np.einsum("aij,bij->bja", x, x)),
    ("a gather along the middle axis", lambda x: x[:, [0, 2, 2]]),
    ("a gather along two axes", lambda x: x[[0, 1, 1], :, [1, 2, 3]]),
    ("take along the last axis", lambda x: np.take(x, [0, 2, 2], axis=-1)),
    ("a scaled cube", lambda x: 2.0 * x),
    ("unwrap", lambda x: np.unwrap(x, axis=0)),
    ("written elements", lambda x: _written(x, 0, 0.5)),
    ("a written view", lambda x: _written(np.swapaxes(x, 0, 2), (1, 1), 0.5)),
    ("doubled in place", lambda x: np.multiply(x, 2.0, out=x)),
    ("added to at an index", lambda x: np.add.at(x, (0, [0, 0]), 1.0) or x),
    ("sorted in place", lambda x: x.sort(axis=1) or x),
    ("half of a written array", lambda x: _written(x, 0, 0.5)[..., :2]),
]  # fmt: skip


def _written(x, index, value):
    x[index] = value
    return x


def memory(y):
    """Whether in C or Fortran order, and the strides of the axes that have any."""
    strides = tuple(stride for stride, extent in zip(y.strides, y.shape, strict=True) if extent > 1)
    return strides, y.flags.c_contiguous, y.flags.f_contiguous


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("name", "f", "x"), [(*case, X) for case in OF_A_MATRIX] + [(*case, CUBE) for case in OF_A_CUBE],
    ids=[case[0] for case in OF_A_MATRIX + OF_A_CUBE],
)  # fmt: skip
def test_results_lie_in_memory_as_numpys(name, f, x, form):
    plain = memory(f(FORMS[form](x)))
    seen = []

    def total(x):
        y = f(x)
        seen.append(memory(y))
        return np.sum(x * x) + np.sum(np.real(y))

    rt.grad(total)(FORMS[form](x))
    rt.grad(total, memory_budget="64MiB")(FORMS[form](x))
    assert set(seen) == {plain}


def _first(part):
    part[0] = 0.1


WRITTEN = [
    ("an element, then a ravel", lambda x: (_written(x, 0, 0.3), _first(x.ravel()))),
    ("all of it, then a reshape", lambda x: (_written(x, ..., 0.3), _first(x.reshape(2, -1)))),
    ("a view of it, then its ravel", lambda x: _first(np.partition(x[1:], 1).ravel()) or _first(x[1:].T.ravel())),
    ("doubled, then a ravel in memory order", lambda x: (np.multiply(x, 2, out=x), _first(x.ravel("K")))),
    ("a sorted view, then its reshape", lambda x: (x[:2].sort(0), _first(x[:2].reshape(-1)), _first(x.T.reshape(-1)))),
    ("added to, then contiguous", lambda x: (np.add.at(x, [0, 0], 1.0), _first(rt.numpy.ascontiguousarray(x)))),
    ("its transpose by a row", lambda x: (_written(x.T, 0, x[0, 0]), _first(x.T.ravel()), _first(x.ravel("F")))),
    ("a reversed view as a vector", lambda x: (_first(x[::-1].reshape(-1)), _first(x.ravel()))),
    ("a view made before", lambda x: [(_written(x, 1, 0.2), _first(part.ravel())) for part in [x[:, 1:]]]),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "write"), WRITTEN, ids=[case[0] for case in WRITTEN])
def test_a_write_is_seen_through_what_numpy_makes_views_of(name, write, form):
    def values(x):
        write(x)
        return np.sin(x)

    plain = values(FORMS[form](X))
    along = FORMS[form](np.cos(X))
    np.testing.assert_allclose(rt.vjp(values, FORMS[form](X))[0], plain, rtol=1e-14)
    value, tangent = rt.jvp(values, (FORMS[form](X),), (along,))
    np.testing.assert_allclose(value, plain, rtol=1e-14)
    loss = lambda x: np.sum(np.cos(X) * values(x))  # noqa: E731
    expected = rt.grad(loss)(FORMS[form](X))
    np.testing.assert_allclose(np.sum(expected * along), np.sum(np.cos(X) * tangent), rtol=1e-13)
    np.testing.assert_array_equal(rt.grad(loss, memory_budget="64MiB")(FORMS[form](X)), expected)
