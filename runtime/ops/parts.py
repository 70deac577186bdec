"""Parts of complex numbers: real and imaginary, absolute value, direction, angle, conjugate.

The convention is that of HIPS autograd and JAX: the gradient of a real f is df/dx - i df/dy, and the rule of a
holomorphic function multiplies by its derivative as it is, without conjugation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply
from ..layouts import layout, lies_as
from ..op import UFUNCS, by_rules, define, elementwise, implements
from ..views import as_view
from .masked import over

by_rules(np.conjugate, "x", lambda g: np.conjugate(g), jvp="linear")


def _real_into(out: np.ndarray, x: Any) -> np.ndarray:
    np.copyto(out, np.real(x))
    return out


def _imaginary_into(out: np.ndarray, x: Any) -> np.ndarray:
    np.copyto(out, np.imag(x))
    return out


REAL = define(
    "real",
    lambda x: np.array(np.real(x), order="K"),
    inputs="x",
    rules=lambda g: g,
    infer=lambda x: phantom.copied(x.real),
    run_into=_real_into,
    jvp="linear",
)
IMAG = define(
    "imag",
    lambda x: np.array(np.imag(x), order="K"),
    inputs="x",
    rules=lambda g: g * -1j,
    infer=lambda x: phantom.copied(x.real),
    run_into=_imaginary_into,
    jvp="linear",
)


def _run_combine(real: Any, imaginary: Any) -> np.ndarray:
    y = np.empty_like(real, np.result_type(real, np.complex64))
    y.real, y.imag = real, imaginary
    return y


COMBINE = define(
    "combine",
    _run_combine,
    inputs="real imaginary",
    rules=(lambda g: np.real(g), lambda g: -np.imag(g)),
    infer=lambda real, imaginary: phantom.elementwise([real], np.result_type(real.dtype, np.complex64)),
    jvp=(lambda t: t, lambda t: t * 1j),
)


def combine(real: Any, imaginary: Any) -> Any:
    """Return the complex array with these parts, two real arrays of one shape and dtype."""
    return apply(COMBINE, (real, imaginary))


@implements(np.real)
def real(val: Any) -> Any:
    """Return the real part, a view; of a real array, itself."""
    if val.dtype.kind != "c":
        return val
    made = as_view(
        val,
        apply(REAL, (val,)),
        lambda base: apply(REAL, (base,)),
        lambda base, value: combine(value, apply(IMAG, (base,))),
    )
    return lies_as(made, np.real(layout(val)))


@implements(np.imag)
def imag(val: Any) -> Any:
    """Return the imaginary part, a view; of a real array, zeros."""
    if val.dtype.kind != "c":
        return np.zeros_like(val)
    made = as_view(
        val,
        apply(IMAG, (val,)),
        lambda base: apply(IMAG, (base,)),
        lambda base, value: combine(apply(REAL, (base,)), value),
    )
    return lies_as(made, np.imag(layout(val)))


elementwise(np.fabs, "x", lambda x: np.sign(x))
elementwise(np.sign, "x", None)

# The direction z / |z| moves with the angle of z alone: dy = (dz - y * y * conj(dz)) / (2 |z|).
COMPLEX_SIGN = define(
    "complex_sign",
    np.sign,
    inputs="x",
    rules=lambda g, x, y: over(g - np.conjugate(g * y * y), 2 * np.absolute(x)),
    infer=lambda x: phantom.of_ufunc(np.sign, (x,)),
    flops=lambda out, x: 20.0 * out.size,
    jvp=lambda t, x, y: over(t - y * y * np.conjugate(t), 2 * np.absolute(x)),
)


@implements(np.sign)
def sign(x: Any) -> Any:
    """Record a sign: piecewise constant for real numbers, the direction for complex ones."""
    return apply(COMPLEX_SIGN if type(x) is Array and x.dtype.kind == "c" else UFUNCS[np.sign], (x,))


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """Compose the angle of arctan2; its gradient at 0 is 0."""
    y = np.arctan2(np.imag(z), np.real(z)) if z.dtype.kind == "c" else np.arctan2(0, z)
    return y * (180 / math.pi) if deg else y


@implements(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    """Return the real part where all imaginary parts are within `tol` machine epsilons of 0, else `a`."""
    if a.dtype.kind != "c":
        return a
    limit = float(np.finfo(a.dtype).eps * tol) if tol > 1 else tol
    return np.real(a) if bool(np.all(np.less(np.absolute(np.imag(a)), limit))) else a


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """Tell which elements have an imaginary part."""
    return np.not_equal(np.imag(x), 0)


@implements(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    """Tell which elements are positive infinity."""
    return np.logical_and(np.isinf(x), np.logical_not(np.signbit(x)))


@implements(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    """Tell which elements are negative infinity."""
    return np.logical_and(np.isinf(x), np.signbit(x))
