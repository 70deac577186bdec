"""Forms of making arrays of traced values, and arrays like others."""

import numpy as np

import retape as rt

from . import Form, cplx, positive, real

X = real(2, 3)


def fill(make):
    """A program that writes traced values into an array that it makes."""

    def f(x):
        y = make(x)
        y[..., 0] = x[0, 0] ** 2
        y[..., -1] += x[1, 1]
        return y * x[0, 1]

    return f


def fill_all(x):
    """A program that writes every element of an array."""
    y = np.empty_like(x)
    y[0], y[1] = x[1] ** 2, x[0]
    return y * x


def accumulated(x):
    """A program that adds up in an array that it makes."""
    sums = rt.numpy.zeros(3, dtype=x.dtype)
    for row in x:
        sums += row**2
        sums[1] = sums[1] * row[0]
    return sums


def write_view(z, x):
    """Write through a view."""
    half = z[::2]
    half[...] = x[0, :2] ** 2
    z[1] += z[0]
    return z


FORMS = [
    Form("numpy.zeros_like", "written", fill(np.zeros_like), (X,)),
    Form("numpy.zeros_like", "another shape", fill(lambda x: np.zeros_like(x, shape=(4, 2))), (X,)),
    Form("numpy.zeros_like", "another dtype", fill(lambda x: np.zeros_like(x, dtype=complex)), (X,), float32=False),
    Form("numpy.zeros_like", "of a transpose", fill(lambda x: np.zeros_like(x.T)), (X,)),
    Form("numpy.zeros_like", "in Fortran order", fill(lambda x: np.zeros_like(x, order="F")), (X,)),
    Form("numpy.ones_like", "written", fill(np.ones_like), (X,)),
    Form("numpy.ones_like", "integers", lambda x: np.ones_like(x, dtype=int) * x**2, (X,), float32=False),
    Form("numpy.empty_like", "filled", fill_all, (X,)),
    Form("numpy.full_like", "a number", fill(lambda x: np.full_like(x, 2.5)), (X,)),
    Form("numpy.full_like", "a traced value", lambda x: np.full_like(x, x[0, 0] ** 2) * x, (X,)),
    Form("numpy.full_like", "a row", lambda x: np.full_like(x, x[1] ** 2) * x, (X,)),
    Form("numpy.full_like", "a list", lambda x: np.full_like(x, [1, 2, 3]) * x**2, (X,)),
    Form("numpy.full_like", "another shape", lambda x: np.full_like(x, x[1] ** 2, shape=(2, 2, 3)), (X,)),
    Form("numpy.full_like", "another dtype", lambda x: np.full_like(x, x[0, 0], dtype=complex) ** 2, (X,), float32=False),
    Form("numpy.full_like", "to integers", lambda x: np.full_like(x, 2.7, dtype=int) * x**2, (X,), float32=False),
    Form("numpy.full_like", "of a transpose", lambda x: np.full_like(x.T, x[:, 0] ** 2).ravel("K"), (X,)),
    Form("numpy.full_like", "in Fortran order", lambda x: np.full_like(x, x[0] ** 2, order="F").ravel("K"), (X,)),
    Form("retape.numpy.array", "of scalars", lambda x: rt.numpy.array([x[0, 0], 2.0, x[1, 1]]) ** 2, (X,), float32=False),
    Form("retape.numpy.array", "nested", lambda x: rt.numpy.array([[x[0], x[1] ** 2], [x[1], x[0]]]) ** 2, (X,)),
    Form("retape.numpy.array", "of an array", lambda x: rt.numpy.array(x) ** 2, (X,)),
    Form("retape.numpy.array", "more axes", lambda x: rt.numpy.array([x[0]], ndmin=4) ** 2, (X,)),
    Form("retape.numpy.array", "another dtype", lambda x: rt.numpy.array(list(x), dtype=complex) ** 2, (X,), float32=False),
    Form("retape.numpy.array", "in Fortran order", lambda x: rt.numpy.array(list(x), order="F").ravel("K") ** 2, (X,)),
    Form("retape.numpy.array", "beside a list", lambda x: rt.numpy.array([x[0], [1, 2, 3]]) ** 2, (X,), float32=False),
    Form("retape.numpy.array", "complex", lambda x: rt.numpy.array([[x[0], 1j], [x[1], x[2]]]), (cplx(3),), float32=False),
    Form("retape.numpy.asarray", "of an array", lambda x: rt.numpy.asarray(x) ** 2, (X,)),
    Form("retape.numpy.asarray", "of a list", lambda x: rt.numpy.asarray([x[0, 0], x[0, 1]]) ** 2, (X,)),
    Form("retape.numpy.asarray", "in Fortran order", lambda x: rt.numpy.asarray(x, order="F").ravel("K") ** 2, (X,)),
    Form("retape.numpy.asarray", "of plain numbers", lambda x: rt.numpy.asarray([1.0, 2.0, 3.0], x.dtype) * x**2, (X,)),
    Form("retape.numpy.ascontiguousarray", "of a transpose", lambda x: rt.numpy.ascontiguousarray(x.T).ravel("K") ** 2, (X,)),
    Form("retape.numpy.ascontiguousarray", "of a scalar", lambda x: rt.numpy.ascontiguousarray(x) ** 2, (real(),)),
    Form("retape.numpy.asfortranarray", "of a matrix", lambda x: rt.numpy.asfortranarray(x).ravel("K") ** 2, (X,)),
    Form("retape.numpy.require", "Fortran order", lambda x: rt.numpy.require(x, None, ["F", "W"]).ravel("K") ** 2, (X,)),
    Form("retape.numpy.require", "memory of its own", lambda x: rt.numpy.require(x.T, requirements="O") ** 2, (X,)),
    Form("retape.numpy.full", "a scalar", lambda x: rt.numpy.full((2, 3), x[0, 0] ** 2) * x, (X,)),
    Form("retape.numpy.full", "a row", lambda x: rt.numpy.full((2, 3), x[0] ** 2) * x, (X,)),
    Form("retape.numpy.full", "a length", lambda x: rt.numpy.full(4, x[0, 0], dtype=x.dtype) ** 2, (X,)),
    Form("retape.numpy.full", "in Fortran order", lambda x: rt.numpy.full((2, 3), x[0] ** 2, order="F").ravel("K"), (X,)),
    Form("retape.numpy.vectorize", "with a branch", lambda x: rt.numpy.vectorize(lambda v: v**2 if v > 0 else -v)(x), (X,)),
    Form("retape.numpy.vectorize", "of two", lambda a, b: rt.numpy.vectorize(lambda u, v: u * v**2)(a, b), (X, real(3))),
    Form("retape.numpy.vectorize", "two results", lambda x: rt.numpy.vectorize(lambda v: (v**2, v**3), otypes="dd")(x), (X,),
         float32=False),
    Form("numpy.array", "like a traced one", lambda x: np.array([x[0, 0], x[0, 1] ** 2], like=x) ** 2
        , (X,)),
    Form("numpy.asarray", "like a traced one", lambda x: np.asarray(x, like=x) ** 2, (X,)),
    Form("numpy.asanyarray", "like a traced one", lambda x: np.asanyarray(x, like=x) ** 2, (X,)),
    Form("numpy.ascontiguousarray", "like a traced one", lambda x: np.ascontiguousarray(x.T, like=x).ravel("K") ** 2, (X,)),
    Form("numpy.asfortranarray", "like a traced one", lambda x: np.asfortranarray(x, like=x).ravel("K") ** 2, (X,)),
    Form("numpy.require", "like a traced one", lambda x: np.require(x, requirements="F", like=x).ravel("K") ** 2, (X,)),
    Form("numpy.full", "like a traced one", lambda x: np.full((2, 3), x[0], like=x) ** 2, (X,)),
    Form("retape.numpy.zeros", "written", fill(lambda x: rt.numpy.zeros((2, 3), x.dtype)), (X,)),
    Form("retape.numpy.zeros", "added to in a loop", accumulated, (X,)),
    Form("retape.numpy.zeros", "a view written", lambda x: write_view(rt.numpy.zeros(4, x.dtype), x), (X,)),
    Form("retape.numpy.zeros", "in Fortran order", fill(lambda x: rt.numpy.zeros((2, 3), x.dtype, "F")), (X,)),
    Form("retape.numpy.zeros", "complex", fill(lambda x: rt.numpy.zeros((2, 3), complex)), (cplx(2, 3),), float32=False),
    Form("retape.numpy.ones", "written", fill(lambda x: rt.numpy.ones((2, 3), dtype=x.dtype)), (X,)),
    Form("retape.numpy.empty", "written", fill(lambda x: rt.numpy.empty((2, 1), dtype=x.dtype)), (X,)),
    Form("retape.numpy.eye", "written", fill(lambda x: rt.numpy.eye(2, 3, k=1, dtype=x.dtype)), (X,)),
    Form("retape.numpy.identity", "written", fill(lambda x: rt.numpy.identity(3, x.dtype)), (X,)),
    Form("retape.numpy.full", "a number, written", fill(lambda x: rt.numpy.full((2, 3), 2, dtype=x.dtype)), (X,)),
    Form("retape.numpy.array", "of numbers, written", fill(lambda x: rt.numpy.array([[1, 2, 3]], dtype=x.dtype)), (X,)),
    Form("numpy.zeros", "like a traced one, written", fill(lambda x: np.zeros((2, 3), x.dtype, like=x)), (X,)),
    Form("numpy.ones", "like a traced one, written", fill(lambda x: np.ones((2, 3), x.dtype, like=x)), (X,)),
    Form("numpy.empty", "like a traced one, written", fill(lambda x: np.empty((2, 1), x.dtype, like=x)), (X,)),
    Form("numpy.eye", "like a traced one, written", fill(lambda x: np.eye(3, dtype=x.dtype, like=x)), (X,)),
    Form("numpy.identity", "like a traced one, written", fill(lambda x: np.identity(3, x.dtype, like=x)), (X,)),
    Form("numpy.linspace", "of scalars", lambda a, b: np.linspace(a, b**2, 5), (real(), real(seed=1))),
    Form("numpy.linspace", "of arrays", lambda a, b: np.linspace(a, b**2, 4, axis=-1), (real(2), real(3, 1, seed=1))),
    Form("numpy.linspace", "from a number", lambda b: np.linspace(0, b**2, 3), (real(2),)),
    Form("numpy.linspace", "without its end", lambda a: np.linspace(a**2, 3.0, 4, endpoint=False), (real(2),)),
    Form("numpy.linspace", "with the step", lambda a: np.linspace(a**2, 3.0, 4, retstep=True), (real(2),)),
    Form("numpy.linspace", "one number", lambda a: np.linspace(a**2, 3.0, 1), (real(2),)),
    Form("numpy.linspace", "no number", lambda a: np.linspace(a**2, 3.0, 0), (real(2),)),
    Form("numpy.linspace", "of equal ends", lambda a: np.linspace(a, a, 3) ** 2, (real(2),)),
    Form("numpy.linspace", "another dtype", lambda a: np.linspace(a**2, 1, 3, dtype=complex), (real(2),), float32=False),
    Form("numpy.linspace", "integers", lambda a: np.linspace(a, 9.3, 4, dtype=int) * a, (np.array(0.4),), float32=False),
    Form("numpy.linspace", "complex", lambda a: np.linspace(a, a**2 * 1j, 3), (cplx(2),)),
    Form("numpy.logspace", "of arrays", lambda a, b: np.logspace(a, b, 3, axis=1), (real(2), real(2, seed=1)),
         tolerance=1e-5),
    Form("numpy.logspace", "a base", lambda a: np.logspace(a, 2.0, 4, endpoint=False, base=2.0), (real(2),)),
    Form("numpy.logspace", "a traced base", lambda a, b: np.logspace(a, 1.5, 3, base=b), (real(), positive())),
    Form("numpy.logspace", "traced bases", lambda a, b: np.logspace(0, a, 3, base=b), (real(2), positive(2))),
    Form("numpy.logspace", "another dtype", lambda a: np.logspace(a, 1, 3, dtype=complex), (real(2),), float32=False,
         tolerance=1e-5),
    Form("numpy.geomspace", "of scalars", lambda a, b: np.geomspace(a, b, 4), (positive(), positive(seed=1)), float32=False),
    Form("numpy.geomspace", "negative", lambda a: np.geomspace(-a, -3.0, 4), (positive(2),), float32=False),
    Form("numpy.geomspace", "of arrays", lambda a, b: np.geomspace(a, b, 3, axis=-1), (positive(2), positive(2, seed=1)),
         float32=False),
    Form("numpy.geomspace", "without its end", lambda a: np.geomspace(a, 9.0, 3, endpoint=False), (positive(2),),
         float32=False),
    Form("numpy.geomspace", "complex", lambda a: np.geomspace(a, a * (2 + 1j), 3), (cplx(2),), float32=False),
]  # fmt: skip
