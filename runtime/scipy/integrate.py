"""scipy.integrate with derivatives: `odeint` by its adjoint equation, and sums over samples by NumPy's own functions.

The adjoint (Pontryagin; Chen et al. 2018) integrates the cotangent backwards from one output time to the one before,
beside the state itself, which starts again from the recorded output each time. It is an `odeint` too, of a function
that differentiates the user's: so derivatives of any order follow, to the tolerance of the solver.
"""

from __future__ import annotations

import functools
import math
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.integrate

from .. import phantom
from ..array import Array, apply
from ..errors import MissingRuleError
from ..op import define
from ..transforms import pulled_back
from .replace import PATCHES, refuse, replaces


def _run(y0: Any, t: Any, *args: Any, func: Callable, options: tuple) -> np.ndarray:
    return np.ascontiguousarray(scipy.integrate.odeint(func, y0, t, args, **dict(options)))


def _integrated(func: Callable, y0: Any, t: Any, args: tuple, options: tuple) -> Any:
    return apply(ODEINT, (y0, t, *args), {"func": func, "options": options})


@functools.lru_cache(maxsize=256)
def _augmented(func: Callable, n: int, shapes: tuple) -> Callable:
    """Return the right-hand side for the state, its cotangent and the cotangents of the arguments, one after the other."""

    def slope(z: Any, t: Any, *args: Any) -> Any:
        y, cotangent = z[:n], z[n : 2 * n]
        rate, pullback, *_ = pulled_back(lambda y, *args: func(y, t, *args), y, *args)
        shares = pullback(np.reshape(cotangent, rate.shape))
        return np.concatenate([np.reshape(rate, (-1,)), *(-np.reshape(share, (-1,)) for share in shares)])

    return slope


@functools.lru_cache(maxsize=256)
def _pointwise(func: Callable) -> Callable:
    return lambda y, t, *args: np.reshape(func(y, t, *args), (-1,))


def _swept(g: Any, y: Any, t: Any, args: tuple, func: Callable, options: tuple) -> list:
    """Return the cotangents of ``y0``, ``t`` and `args`."""
    steps, n = y.shape
    shapes = tuple(np.shape(a) for a in args)
    slope = _augmented(func, n, shapes)
    rate = _pointwise(func)
    sizes = [math.prod(shape) for shape in shapes]
    extra = np.zeros(sum(sizes), y.dtype)
    cotangent = g[steps - 1]
    moments = []
    for k in range(steps - 1, 0, -1):
        moments.append(np.sum(g[k] * rate(y[k], t[k], *args)))
        start = np.concatenate([y[k], cotangent, extra])
        end = _integrated(slope, start, np.stack([t[k], t[k - 1]]), args, options)[1]
        cotangent = end[n : 2 * n] + g[k - 1]
        extra = end[2 * n :]
    # The time of the start moves the state against its rate.
    moments.append(-np.sum((cotangent - g[0]) * rate(y[0], t[0], *args)))
    shares = []
    place = 0
    for shape, size in zip(shapes, sizes, strict=True):
        shares.append(np.reshape(extra[place : place + size], shape))
        place += size
    return [cotangent, np.stack(moments[::-1]), *shares]


_LATEST = threading.local()


def _rule(g: Any, y0: Any, t: Any, args: tuple, y: Any, func: Callable, options: tuple, position: int) -> Any:
    # One backward integration gives the shares of all inputs, whose rules run one after the other on the same cotangent.
    known = getattr(_LATEST, "sweep", None)
    if known is None or known[0]() is not g or known[1] is not y:
        shares = _swept(g, y, t, args, func, options)
        known = _LATEST.sweep = (weakref.ref(g, _forget), y, shares)
    return known[2][position]


def _forget(dead: weakref.ref) -> None:
    if getattr(_LATEST, "sweep", (None,))[0] is dead:
        _LATEST.sweep = None


ODEINT = define(
    "odeint",
    _run,
    inputs="y0 t args*",
    parameters=("func", "options"),
    rules=(_rule, _rule, _rule),
    infer=lambda y0, t, *args, func, options: phantom.contiguous((t.shape[0], y0.shape[0]), np.float64),
    flops=lambda out, *_, func, options: 1e4 * out.size,
    workspace=lambda out, *_, func, options: 50 * out.nbytes,
)


@replaces("scipy.integrate", "odeint")
def odeint(
    func: Callable, y0: Any, t: Any, args: tuple = (), Dfun: Any = None, col_deriv: int = 0, full_output: int = 0,  # noqa: N803
    ml: Any = None, mu: Any = None, rtol: float | None = None, atol: float | None = None, tcrit: Any = None,
    h0: float = 0.0, hmax: float = 0.0, hmin: float = 0.0, ixpr: int = 0, mxstep: int = 0, mxhnil: int = 0,
    mxordn: int = 12, mxords: int = 5, printmessg: int = 0, tfirst: bool = False,
) -> Any:  # fmt: skip
    """Integrate ``dy/dt = func(y, t, *args)``; derivatives in ``y0``, in the times and in `args`.

    What `func` closes over is constant to the derivative: pass what has one in `args`. A traced value in its closure
    raises an error, for `func` is run on plain numbers.
    """
    refuse("scipy.integrate.odeint", full_output=full_output, ml=ml, mu=mu, tcrit=tcrit, tfirst=tfirst)
    if any(isinstance(a, (list, tuple, dict)) for a in args):
        raise MissingRuleError("scipy.integrate.odeint of traced arrays takes arrays and numbers in args=")
    given = {"rtol": rtol, "atol": atol, "hmax": hmax, "hmin": hmin, "h0": h0}
    given |= {"ixpr": ixpr, "mxstep": mxstep, "mxhnil": mxhnil, "mxordn": mxordn, "mxords": mxords}
    options = tuple((name, value) for name, value in given.items() if value is not None)
    arrays = [a if type(a) is Array else np.asarray(a) for a in (y0, t, *args)]
    y0, t, *rest = (a.astype(np.float64) for a in arrays)
    return _integrated(func, np.reshape(y0, (-1,)), np.reshape(t, (-1,)), tuple(rest), options)


@replaces("scipy.integrate", "trapezoid")
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Any:
    """Integrate samples by trapezoids, as NumPy's `trapezoid`."""
    return np.trapezoid(y, x, dx, axis)


@replaces("scipy.integrate", "cumulative_trapezoid")
def cumulative_trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1, initial: Any = None) -> Any:
    """Integrate samples by trapezoids up to each of them."""
    axis = range(y.ndim)[axis]
    before, after = ([slice(None)] * y.ndim for _ in range(2))
    before[axis], after[axis] = slice(None, -1), slice(1, None)
    if x is None:
        width: Any = dx
    elif x.ndim == 1:
        width = np.reshape(np.diff(x), [-1 if k == axis else 1 for k in range(y.ndim)])
    else:
        width = np.diff(x, axis=axis)
    total = np.cumsum(width * (y[tuple(before)] + y[tuple(after)]) / 2, axis=axis)
    if initial is None:
        return total
    shape = tuple(1 if k == axis else extent for k, extent in enumerate(total.shape))
    return np.concatenate([np.full(shape, initial, total.dtype), total], axis=axis)


def __getattr__(name: str) -> Any:
    """Return the function that takes the place of SciPy's of that name, or SciPy's own."""
    found = PATCHES["scipy.integrate"].get(name)
    return getattr(scipy.integrate, name) if found is None else found
