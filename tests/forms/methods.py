"""Forms of the methods and attributes of an array, and of the operators."""

import numpy as np

from . import Form, cplx, distinct, inside, positive, real

X = real(3, 4)
ONES = np.array([1.0, 2.0, 3.0])


def changed(write):
    """A program that makes an array, changes it in place and returns it."""

    def f(x):
        y = x * x
        returned = write(y, x)
        assert returned is None
        return y * x

    return f


def operated(operate):
    """A program that applies an in-place operator to an array that has a view."""

    def f(x):
        y = x * x
        view = y[0]
        return operate(y, x) * view

    return f


def add(y, x):
    y += x
    return y


def multiply(y, x):
    y *= x + 3
    return y


def subtract(y, x):
    y -= 2.0
    return y


def divide(y, x):
    y /= 2 + x * x
    return y


def raise_to(y, x):
    y **= 2
    return y


def remainder(y, x):
    y %= 0.7
    return y


def product(y, x):
    y @= np.sin(x[:, :3])
    return y


def write_real(z, x):
    z.real = x.imag**2


def write_imaginary_part(z, x):
    z.imag[1:] *= 3.0


def write_flat(y, x):
    y.flat[1::2] = x[0, :3] ** 2 if x.size == 6 else [1.0, 2.0]


def write_all_flat(y, x):
    y.flat = [1.0, 2.0]
    y[0] *= x[0]


def write_pairs(z, x):
    z.view(np.float64)[::2] *= 2.0


METHODS = [
    ("sum", lambda x: x.sum(), lambda x: x.sum(-1, keepdims=True) ** 2),
    ("prod", lambda x: x.prod(), lambda x: x.prod(axis=0)),
    ("mean", lambda x: x.mean() ** 2, lambda x: x.mean(axis=(0, 1), keepdims=True) ** 2),
    ("var", lambda x: x.var(), lambda x: x.var(axis=1, ddof=1)),
    ("std", lambda x: x.std(), lambda x: x.std(0, keepdims=True)),
    ("max", lambda x: x.max() ** 2, lambda x: x.max(axis=1) ** 2),
    ("min", lambda x: x.min() ** 2, lambda x: x.min(axis=0, initial=9.0) ** 2),
    ("cumsum", lambda x: x.cumsum() ** 2, lambda x: x.cumsum(axis=-1) ** 2),
    ("cumprod", lambda x: x.cumprod(), lambda x: x.cumprod(axis=0)),
    ("argmax", lambda x: x[x.argmax(0), 0] ** 2, lambda x: x.ravel()[x.argmax()] ** 2),
    ("argmin", lambda x: x[x.argmin(0), 0] ** 2, lambda x: x.ravel()[x.argmin()] ** 2),
    ("any", lambda x: np.where((x > 1).any(0), x * x, x), lambda x: x * x * (x > 1).any()),
    ("all", lambda x: np.where((x > 1).all(axis=1, keepdims=True), x * x, x), lambda x: x * x * (x > 0).all()),
    ("dot", lambda x: x.dot(x.T), lambda x: x.dot(np.arange(4.0).astype(x.dtype)) ** 2),
    ("trace", lambda x: x.trace() ** 2, lambda x: x.trace(1, 1, 0) ** 2),
    ("diagonal", lambda x: x.diagonal() ** 2, lambda x: x.diagonal(-1) ** 2),
    ("squeeze", lambda x: x[:1].squeeze() ** 2, lambda x: x[:1].squeeze(axis=0) ** 2),
    ("swapaxes", lambda x: x.swapaxes(0, 1) ** 2, lambda x: x[None].swapaxes(0, -1) ** 2),
    ("ravel", lambda x: x.ravel() ** 2, lambda x: x.ravel("F") ** 2),
    ("flatten", lambda x: x.flatten() ** 2, lambda x: x.T.flatten(order="K") ** 2),
    ("take", lambda x: x.take([0, 5, 5]) ** 2, lambda x: x.take([0, -1], axis=1, mode="wrap") ** 2),
    ("repeat", lambda x: x.repeat(2) ** 2, lambda x: x.repeat([1, 0, 2], axis=0) ** 2),
    ("clip", lambda x: x.clip(0.8, 2.1) ** 2, lambda x: x.clip(min=0.8) ** 2),
    ("round", lambda x: x.round() * x, lambda x: x.round(-1) * x + x * x),
    ("argsort", lambda x: x[:, x[0].argsort()] ** 2, lambda x: x.ravel()[x.argsort(axis=None)] ** 2),
    ("argpartition", lambda x: x[:, x[0].argpartition(1)[:2]] ** 2, lambda x: x[x[:, 0].argpartition(1, axis=0)[:1]] ** 2),
    ("nonzero", lambda x: x[(x > 1).nonzero()] ** 2, lambda x: x[x.nonzero()] ** 2),
    (
        "searchsorted",
        lambda x: x[0] * np.arange(5.0).searchsorted([1, 2, 3, 4]),
        lambda x: x * np.sort(x[0]).searchsorted(1.0),
    ),
    ("conj", lambda x: x.conj() * x, lambda x: x.conjugate() ** 2),
    ("compress", lambda x: x.compress([True, False, True]) ** 2, lambda x: x.compress([0, 1, 0, 1], axis=1) ** 2),
    ("reshape", lambda x: x.reshape(2, 6) ** 2, lambda x: x.reshape((4, -1), order="F") ** 2),
    ("transpose", lambda x: x.transpose() ** 2, lambda x: x.transpose(1, 0) ** 2),
    ("astype", lambda x: x.astype(x.dtype, copy=False) ** 2, lambda x: x.astype(x.dtype, order="F").ravel("K") ** 2),
    ("copy", lambda x: x.copy() ** 2, lambda x: x.T.copy("K").ravel("K") ** 2),
    ("view", lambda x: x.view() ** 2, lambda x: x.view(x.dtype) ** 2),
    ("to_device", lambda x: x.to_device("cpu") ** 2, lambda x: x.to_device("cpu", stream=None) ** 2),
    ("T", lambda x: x.T**2, lambda x: x[0].T ** 2),
    ("mT", lambda x: x.mT**2, lambda x: x[None].mT ** 2),
    ("real", lambda x: x.real**2, lambda x: x[0].real ** 2),
    ("imag", lambda x: x.imag + x**2, lambda x: x[0].imag + x),
    ("flat", lambda x: x.flat[3] ** 2, lambda x: x.T.flat[1:5] ** 2),
    ("shape", lambda x: x * x * x.shape[0], lambda x: x * x / len(x)),
    ("size", lambda x: x * x * x.size, lambda x: x * x.nbytes / x.itemsize * x),
]

