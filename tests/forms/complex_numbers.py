"""Forms on complex arrays: parts, conjugates, and functions of complex numbers, holomorphic or not."""

import numpy as np

from . import Form, cplx, inside, positive, real

# Where each function has no branch point near: off the negative axis, off the cuts beyond 1.
RIGHT = positive(2, 3) + 1j * real(2, 3, seed=3)
LEFT = -positive(2, 3) + 1j * inside(2, 3, seed=5)
HOLOMORPHIC = [
    (np.negative, None), (np.positive, None), (np.square, lambda x: 2 * x), (np.reciprocal, lambda x: -1 / x**2),
    (np.sqrt, lambda x: 0.5 / np.sqrt(x)), (np.exp, np.exp), (np.exp2, lambda x: np.log(2) * np.exp2(x)),
    (np.expm1, np.exp), (np.log, lambda x: 1 / x), (np.log2, lambda x: 1 / (x * np.log(2))),
    (np.log10, lambda x: 1 / (x * np.log(10))), (np.log1p, lambda x: 1 / (1 + x)), (np.sin, np.cos),
    (np.cos, lambda x: -np.sin(x)), (np.tan, lambda x: 1 / np.cos(x) ** 2), (np.arcsin, lambda x: 1 / np.cos(np.arcsin(x))),
    (np.arccos, lambda x: -1 / np.sin(np.arccos(x))), (np.arctan, lambda x: 1 / (1 + x * x)), (np.sinh, np.cosh),
    (np.cosh, np.sinh), (np.tanh, lambda x: 1 / np.cosh(x) ** 2), (np.arcsinh, lambda x: 1 / np.cosh(np.arcsinh(x))),
    (np.arccosh, lambda x: 1 / np.sinh(np.arccosh(x))), (np.arctanh, lambda x: 1 / ((1 - x) * (1 + x))), (np.sinc, None),
]  # fmt: skip
ARITHMETIC = [np.add, np.subtract, np.multiply, np.true_divide, np.power]


def _holomorphic(ufunc, derivative):
    name = f"numpy.{ufunc.__name__}"
    # The gradient of the real part is the derivative itself: df/dx - i df/dy, without a conjugate.
    yield Form(name, "of complex numbers on the right", ufunc, (RIGHT,), closed=derivative, tolerance=1e-5)
    yield Form(name, "of complex numbers on the left", ufunc, (LEFT,), closed=derivative, tolerance=1e-5)


def _arithmetic(ufunc):
    name = f"numpy.{ufunc.__name__}"
    yield Form(name, "complex by complex", ufunc, (RIGHT, cplx(3)), tolerance=1e-5)
    yield Form(name, "real by complex", lambda a, b: ufunc(a, b), (positive(2, 3), RIGHT), tolerance=1e-5)
    yield Form(name, "complex by real", lambda a, b: ufunc(a, b), (RIGHT, positive(3)), tolerance=1e-5)
    yield Form(name, "complex by a Python number", lambda a: ufunc(a, 1.5) + ufunc(1.5, a), (RIGHT,), tolerance=1e-5)
    yield Form(name, "real by a complex Python number", lambda a: ufunc(a, 1.5 - 2j), (positive(3),), tolerance=1e-5)
    yield Form(name, "a complex Python number by real", lambda a: ufunc(1.5 - 2j, a), (positive(3),), tolerance=1e-5)


def _leaving(name, x):
    function = getattr(np.emath, name)
    yield Form(f"numpy.emath.{name}", "inside and outside", function, (x,), tolerance=1e-5)
    yield Form(f"numpy.emath.{name}", "inside", function, (np.abs(x) / 2,), tolerance=1e-5)


