"""Polynomials by their coefficients, highest power first: values, sums, products, quotients, derivatives, roots."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply
from ..op import define, implements
from .axes import as_operand, plain_value


def _coefficients(p: Any) -> Any:
    """Return coefficients as an array with one dimension at least."""
    if isinstance(p, np.poly1d):
        p = p.coeffs
    elif isinstance(p, (list, tuple)) and any(type(item) is Array for item in p):
        p = np.stack(p)
    return np.atleast_1d(as_operand(p))


def _in_kind(result: Any, *operands: Any) -> Any:
    """Return a `poly1d` where one of the operands is one, as NumPy does."""
    return np.poly1d(result) if any(isinstance(operand, np.poly1d) for operand in operands) else result


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """Compose values of Horner's scheme."""
    y: Any = 0
    if not isinstance(x, np.poly1d):
        x = as_operand(x)
        y = np.zeros_like(x)
    for coefficient in as_operand(p):
        y = y * x + coefficient
    return y


def _ascending(x: Any, c: Any, tensor: bool = True) -> Any:
    """Return values of Horner's scheme as `numpy.polynomial.polynomial.polyval` does: lowest power first, along axis 0."""
    x, c = as_operand(x), as_operand(c)
    c = c + 0.0 if c.dtype.kind in "biu" else c
    if tensor:
        c = np.reshape(c, c.shape + (1,) * x.ndim)
    y = c[-1] + x * 0
    for k in range(2, c.shape[0] + 1):
        y = y * x + c[-k]
    return y


@implements(np.polynomial.polynomial.polyval2d)
def polyval2d(x: Any, y: Any, c: Any) -> Any:
    """Compose values of a polynomial of two variables."""
    x, y = as_operand(x), as_operand(y)
    if x.shape != y.shape:
        raise ValueError("x, y are incompatible")
    return _ascending(y, _ascending(x, c), tensor=False)


@implements(np.polynomial.polynomial.polygrid2d)
def polygrid2d(x: Any, y: Any, c: Any) -> Any:
    """Compose values of a polynomial of two variables on their grid."""
    return _ascending(y, _ascending(x, c))


def _padded(a: Any, b: Any) -> tuple[Any, Any]:
    a, b = _coefficients(a), _coefficients(b)
    shorter = len(b) - len(a)
    if shorter > 0:
        return np.concatenate([np.zeros(shorter, a.dtype), a]), b
    return a, np.concatenate([np.zeros(-shorter, b.dtype), b]) if shorter else b


