"""grad and its family: retape's transforms with the suite's argument numbers and its rules about outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

import retape as rt

from .core import make_jvp as _make_jvp
from .core import make_vjp as _make_vjp
from .core import vspace
from .wrap_util import unary_to_nary

make_vjp = unary_to_nary(_make_vjp)
make_jvp = unary_to_nary(_make_jvp)
checkpoint = rt.checkpoint


def _of_scalar(fun: Any, x: Any) -> tuple[Any, Any]:
    vjp, output = _make_vjp(fun, x)
    space = vspace(output)
    if space.size != 1:
        raise TypeError("a gradient needs a function with a real scalar output")
    return output, vjp(space.ones())


@unary_to_nary
def grad(fun, x):
    """
    Returns a function which gives the gradient of a scalar function.
    """
    return _of_scalar(fun, x)[1]


@unary_to_nary
def value_and_grad(fun, x):
    """Returns a function which gives value and gradient."""
    return _of_scalar(fun, x)


@unary_to_nary
def grad_and_aux(fun, x):
    """Returns a function which gives the gradient of the first output, and the second."""
    vjp, (output, aux) = _make_vjp(fun, x)
    return vjp((vspace(output).ones(), vspace(aux).zeros())), aux


@unary_to_nary
def elementwise_grad(fun, x):
    """Returns a function which gives the sums of the columns of the Jacobian."""
    vjp, output = _make_vjp(fun, x)
    if vspace(output).iscomplex:
        raise TypeError("elementwise_grad needs a real output")
    return vjp(vspace(output).ones())


@unary_to_nary
def deriv(fun, x):
    """Returns a function which gives the derivative along ones, forward."""
    return _make_jvp(fun, x)(vspace(x).ones())[1]


@unary_to_nary
def holomorphic_grad(fun, x):
    """Returns a function which gives the complex derivative."""
    return grad(lambda z: np.real(fun(z)))(x)


@unary_to_nary
def jacobian(fun, x):
    """Returns a function which gives the Jacobian, output axes first."""
    vjp, output = _make_vjp(fun, x)
    space = vspace(output)
    rows = [vjp(row) for row in space.standard_basis()]
    return np.reshape(np.stack(rows), space.shape + vspace(x).shape)


@unary_to_nary
def hessian(fun, x):
    """Returns a function which gives the Hessian."""
    return jacobian(jacobian(fun))(x)


@unary_to_nary
def make_hvp(fun, x):
    """Returns a function which gives ``(v -> H v, gradient)``."""
    return _make_vjp(grad(fun), x)


def hessian_tensor_product(fun, argnum=0):
    """Returns a function of the arguments and a tensor which gives the Hessian times the tensor."""

    def along(*args, **keywords):
        return np.sum(grad(fun, argnum)(*args[:-1], **keywords) * args[-1])

    return grad(along, argnum)


hessian_vector_product = hessian_tensor_product


def tensor_jacobian_product(fun, argnum=0):
    """Returns a function of the arguments and a tensor which gives the tensor times the Jacobian."""

    def along(*args, **keywords):
        return np.tensordot(args[-1], fun(*args[:-1], **keywords), np.ndim(args[-1]))

    return jacobian(along, argnum)


vector_jacobian_product = tensor_jacobian_product


def make_ggnvp(f, g=lambda y: 0.5 * np.sum(y**2, axis=-1), f_argnum=0):
    """Returns a function which gives the product with the generalised Gauss-Newton matrix of ``g(f(x))``."""

    @unary_to_nary
    def make(f, x):
        vjp, y = _make_vjp(f, x)
        hvp, _ = _make_vjp(grad(g), y)
        jvp, _ = _make_vjp(vjp, vspace(y).zeros())
        return lambda v: vjp(hvp(jvp(v)))

    return make(f, f_argnum)