FORMS = [
    *(
        Form(f"numpy.ndarray.{name}", text, f, (distinct(3, 4),), tolerance=1e-5)
        for name, plain, keyworded in METHODS
        for text, f in (("plain", plain), ("with arguments", keyworded))
    ),
    Form("numpy.ndarray.mean", "where", lambda x: x.mean(0, where=x > 0) ** 2, (positive(2, 3),)),
    Form("numpy.ndarray.sum", "into out", lambda x: x.sum(0, None, np.zeros_like(x[0])) ** 2, (X,)),
    Form("numpy.ndarray.flat", "iterated over", lambda x: sum(v**2 for v in x.T.flat), (X,)),
    Form("numpy.ndarray.flat", "several places", lambda x: x.flat[[1, 1, 5]] ** 2, (X,)),
    Form("numpy.ndarray.flat", "copied", lambda x: x.T.flat.copy() ** 2, (X,)),
    Form("numpy.ndarray.flat", "written", changed(write_flat), (real(2, 3),)),
    Form("numpy.ndarray.flat", "all written, round and round", changed(write_all_flat), (real(2, 3),)),
    Form("numpy.ndarray.fill", "a value", changed(lambda y, x: y[1:].fill(x[0, 0] ** 2)), (X,)),
    Form("numpy.ndarray.fill", "a number", changed(lambda y, x: y[1:].fill(3)), (X,)),
    Form("numpy.ndarray.sort", "of a product in place", changed(lambda y, x: y.sort()), (distinct(3, 4),), tolerance=1e-5),
    Form("numpy.ndarray.sort", "an axis in place", changed(lambda y, x: y.sort(0, kind="stable")), (distinct(3, 4),),
         tolerance=1e-5),
    Form("numpy.ndarray.partition", "in place", changed(lambda y, x: y[0].partition(1)), (distinct(3, 4),), tolerance=1e-5),
    Form("numpy.ndarray.transpose", "a tuple", lambda x: x.transpose((2, 0, 1)) ** 2, (real(2, 3, 2),)),
    Form("numpy.ndarray.transpose", "None", lambda x: x.transpose(None) ** 2, (X,)),
    Form("numpy.ndarray.reshape", "a list", lambda x: x.reshape([6, 2]) ** 2, (X,)),
    Form("numpy.ndarray.astype", "complex", lambda x: x.astype(complex) ** 2 * 1j, (X,), float32=False),
    Form("numpy.ndarray.astype", "to integers", lambda x: x.astype(int) * x, (distinct(2, 3),), float32=False),
    Form("numpy.ndarray.astype", "to truths", lambda x: x.astype(bool) * x**2, (inside(2, 3),)),
    Form("numpy.ndarray.astype", "there and back", lambda x: (x.astype("g") ** 2).astype(x.dtype), (X,)),
    Form("numpy.ndarray.conj", "complex", lambda x: x.conj() * x**2, (cplx(2, 3),)),
    Form("numpy.ndarray.conjugate", "complex", lambda x: x.conjugate() * x, (cplx(3),)),
    Form("numpy.ndarray.real", "complex", lambda x: x.real**2 * x.imag, (cplx(3),)),
    Form("numpy.ndarray.real", "written", changed(write_real), (cplx(3),)),
    Form("numpy.ndarray.imag", "written through", changed(write_imaginary_part), (cplx(3),)),
    Form("numpy.ndarray.view", "of complex as real", lambda x: x.view(x.real.dtype) ** 2, (cplx(2, 3),)),
    Form("numpy.ndarray.view", "of real as complex", lambda x: x.view(np.result_type(x.dtype, 1j)) ** 2, (X,)),
    Form("numpy.ndarray.view", "written through", changed(write_pairs), (cplx(3),), float32=False),
    Form("numpy.ndarray.diagonal", "axes", lambda x: x.diagonal(0, 1, 2) ** 2, (real(2, 3, 2),)),
    Form("numpy.ndarray.__iadd__", "seen by a view", operated(add), (X,)),
    Form("numpy.ndarray.__isub__", "a number", operated(subtract), (X,)),
    Form("numpy.ndarray.__imul__", "seen by a view", operated(multiply), (X,)),
    Form("numpy.ndarray.__itruediv__", "seen by a view", operated(divide), (X,)),
    Form("numpy.ndarray.__ipow__", "seen by a view", operated(raise_to), (X,)),
    Form("numpy.ndarray.__imod__", "by a number", operated(remainder), (X,)),
    Form("numpy.ndarray.__imatmul__", "seen by a view", operated(product), (real(3, 3),)),
    Form("numpy.ndarray.__divmod__", "by a number", lambda x: divmod(x, 0.7)[1] * x, (X,)),
    Form("numpy.ndarray.__rdivmod__", "of a number", lambda x: divmod(3.0, x)[1] * x, (positive(3),)),
    Form("numpy.ndarray.__rmatmul__", "of a list", lambda x: [1.0, 2.0, 3.0] @ x**2, (X,), float32=False),
    Form("numpy.ndarray.__rpow__", "of a Python number", lambda x: 2.0**x, (X,)),
    Form("numpy.ndarray.__rsub__", "of a Python number, squared", lambda x: (1 - x) ** 2, (X,)),
    Form("numpy.ndarray.__rtruediv__", "of an array", lambda x: ONES.astype(x.dtype) / x, (positive(3),)),
    Form("numpy.ndarray.__pos__", "plus", lambda x: (+x) ** 2, (X,)),
    Form("numpy.ndarray.__abs__", "modulus", lambda x: abs(x) ** 2, (inside(3),)),
    Form("numpy.ndarray.__contains__", "a number", lambda x: x**2 if 5.0 not in x else x, (X,)),
    Form("numpy.ndarray.__iter__", "over rows", lambda x: sum(row**2 for row in x), (X,)),
    Form("numpy.ndarray.__len__", "of rows", lambda x: x**2 * len(x), (X,)),
    Form("numpy.ndarray.__copy__", "of the standard library", lambda x: __import__("copy").copy(x) ** 2, (X,)),
    Form("numpy.ndarray.__deepcopy__", "of the standard library", lambda x: __import__("copy").deepcopy(x) ** 2, (X,)),
    Form("numpy.ndarray.flags", "read", lambda x: x.T**2 if x.T.flags.f_contiguous and x.flags["C"] else x, (X,)),
    Form("numpy.ndarray.strides", "read", lambda x: x**2 * (x.T.strides[0] / x.itemsize), (X,)),
    Form("numpy.ndarray.base", "read", lambda x: x**2 if x.T[0].base is x else x, (X,)),
    Form("numpy.ndarray.device", "read", lambda x: x**2 if x.device == "cpu" else x, (X,)),
    Form("numpy.ndarray.__array_namespace__", "used", lambda x: x.__array_namespace__().sin(x), (X,)),
]  # fmt: skip
