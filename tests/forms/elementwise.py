"""Forms of the elementwise functions: every ufunc with a derivative, on matrices, single numbers, views and nothing."""

import math

import numpy as np

from . import Form, inside, positive, real

UNARY = [
    (np.negative, real(2, 3), lambda x: -np.ones_like(x)),
    (np.positive, real(2, 3), np.ones_like),
    (np.square, real(2, 3), lambda x: 2 * x),
    (np.reciprocal, positive(2, 3), lambda x: -1 / x**2),
    (np.sqrt, positive(2, 3), lambda x: 0.5 / np.sqrt(x)),
    (np.cbrt, inside(2, 3), lambda x: np.abs(x) ** (-2 / 3) / 3),
    (np.exp, real(2, 3), np.exp),
    (np.exp2, real(2, 3), lambda x: np.log(2) * np.exp2(x)),
    (np.expm1, real(2, 3), np.exp),
    (np.log, positive(2, 3), lambda x: 1 / x),
    (np.log2, positive(2, 3), lambda x: 1 / (x * np.log(2))),
    (np.log10, positive(2, 3), lambda x: 1 / (x * np.log(10))),
    (np.log1p, positive(2, 3), lambda x: 1 / (1 + x)),
    (np.sin, real(2, 3), np.cos),
    (np.cos, real(2, 3), lambda x: -np.sin(x)),
    (np.tan, inside(2, 3), lambda x: 1 / np.cos(x) ** 2),
    (np.arcsin, inside(2, 3), lambda x: 1 / np.sqrt((1 - x) * (1 + x))),
    (np.arccos, inside(2, 3), lambda x: -1 / np.sqrt((1 - x) * (1 + x))),
    (np.arctan, real(2, 3), lambda x: 1 / (1 + x**2)),
    (np.sinh, real(2, 3), np.cosh),
    (np.cosh, real(2, 3), np.sinh),
    (np.tanh, real(2, 3), lambda x: 1 / np.cosh(x) ** 2),
    (np.arcsinh, real(2, 3), lambda x: 1 / np.sqrt(1 + x**2)),
    (np.arccosh, 1 + positive(2, 3), lambda x: 1 / np.sqrt((x - 1) * (x + 1))),
    (np.arctanh, inside(2, 3), lambda x: 1 / ((1 - x) * (1 + x))),
    (np.absolute, inside(2, 3), np.sign),
    (np.fabs, inside(2, 3), np.sign),
    (np.deg2rad, real(2, 3), lambda x: np.full_like(x, math.pi / 180)),
    (np.radians, real(2, 3), lambda x: np.full_like(x, math.pi / 180)),
    (np.rad2deg, real(2, 3), lambda x: np.full_like(x, 180 / math.pi)),
    (np.degrees, real(2, 3), lambda x: np.full_like(x, 180 / math.pi)),
    (np.conjugate, real(2, 3), np.ones_like),
    (np.sinc, real(2, 3), None),
    (np.i0, 3 * real(2, 3), None),
    (np.nan_to_num, real(2, 3), np.ones_like),
]
BINARY = [
    (np.add, real(2, 3), real(3, seed=1), lambda a, b: np.ones_like(a)),
    (np.subtract, real(2, 3), real(3, seed=1), lambda a, b: np.ones_like(a)),
    (np.multiply, real(2, 3), real(3, seed=1), lambda a, b: np.broadcast_to(b, a.shape)),
    (np.true_divide, real(2, 3), positive(3), lambda a, b: np.broadcast_to(1 / b, a.shape)),
    (np.power, positive(2, 3), real(3), lambda a, b: b * a ** (b - 1)),
    (np.float_power, positive(2, 3), real(3), lambda a, b: b * a ** (b - 1)),
    (np.hypot, inside(2, 3), real(3), lambda a, b: a / np.hypot(a, b)),
    (np.arctan2, inside(2, 3), inside(3, seed=2), lambda a, b: b / (a**2 + b**2)),
    (np.logaddexp, real(2, 3), real(3, seed=1), lambda a, b: 1 / (1 + np.exp(b - a))),
    (np.logaddexp2, real(2, 3), real(3, seed=1), lambda a, b: 1 / (1 + np.exp2(b - a))),
    (np.maximum, real(2, 3), real(3, seed=1), lambda a, b: (a > b) * 1.0),
    (np.minimum, real(2, 3), real(3, seed=1), lambda a, b: (a < b) * 1.0),
    (np.fmax, real(2, 3), real(3, seed=1), lambda a, b: (a > b) * 1.0),
    (np.fmin, real(2, 3), real(3, seed=1), lambda a, b: (a < b) * 1.0),
    (np.remainder, 3 * real(2, 3), positive(3), lambda a, b: np.ones_like(a)),
    (np.fmod, 3 * real(2, 3), positive(3), lambda a, b: np.ones_like(a)),
    (np.copysign, inside(2, 3), real(3), lambda a, b: np.sign(a) * np.sign(b)),
    (np.heaviside, inside(2, 3), real(3), lambda a, b: np.zeros_like(a)),
]
MASK = np.array([[True, False, True], [False, False, True]])