@implements(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Any:
    """Compose a sum of coefficients of equal powers."""
    return _in_kind(np.add(*_padded(a1, a2)), a1, a2)


@implements(np.polysub)
def polysub(a1: Any, a2: Any) -> Any:
    """Compose a difference of coefficients of equal powers."""
    return _in_kind(np.subtract(*_padded(a1, a2)), a1, a2)


def _without_leading_zeros(p: Any) -> Any:
    """Return coefficients from the first on that is not zero, as `np.polymul` takes them; of zeros alone, the last."""
    p = _coefficients(p)
    if p.ndim > 1:
        raise ValueError("Polynomial must be 1d only.")
    if not len(p):
        return np.zeros(1, p.dtype)
    places = np.flatnonzero(plain_value(p))
    return p[int(places[0]) if places.size else len(p) - 1 :]


@implements(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    """Compose a product of a convolution."""
    return _in_kind(np.convolve(_without_leading_zeros(a1), _without_leading_zeros(a2)), a1, a2)


@implements(np.polydiv)
def polydiv(u: Any, v: Any) -> tuple[Any, Any]:
    """Compose long division: the quotient, and the remainder without leading zeros as NumPy sees them."""
    dividend, divisor = _coefficients(u) + 0.0, _coefficients(v) + 0.0
    dtype = np.result_type(dividend.dtype, divisor.dtype)
    size = len(divisor)
    steps = len(dividend) - size + 1
    scale = 1.0 / divisor[:1]
    rest = dividend.astype(dtype)
    if steps <= 0:
        quotient = np.zeros(1, dtype)
    else:
        window, digits, heads = rest[:size], [], []
        for k in range(steps):
            digit = scale * window[:1]
            window = window - digit * divisor
            digits.append(digit)
            if k + 1 < steps:
                heads.append(window[:1])
                window = np.concatenate([window[1:], rest[size + k : size + k + 1]])
        quotient, rest = np.concatenate(digits).astype(dtype), np.concatenate([*heads, window]).astype(dtype)
    plain = plain_value(rest)
    first = 0
    while first < len(plain) - 1 and np.allclose(plain[first], 0, rtol=1e-14):
        first += 1
    return _in_kind(quotient, u, v), _in_kind(rest[first:], u, v)


def _order(m: Any, other: str) -> int:
    m = int(m)
    if m < 0:
        raise ValueError(f"Order must be positive (see {other})")
    return m


@implements(np.polyder)
def polyder(p: Any, m: Any = 1) -> Any:
    """Compose a derivative: each coefficient by its power."""
    y = as_operand(p)
    for _ in range(_order(m, "polyint")):
        y = y[:-1] * np.arange(len(y) - 1, 0, -1)
    return y


@implements(np.polyint)
def polyint(p: Any, m: Any = 1, k: Any = None) -> Any:
    """Compose an antiderivative with the given constants of integration."""
    m = _order(m, "polyder")
    constants = np.zeros(m) if k is None else _coefficients(k)
    if len(constants) == 1 and m > 1:
        constants = np.broadcast_to(constants, (m,))
    if len(constants) < m:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    y = as_operand(p)
    for number in range(m):
        y = np.concatenate([y / np.arange(len(y), 0, -1), constants[number : number + 1]])
    return y


@implements(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    """Compose the polynomial with given roots, or the characteristic one of a matrix, of linear factors."""
    zeros = _coefficients(seq_of_zeros)
    if zeros.ndim == 2 and zeros.shape[0] == zeros.shape[1] != 0:
        zeros = np.linalg.eigvals(zeros)
    elif zeros.ndim == 1:
        zeros = zeros.astype(np.mintypecode(zeros.dtype.char), copy=False)
    else:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    if not len(zeros):
        return 1.0
    one = np.ones(1, zeros.dtype)
    product = one
    for number in range(len(zeros)):
        product = np.convolve(product, np.concatenate([one, -zeros[number : number + 1]]))
    if product.dtype.kind == "c":
        plain = plain_value(zeros).astype(complex)
        if np.all(np.sort(plain) == np.sort(plain.conjugate())):
            product = np.real(product)
    return product


def _slope_of_powers(x: Any, N: int, increasing: bool) -> Any:
    """Return ``k * x**(k-1)`` for the powers k from 1 to N - 1, in the order of the columns."""
    exponents = np.arange(1.0, N) if increasing else np.arange(N - 1.0, 0.0, -1.0)
    return np.vander(x, N - 1, increasing) * exponents


def _vander_rule(g: Any, x: Any, N: int, increasing: bool) -> Any:
    return np.sum((g[:, 1:] if increasing else g[:, :-1]) * _slope_of_powers(x, N, increasing), axis=1)


def _vander_tangent(t: Any, x: Any, N: int, increasing: bool) -> Any:
    moved = np.reshape(t, (-1, 1)) * _slope_of_powers(x, N, increasing)
    return np.pad(moved, [(0, 0), (1, 0) if increasing else (0, 1)])


VANDER = define(
    "vander",
    np.vander,
    inputs="x",
    parameters=("N", "increasing"),
    rules=_vander_rule,
    infer=lambda x, N, increasing: phantom.contiguous((x.shape[0], N), np.promote_types(x.dtype, int)),
    jvp=_vander_tangent,
)


@implements(np.vander)
def vander(x: Any, N: Any = None, increasing: Any = False) -> Any:
    """Record the powers of each number, 0 to N - 1."""
    if x.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    N = len(x) if N is None else int(N)
    if N < 2:
        return np.vander(np.zeros(len(x), x.dtype), N)
    return apply(VANDER, (x,), {"N": N, "increasing": bool(increasing)})


ROOTS = define(
    "roots",
    lambda p, count, dtype: np.roots(p),
    inputs="p",
    parameters=("count", "dtype"),
    # Where p(z) = 0, dz = -dp(z) / p'(z): the coefficient of each power moves a root by that power of it.
    rules=lambda g, p, y: -np.matmul(g / np.polyval(np.polyder(p), y), np.vander(y, p.shape[0])),
    infer=lambda p, count, dtype: phantom.contiguous((count,), dtype),
    flops=lambda out, p, count, dtype: 10.0 * count**3,
    workspace=lambda out, p, count, dtype: 4 * p.shape[0] * p.shape[0] * out.itemsize,
    jvp=lambda t, p, y: -np.polyval(t, y) / np.polyval(np.polyder(p), y),
)


@implements(np.roots)
def roots(p: Any) -> Any:
    """Record the roots. How many there are and whether all are real is in the numbers, so these are read."""
    p = np.atleast_1d(p)
    if p.ndim != 1:
        raise ValueError("Input must be a rank-1 array.")
    found = np.roots(plain_value(p))
    return apply(ROOTS, (p,), {"count": found.size, "dtype": found.dtype}) if found.size else found
