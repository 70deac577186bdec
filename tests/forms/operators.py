"""Forms of Python's operators, and of applying a ufunc again at the places that an index names."""

import operator

import numpy as np

from . import Form, cplx, inside, matrix, positive, real

BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.mod, operator.pow, operator.floordiv]
INT = np.array([1, 2, 0])


def forms_of(function):
    """The forms of an operator: of arrays, of numbers, the other way round."""
    name = function.__name__
    keep = (lambda y, x: y * x) if name == "floordiv" else (lambda y, x: y)
    yield Form(
        f"numpy.ndarray.__{name}__",
        "of two arrays",
        lambda a, b: keep(function(a, b), a),
        (positive(2, 3), positive(3, seed=1)),
    )
    yield Form(f"numpy.ndarray.__{name}__", "by a number", lambda a: keep(function(a, 2.5), a), (positive(3),))
    yield Form(f"numpy.ndarray.__r{name}__", "of a number", lambda b: keep(function(2.5, b), b), (positive(3),))
    yield Form(f"numpy.ndarray.__r{name}__", "of a plain array", lambda b: keep(function(INT, b), b), (positive(3),),
               float32=False)  # fmt: skip
    if name not in ("mod", "floordiv"):
        yield Form(f"numpy.ndarray.__{name}__", "complex", function, (cplx(3), cplx(3, seed=1)))


# Where each is defined, and stays so when it is applied twice.
UNARY = {
    ufunc: x
    for x, ufuncs in [
        (inside(3), [np.absolute, np.arcsin, np.arcsinh, np.arctan, np.arctanh, np.cbrt, np.conjugate, np.cos, np.cosh,
                     np.deg2rad, np.degrees, np.exp, np.exp2, np.expm1, np.fabs, np.positive, np.rad2deg, np.radians, np.sign,
                     np.sin, np.sinh, np.square, np.tan, np.tanh, np.negative]),
        (positive(3), [np.reciprocal, np.sqrt, np.log1p]),
        (3 + positive(3), [np.arccosh, np.log, np.log2, np.log10]),
        (inside(3), [np.arccos]),
    ]
    for ufunc in ufuncs
}  # fmt: skip
ONCE = (np.arccos, np.arccosh, np.log, np.log2, np.log10, np.arctanh)


def at(ufunc, index, *operands):
    """A program that applies a ufunc at places of an array, in place."""

    def f(x, *more):
        y = x * 1.0
        assert ufunc.at(y, index, *operands, *more) is None
        return y * x

    return f


FORMS = [
    *(form for function in BINARY for form in forms_of(function)),
    Form("numpy.ndarray.__matmul__", "of two matrices", operator.matmul, (real(2, 3), real(3, 2))),
    Form("numpy.ndarray.__matmul__", "complex", operator.matmul, (cplx(2, 3), cplx(3))),
    Form("numpy.ndarray.__rmatmul__", "of a plain matrix", lambda b: matrix(3).astype(b.dtype) @ b, (real(3, 2),)),
    Form("numpy.ndarray.__neg__", "of an array", operator.neg, (real(3),)),
    Form("numpy.ndarray.__pow__", "by a whole number", lambda x: x**3 + x**-2 + x**0, (inside(3),)),
    *(
        Form(f"numpy.{ufunc.__name__}.at", "places" if ufunc in ONCE else "places, one again",
             at(ufunc, [0, 2] if ufunc in ONCE else [0, 2, 0]), (x,), tolerance=1e-5)
        for ufunc, x in UNARY.items()
    ),
    *(
        Form(f"numpy.{ufunc.__name__}.at", "places, one again, of two arrays", at(ufunc, [0, 2, 0]), (positive(3), y),
             tolerance=1e-5, float32=ufunc is not np.float_power)
        for y in (positive(3, seed=5),)
        for ufunc in (np.arctan2, np.copysign, np.float_power, np.fmax, np.fmin, np.heaviside, np.logaddexp2, np.remainder)
    ),
    Form("numpy.floor_divide.at", "places, one again", at(np.floor_divide, [0, 2, 0], 0.3), (positive(3),)),
    Form("numpy.ldexp.at", "places, one again", at(np.ldexp, [0, 2, 0], INT), (positive(3),)),
    Form("numpy.ldexp.outer", "by whole numbers", lambda x: np.ldexp.outer(x, INT) ** 2, (real(2),)),
    Form("numpy._core.umath.clip", "between two arrays", np._core.umath.clip,
         (real(4), np.full(4, -0.3), np.linspace(0.4, 0.5, 4))),
]  # fmt: skip