def _unary(ufunc, x, closed):
    name = f"numpy.{ufunc.__name__}"
    yield Form(name, "of a matrix", ufunc, (x,), closed=closed)
    yield Form(name, "of a number", lambda x: ufunc(x[1, 1]), (x,))
    yield Form(name, "of a strided view in three dimensions", lambda x: ufunc(x.T[::2, None, ::-1]), (x,))
    if ufunc not in (np.i0,):  # np.i0 of nothing is an error
        yield Form(name, "of nothing", lambda x: ufunc(x[:0]), (x,))


def _binary(ufunc, a, b, closed):
    name = f"numpy.{ufunc.__name__}"
    float32 = ufunc is not np.float_power
    yield Form(name, "broadcast", ufunc, (a, b), closed=closed, float32=float32)
    yield Form(name, "the other way round", lambda a, b: ufunc(b[:, None], a[0, :2]), (np.abs(a), np.abs(b)), float32=float32)
    yield Form(name, "of numbers", lambda a, b: ufunc(a[1, 1], b[0]), (a, b), float32=float32)
    yield Form(name, "of a plain array", lambda a: ufunc(a, np.array([0.3, 0.7, 1.9], a.dtype)), (a,), float32=float32)
    yield Form(
        name, "by a plain array", lambda a: ufunc(np.array([1.3, 0.7, 2.9], a.dtype), a), (np.abs(a),), float32=float32
    )
    yield Form(name, "of a Python number", lambda a: ufunc(a, 1.25), (np.abs(a),), float32=float32)
    yield Form(name, "by a Python number", lambda a: ufunc(1.25, a), (np.abs(a),), float32=float32)
    yield Form(name, "of views in other orders", lambda a: ufunc(a.T, 0.6 + a.T[::-1] ** 2), (np.abs(a),), float32=float32)
    yield Form(name, "of nothing", lambda a, b: ufunc(a[:0], b), (a, b), float32=float32)


