"""Functions of matrices (expm, logm, sqrtm and what is composed of them) and the matrix equations of scipy.linalg."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from ... import phantom
from ...array import apply
from ...errors import NotDifferentiableError
from ...op import Op, define
from ...ops.elementwise import stop_gradient
from ..replace import replaces
from .common import adjoint, doubled, matrix, swapped


def _frechet(op: Op, a: Any, direction: Any) -> Any:
    """Return the Frechet derivative of a matrix function, from the function of a block triangular matrix.

    f([[A, E], [0, A]]) = [[f(A), L(A, E)], [0, f(A)]] (Mathias 1996; Higham, "Functions of Matrices", 3.6). E is scaled
    to the size of A: L is linear in it, and a large E would cost squarings.
    """
    n = a.shape[-1]
    size = np.max(np.absolute(stop_gradient(direction)), axis=(-2, -1), keepdims=True)
    size = np.where(np.greater(size, 0), size, 1)
    a, direction = np.broadcast_arrays(a, direction / size)
    top = np.concatenate([a, direction], axis=-1)
    bottom = np.concatenate([a * 0, a], axis=-1)
    return apply(op, (np.concatenate([top, bottom], axis=-2),))[..., :n, n:] * size


def _matrix_function(name: str, run: Any) -> Op:
    op = define(
        name,
        lambda a: np.ascontiguousarray(run(a)),
        inputs="a",
        rules=lambda g, a: _frechet(op, swapped(a), g),
        jvp=lambda t, a: _frechet(op, a, t),
        infer=lambda a: phantom.contiguous(a.shape, a.dtype),
        flops=lambda out, a: 30.0 * a.size * a.shape[-1],
        workspace=lambda out, a: 10 * a.nbytes,
    )
    return op


def _of_its_kind(run: Any, name: str) -> Any:
    """Return a function whose result has the dtype of its argument, known before it runs."""

    def kept(a: np.ndarray) -> np.ndarray:
        y = run(a)
        if y.dtype.kind == "c" and a.dtype.kind != "c":
            raise NotDifferentiableError(
                f"scipy.linalg.{name} of this real matrix is complex: say {name}(a.astype(complex)), so that the kind of "
                "the result is known before it is computed"
            )
        return y.astype(a.dtype)

    return kept


EXPM = _matrix_function("expm", scipy.linalg.expm)
LOGM = _matrix_function("logm", _of_its_kind(scipy.linalg.logm, "logm"))


def _square(a: Any, name: str) -> Any:
    a = matrix(a)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"scipy.linalg.{name} takes square matrices, not {a.shape}")
    return a


@replaces("scipy.linalg", "expm")
def expm(A: Any) -> Any:  # noqa: N803
    """Return the exponential of square matrices."""
    return apply(EXPM, (_square(A, "expm"),))


@replaces("scipy.linalg", "expm_frechet")
def expm_frechet(
    A: Any,
    E: Any,
    method: Any = None,
    compute_expm: bool = True,
    check_finite: bool = True,  # noqa: N803
) -> Any:
    """Return the exponential (unless told not to) and its Frechet derivative along `E`, in double precision as SciPy."""
    a, direction = doubled(_square(A, "expm_frechet")), doubled(E)
    derivative = _frechet(EXPM, a, direction)
    return (apply(EXPM, (a,)), derivative) if compute_expm else derivative


@replaces("scipy.linalg", "logm")
def logm(A: Any) -> Any:  # noqa: N803
    """Return the principal logarithm; that of a real matrix must be real."""
    return apply(LOGM, (_square(A, "logm"),))


SQRTM = define(
    "sqrtm",
    lambda a: np.ascontiguousarray(_of_its_kind(scipy.linalg.sqrtm, "sqrtm")(a)),
    inputs="a",
    rules=lambda g, y: sylvester(swapped(y), swapped(y), g),
    jvp=lambda t, y: sylvester(y, y, t),
    infer=lambda a: phantom.contiguous(a.shape, a.dtype),
    flops=lambda out, a: 30.0 * a.size * a.shape[-1],
    workspace=lambda out, a: 4 * a.nbytes,
)


@replaces("scipy.linalg", "sqrtm")
def sqrtm(A: Any) -> Any:  # noqa: N803
    """Return the principal square root of a matrix; that of a real matrix must be real."""
    return apply(SQRTM, (_square(A, "sqrtm"),))


def _turned(a: Any) -> Any:
    return np.multiply(a, np.asarray(1j, np.result_type(a.dtype, np.complex64)))


@replaces("scipy.linalg", "cosm")
def cosm(A: Any) -> Any:  # noqa: N803
    """Return the cosine of a matrix."""
    a = _square(A, "cosm")
    return (expm(_turned(a)) + expm(-_turned(a))) / 2 if a.dtype.kind == "c" else np.real(expm(_turned(a)))


@replaces("scipy.linalg", "sinm")
def sinm(A: Any) -> Any:  # noqa: N803
    """Return the sine of a matrix."""
    a = _square(A, "sinm")
    return -_turned(expm(_turned(a)) - expm(-_turned(a))) / 2 if a.dtype.kind == "c" else np.imag(expm(_turned(a)))


@replaces("scipy.linalg", "tanm")
def tanm(A: Any) -> Any:  # noqa: N803
    """Return the tangent of a matrix."""
    return np.linalg.solve(cosm(A), sinm(A))


@replaces("scipy.linalg", "coshm")
def coshm(A: Any) -> Any:  # noqa: N803
    """Return the hyperbolic cosine of a matrix."""
    return (expm(A) + expm(-A)) / 2


@replaces("scipy.linalg", "sinhm")
def sinhm(A: Any) -> Any:  # noqa: N803
    """Return the hyperbolic sine of a matrix."""
    return (expm(A) - expm(-A)) / 2


@replaces("scipy.linalg", "tanhm")
def tanhm(A: Any) -> Any:  # noqa: N803
    """Return the hyperbolic tangent of a matrix."""
    return np.linalg.solve(coshm(A), sinhm(A))


SYLVESTER = define(
    "solve_sylvester",
    lambda a, b, q: np.ascontiguousarray(scipy.linalg.solve_sylvester(a, b, q)),
    inputs="a b q",
    rules=(
        lambda g, a, b, y: -np.matmul(sylvester(swapped(a), swapped(b), g), swapped(y)),
        lambda g, a, b, y: -np.matmul(swapped(y), sylvester(swapped(a), swapped(b), g)),
        lambda g, a, b: sylvester(swapped(a), swapped(b), g),
    ),
    jvp=(
        lambda t, a, b, y: -sylvester(a, b, np.matmul(t, y)),
        lambda t, a, b, y: -sylvester(a, b, np.matmul(y, t)),
        lambda t, a, b: sylvester(a, b, t),
    ),
    infer=lambda a, b, q: phantom.contiguous(q.shape, np.result_type(a, b, q)),
    flops=lambda out, a, b, q: 25.0 * (a.size * a.shape[-1] + b.size * b.shape[-1]),
    workspace=lambda out, a, b, q: 4 * (a.nbytes + b.nbytes + q.nbytes),
)


def sylvester(a: Any, b: Any, q: Any) -> Any:
    """Return the solution of ``a x + x b = q`` (Bartels & Stewart 1972)."""
    return apply(SYLVESTER, (a, b, q))


@replaces("scipy.linalg", "solve_sylvester")
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    """Solve ``a x + x b = q``."""
    a, b, q = matrix(a), matrix(b), matrix(q)
    if a.ndim != 2 or b.ndim != 2 or q.shape != (a.shape[0], b.shape[0]):
        raise ValueError(f"solve_sylvester: the shapes {a.shape}, {b.shape} and {q.shape} do not fit")
    return sylvester(a, b, q)


@replaces("scipy.linalg", "solve_continuous_lyapunov", "solve_lyapunov")
def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    """Solve ``a x + x a^H = q``."""
    a = matrix(a)
    return solve_sylvester(a, adjoint(a), q)


@replaces("scipy.linalg", "solve_discrete_lyapunov")
def solve_discrete_lyapunov(a: Any, q: Any, method: str | None = None) -> Any:
    """Solve ``a x a^H - x + q = 0`` by the bilinear transform to a continuous equation, whatever the method asked for."""
    a, q = doubled(a), doubled(q)
    one = np.eye(a.shape[0], dtype=a.dtype)
    right = np.linalg.inv(adjoint(a) + one)
    left = np.matmul(np.linalg.inv(a + one), a - one)
    return solve_continuous_lyapunov(left, -2 * np.matmul(np.matmul(np.linalg.inv(a + one), q), right))