FORMS = [
    *(form for row in HOLOMORPHIC for form in _holomorphic(*row)),
    *(form for ufunc in ARITHMETIC for form in _arithmetic(ufunc)),
    Form("numpy.power", "complex to fixed numbers", lambda x: x**2 + x**3 + x**-1 + x**0.5 + x**1.7 + x**0 + x**1, (RIGHT,)),
    Form("numpy.power", "complex to whole numbers", lambda x: x ** np.array([0, 1, 2]), (cplx(3),), float32=False),
    Form("numpy.power", "negative to complex", lambda a, b: a**b, (-positive(3), cplx(3)), tolerance=1e-5),
    Form("numpy.float_power", "complex by complex", np.float_power, (RIGHT, cplx(3)), tolerance=1e-5, float32=False),
    Form("numpy.real", "of complex", lambda x: np.real(x) * x.real, (cplx(3),)),
    Form("numpy.imag", "of complex", lambda x: np.imag(x) * x.imag, (cplx(3),)),
    Form("numpy.real", "of a transposed matrix", lambda x: np.real(x.T) * np.imag(x.T), (cplx(2, 3),)),
    Form("numpy.real", "of real numbers", lambda x: np.real(x) * x, (real(3),)),
    Form("numpy.imag", "of real numbers", lambda x: np.imag(x) + x, (real(3),)),
    Form("numpy.real", "written through", lambda x: _with_parts(x * x, x), (cplx(3),)),
    Form("numpy.conjugate", "of complex", lambda x: np.conj(x) * x, (cplx(3),)),
    Form("numpy.conjugate", "by its method", lambda x: x.conj() / x.conjugate() ** 2, (cplx(3),)),
    Form("numpy.absolute", "of complex", lambda x: np.abs(x), (cplx(3),)),
    Form("numpy.absolute", "squared", lambda x: np.abs(x) ** 2, (cplx(2, 3),), closed=lambda x: 2 * np.conj(x)),
    Form("numpy.sign", "of complex", np.sign, (cplx(2, 3),)),
    Form("numpy.angle", "of complex", np.angle, (cplx(2, 3),)),
    Form("numpy.angle", "in degrees", lambda x: np.angle(x, deg=True), (cplx(2, 3),), tolerance=1e-5),
    Form("numpy.nan_to_num", "of complex", lambda x: np.nan_to_num(x + np.array([0, np.inf, np.nan], x.dtype)), (cplx(3),)),
    Form("numpy.real_if_close", "of nearly real numbers", lambda x: np.real_if_close(np.conj(x) * x), (cplx(3),)),
    Form("numpy.real_if_close", "of numbers that are not", lambda x: np.real_if_close(x * x), (cplx(3),)),
    Form("numpy.round", "of complex, times x", lambda x: np.round(x, 1) * x, (cplx(3),)),
    Form("numpy.isreal", "and iscomplex, times x", lambda x: x * np.isreal(x) + 2 * x * np.iscomplex(x), (cplx(3),)),
    Form("numpy.where", "complex and real", lambda a, b: np.where([True, False, True], a, b), (cplx(3), real(3))),
    Form("numpy.where", "complex Python numbers", lambda a: np.where([True, False, True], a, 2j), (cplx(3),)),
    Form("numpy.ndarray.astype", "real to complex", lambda x: x.astype(np.complex128) * (1 + 2j), (real(3),), float32=False),
    *(form for name in ("sqrt", "log", "log2", "log10") for form in _leaving(name, real(3))),
    *(form for name in ("arccos", "arcsin", "arctanh") for form in _leaving(name, 1.7 * inside(5))),
    Form("numpy.emath.logn", "to base 3", lambda x: np.emath.logn(3, x), (inside(4),), tolerance=1e-5, float32=False),
    Form("numpy.emath.logn", "to a traced base", lambda n, x: np.emath.logn(n, x), (1 + positive(4), inside(4)),
         tolerance=1e-5),
    Form("numpy.emath.power", "a root", lambda x: np.emath.power(x, 0.5), (inside(4),), tolerance=1e-5, float32=False),
    Form("numpy.emath.power", "an array of powers", lambda x, p: np.emath.power(x, p), (inside(4), real(4)), tolerance=1e-5),
    Form("numpy.emath.power", "negative integers", lambda x: np.emath.power(x, np.array([-1, 2])), (positive(3, 2),),
         float32=False),
    Form("numpy.copy", "of complex", lambda x: np.copy(x) * x, (cplx(3),)),
    Form("numpy.clip", "the absolute values", lambda x: x * np.clip(np.abs(x), 0.5, 1.0), (cplx(5),)),
]  # fmt: skip


def _with_parts(y, x):
    """Replace the parts of `y` through the views of them."""
    parts = y.imag
    y.real[1:] = x.imag[1:] ** 2
    parts[0] = x.real[2]
    parts *= 2.0
    return y * parts