FORMS = [
    *(form for row in UNARY for form in _unary(*row)),
    *(form for row in BINARY for form in _binary(*row)),
    Form("numpy.power", "a fixed square", lambda x: x**2, (real(3),), closed=lambda x: 2 * x),
    Form("numpy.power", "a fixed cube", lambda x: x**3, (real(3),), closed=lambda x: 3 * x**2),
    Form("numpy.power", "a fixed cube given as a float", lambda x: x**3.0, (real(3),)),
    Form("numpy.power", "to the one", lambda x: x**1, (real(3),)),
    Form("numpy.power", "to the zero", lambda x: x**0 + x, (real(3),)),
    Form("numpy.power", "a fixed root", lambda x: x**0.5, (positive(3),), closed=lambda x: 0.5 * x**-0.5),
    Form("numpy.power", "a fixed broken power", lambda x: x**2.7, (positive(3),)),
    Form("numpy.power", "a fixed inverse", lambda x: x**-1, (inside(3),)),
    Form("numpy.power", "a fixed negative power", lambda x: x**-2.5, (positive(3),)),
    Form("numpy.power", "negative bases, a row of integers", lambda x: x ** np.array([0, 1, 2, 3]), (real(4),),
         float32=False),
    Form("numpy.power", "negative bases, whole floats", lambda x: x ** np.array([0.0, 1.0, 2.0, -3.0], x.dtype), (real(4),)),
    Form("numpy.power", "a Python base", lambda x: 1.7**x, (real(3),), closed=lambda x: np.log(1.7) * 1.7**x),
    Form("numpy.power", "a zero base, exponents above zero", lambda b: np.zeros(3, b.dtype) ** b, (positive(3),)),
    Form("numpy.heaviside", "the value at 0", lambda h: np.heaviside(np.array([-1.0, 0.0, 2.0], h.dtype), h), (real(3),)),
    Form("numpy.divmod", "both results", lambda a, b: np.divmod(a, b), (3 * real(4), positive(4))),
    Form("numpy.divmod", "by Python's operator", lambda a: divmod(a, 0.7), (3 * real(4),)),
    Form("numpy.modf", "both results", lambda x: np.modf(3 * x), (inside(2, 3),)),
    Form("numpy.frexp", "both results", lambda x: np.frexp(x), (inside(2, 3),)),
    Form("numpy.frexp", "put together again", lambda x: np.ldexp(*np.frexp(x * x)), (inside(2, 3),)),
    Form("numpy.ldexp", "a Python exponent", lambda x: np.ldexp(x, 3), (real(3),), closed=lambda x: np.full_like(x, 8)),
    Form("numpy.ldexp", "an array of exponents", lambda x: np.ldexp(x, np.array([[1], [-2]])), (real(3),)),
    Form("numpy.where", "a mask", lambda a, b: np.where(MASK, a, b), (real(2, 3), real(3, seed=1))),
    Form("numpy.where", "a traced condition", lambda a: np.where(a > 0, a * a, -a), (inside(2, 3),)),
    Form("numpy.where", "a float condition", lambda a: np.where(np.floor(a), a, 2.0), (2 * inside(5),)),
    Form("numpy.where", "Python numbers", lambda a: np.where(MASK, 1, a) + np.where(MASK, a, 0.5), (real(3),)),
    Form("numpy.where", "0-d", lambda a: np.where(True, a[0], a[1]), (real(2),)),
    Form("numpy.where", "the one-argument form", lambda a: a[np.where(a > 0)], (inside(5),)),
    Form("numpy.clip", "two numbers", lambda x: np.clip(x, -0.5, 0.5), (real(7),)),
    Form("numpy.clip", "one side at a time", lambda x: np.clip(x, None, 0.5) * np.clip(x, -0.5, None), (real(7),)),
    Form("numpy.clip", "traced bounds", lambda x, a, b: np.clip(x, a, b), (real(2, 5), -positive(5), positive(2, 1))),
    Form("numpy.clip", "bounds that cross", lambda x, a, b: np.clip(x, b, a), (real(5), -positive(5), positive(5))),
    Form("numpy.clip", "min= and max=", lambda x: np.clip(x, min=-0.5, max=0.5), (real(7),)),
    Form("numpy.clip", "min= alone", lambda x: np.clip(x, min=-0.5), (real(7),)),
    Form("numpy.clip", "neither bound", lambda x: np.clip(x, None, None) ** 2, (real(7),)),
    Form("numpy.ndarray.clip", "two numbers", lambda x: x.clip(-0.5, 0.5) + x.clip(max=0.1), (real(7),)),
    Form("numpy.nan_to_num", "what is finite and what is not",
         lambda x: np.nan_to_num(x / np.array([1.0, math.inf, math.nan], x.dtype)), (real(3),)),
    Form("numpy.nan_to_num", "replacements that move",
         lambda x: np.nan_to_num(x + np.array([1.0, math.inf, -math.inf], x.dtype), nan=x[0], posinf=x[1], neginf=x[2]),
         (positive(3),)),
    Form("numpy.nan_to_num", "in place", lambda x: _replaced_in_place(x + np.array([1.0, math.nan], x.dtype)), (real(2),)),
    Form("numpy.round", "to decimals, times x", lambda x: np.round(x, 1) * x, (real(4),)),
    Form("numpy.round", "to hundreds, times x", lambda x: np.round(100 * x, -2) * x, (real(4),)),
    Form("numpy.fix", "times x", lambda x: np.fix(3 * x) * x, (inside(4),)),
    Form("numpy.floor", "times x", lambda x: np.floor(3 * x) * x, (inside(4),)),
    Form("numpy.ceil", "times x", lambda x: np.ceil(3 * x) * x, (inside(4),)),
    Form("numpy.trunc", "times x", lambda x: np.trunc(3 * x) * x, (inside(4),)),
    Form("numpy.rint", "times x", lambda x: np.rint(3 * x) * x, (inside(4),)),
    Form("numpy.floor_divide", "times x", lambda x: x // 0.3 * x, (inside(4),)),
    Form("numpy.sign", "times x", lambda x: np.sign(x) * x, (inside(4),)),
    Form("numpy.spacing", "times x", lambda x: np.spacing(x) + x, (inside(4),)),
    Form("numpy.angle", "of real numbers, times x", lambda x: np.angle(x) * x, (inside(4),)),
    Form("numpy.real_if_close", "of real numbers", lambda x: np.real_if_close(x) * x, (inside(4),)),
    Form("numpy.copy", "of a view", lambda x: np.copy(x.T) * x.T, (real(2, 3),)),
    Form("numpy.astype", "to itself", lambda x: np.astype(x, x.dtype) * np.astype(x, x.dtype, copy=False), (real(3),)),
    Form("numpy.ndarray.astype", "to integers, times x", lambda x: x.astype(int) * x, (3 * inside(4),), float32=False),
    Form("numpy.ndarray.astype", "to a longer float and back",
         lambda x: x.astype(np.longdouble).astype(x.dtype) * x, (real(3),)),
]  # fmt: skip


def _replaced_in_place(x):
    np.nan_to_num(x, copy=False, nan=2.0)
    return x * x
