"""The gamma, digamma, beta and incomplete gamma and beta functions: their derivatives, complex ones where SciPy has them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ...array import Array
from ...op import elementwise
from .table import is_complex, no_rule, singular

# Bernoulli's numbers B2, B4, ... of the asymptotic series of the digamma function.
BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
ZETA = special._ufuncs._zeta  # pyright: ignore[reportAttributeAccessIssue]
RIEMANN_ZETA = special._ufuncs._riemann_zeta  # pyright: ignore[reportAttributeAccessIssue]


def trigamma(x: Any) -> Any:
    """Return the derivative of the digamma function; SciPy has it for real arguments only.

    A complex argument is moved to the right by the recurrence, where the asymptotic series (DLMF 5.15.8) has
    converged; the left half-plane is reflected (DLMF 5.15.6).
    """
    if not is_complex(x):
        return ZETA(2.0, x)
    is_left = np.less(np.real(x), 0.5)
    w = np.where(is_left, 1 - x, x)
    total: Any = 0.0
    for k in range(12):
        total = total + 1 / np.square(w + k)
    inverse = 1 / (w + 12)
    square = inverse * inverse
    series: Any = 0.0
    for coefficient in reversed(BERNOULLI):
        series = (series + coefficient) * square
    total = total + inverse * (1 + inverse / 2 + series)
    return np.where(is_left, np.square(math.pi / np.sin(math.pi * np.where(is_left, x, 0.5))) - total, total)


def _rgamma_slope(x: Any, y: Any) -> Any:
    # To the left by reflection: at the poles of gamma it is finite, where psi(x) / gamma(x) is not.
    is_left = np.less(np.real(x), 0.5)
    left = np.where(is_left, x, 0)
    right = np.where(is_left, 1, x)
    turned = np.cos(math.pi * left) - np.sin(math.pi * left) * special.psi(1 - left) / math.pi
    return np.where(is_left, special.gamma(1 - left) * turned, -special.psi(right) * y)


def gamma_density(a: Any, x: Any) -> Any:
    """Return the slope of ``gammainc(a, x)`` in x."""
    return np.exp(special.xlogy(a - 1, x) - x - special.gammaln(a))


def beta_density(a: Any, b: Any, x: Any) -> Any:
    """Return the slope of ``betainc(a, b, x)`` in x."""
    return np.exp(special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x) - special.betaln(a, b))


elementwise(special.gamma, "x", lambda x, y: y * special.psi(x), cost=40)
elementwise(special.gammaln, "x", lambda x: special.psi(x), cost=40)
elementwise(special.loggamma, "x", lambda x: special.psi(x), cost=60)
elementwise(special.rgamma, "x", _rgamma_slope, cost=40)
elementwise(special.gammasgn, "x", None)
elementwise(special.psi, "x", trigamma, cost=60)
elementwise(ZETA, "s x", no_rule("zeta", "its exponent"), lambda s, x: -s * ZETA(s + 1, x), cost=100, name="zeta")
elementwise(RIEMANN_ZETA, "x", no_rule("zeta", "its exponent"), name="riemann_zeta")
elementwise(special.zetac, "x", no_rule("zetac", "its exponent"))
elementwise(
    special.beta,
    "a b",
    lambda a, b, y: y * (special.psi(a) - special.psi(a + b)),
    lambda a, b, y: y * (special.psi(b) - special.psi(a + b)),
    cost=60,
)
elementwise(
    special.betaln,
    "a b",
    lambda a, b: special.psi(a) - special.psi(a + b),
    lambda a, b: special.psi(b) - special.psi(a + b),
    cost=60,
)
elementwise(
    special.poch,
    "a m",
    lambda a, m, y: y * (special.psi(a + m) - special.psi(a)),
    lambda a, m, y: y * special.psi(a + m),
    cost=60,
)
elementwise(
    special.binom,
    "n k",
    lambda n, k, y: y * (special.psi(n + 1) - special.psi(n - k + 1)),
    lambda n, k, y: y * (special.psi(n - k + 1) - special.psi(k + 1)),
    cost=60,
)


def _incomplete(name: str, inputs: str, density: Any, sign: int) -> None:
    """Add a regularised incomplete function and its inverse, whose slopes are those of each other's values."""
    *shapes, _ = inputs.split()
    refused = [no_rule(name, f"its parameter {shape!r}") for shape in shapes]
    if len(shapes) == 1:
        slopes = (lambda a, x: sign * density(a, x), lambda a, y: sign / density(a, y))
    else:
        slopes = (lambda a, b, x: sign * density(a, b, x), lambda a, b, y: sign / density(a, b, y))
    singular(getattr(special, name), inputs, *refused, slopes[0], cost=100)
    singular(getattr(special, name + "inv"), inputs, *refused, slopes[1], cost=200)


_incomplete("gammainc", "a x", gamma_density, 1)
_incomplete("gammaincc", "a x", gamma_density, -1)
_incomplete("betainc", "a b x", beta_density, 1)
_incomplete("betaincc", "a b x", beta_density, -1)


def polygamma(n: Any, x: Any) -> Any:
    """Return the n-th derivative of the digamma function of real `x`, computed in double precision as SciPy does."""
    n = n if type(n) is Array else np.asarray(n)
    x = x if type(x) is Array else np.asarray(x)
    x = x.astype(np.result_type(x.dtype, np.float64))
    sign = 1 - 2.0 * np.equal(n % 2, 0)
    higher = sign * special.gamma(n + 1.0) * ZETA(np.where(np.equal(n, 0), 1, n) + 1.0, x)
    return np.where(np.equal(n, 0), special.psi(x), higher)


def multigammaln(a: Any, d: int) -> Any:
    """Return the logarithm of the multivariate gamma function of dimension `d`, for `a` above ``(d - 1) / 2``."""
    a = a.astype(np.result_type(a.dtype, np.float64))
    total: Any = d * (d - 1) * 0.25 * math.log(math.pi)
    for j in range(int(d)):
        total = total + special.gammaln(a - 0.5 * j)
    return total
