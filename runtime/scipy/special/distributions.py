"""Distribution functions of statistics (Poisson, binomial, chi-squared, gamma, F, Student): their slopes are densities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from .gamma_functions import beta_density, gamma_density
from .table import no_rule, singular


def _distribution(name: str, shapes: str, slope: Any) -> None:
    """Add a distribution function of its last argument, its complement or inverse; its shapes are refused."""
    refused = [no_rule(name, f"its parameter {shape!r}") for shape in shapes.split()]
    singular(getattr(special, name), f"{shapes} x", *refused, slope, cost=100)


def _poisson(k: Any, x: Any) -> Any:
    k = np.floor(k)
    return np.exp(special.xlogy(k, x) - x - special.gammaln(k + 1))


def _binomial(k: Any, n: Any, x: Any) -> Any:
    k = np.floor(k)
    return beta_density(k + 1, n - k, x)


def _negative_binomial(k: Any, n: Any, x: Any) -> Any:
    return beta_density(n, np.floor(k) + 1, x)


def _chi_squared(v: Any, x: Any) -> Any:
    return gamma_density(v / 2, x / 2) / 2


def _f(dfn: Any, dfd: Any, x: Any) -> Any:
    scale = dfd + dfn * x
    return beta_density(dfn / 2, dfd / 2, dfn * x / scale) * dfn * dfd / np.square(scale)


def _student(df: Any, x: Any) -> Any:
    # 1 / (sqrt(df) B(1/2, df/2)) (1 + x^2 / df)^(-(df + 1) / 2)
    return np.exp(-special.betaln(0.5, df / 2) - np.log(df) / 2 - (df + 1) / 2 * np.log1p(x * x / df))


_distribution("pdtr", "k", lambda k, x: -_poisson(k, x))
_distribution("pdtrc", "k", lambda k, x: _poisson(k, x))
_distribution("pdtri", "k", lambda k, y: -1 / _poisson(k, y))
_distribution("bdtr", "k n", lambda k, n, x: -_binomial(k, n, x))
_distribution("bdtrc", "k n", lambda k, n, x: _binomial(k, n, x))
_distribution("bdtri", "k n", lambda k, n, y: -1 / _binomial(k, n, y))
_distribution("nbdtr", "k n", lambda k, n, x: _negative_binomial(k, n, x))
_distribution("nbdtrc", "k n", lambda k, n, x: -_negative_binomial(k, n, x))
_distribution("nbdtri", "k n", lambda k, n, y: 1 / _negative_binomial(k, n, y))
_distribution("chdtr", "v", lambda v, x: _chi_squared(v, x))
_distribution("chdtrc", "v", lambda v, x: -_chi_squared(v, x))
_distribution("chdtri", "v", lambda v, y: -1 / _chi_squared(v, y))
_distribution("fdtr", "dfn dfd", lambda dfn, dfd, x: _f(dfn, dfd, x))
_distribution("fdtrc", "dfn dfd", lambda dfn, dfd, x: -_f(dfn, dfd, x))
_distribution("fdtri", "dfn dfd", lambda dfn, dfd, y: 1 / _f(dfn, dfd, y))
_distribution("stdtr", "df", lambda df, x: _student(df, x))
_distribution("stdtrit", "df", lambda df, y: 1 / _student(df, y))


def _gamma_distribution(name: str, sign: int) -> None:
    singular(
        getattr(special, name),
        "a b x",
        lambda a, b, x: sign * x * gamma_density(b, a * x),
        no_rule(name, "its parameter 'b'"),
        lambda a, b, x: sign * a * gamma_density(b, a * x),
        cost=100,
    )


_gamma_distribution("gdtr", 1)
_gamma_distribution("gdtrc", -1)
singular(
    special.gdtrix,
    "a b p",
    lambda a, y: -y / a,
    no_rule("gdtrix", "its parameter 'b'"),
    lambda a, b, y: 1 / (a * gamma_density(b, a * y)),
    cost=200,
)
singular(
    special.nrdtrimn,
    "p std x",
    lambda p, std: -std * math.sqrt(2 * math.pi) * np.exp(np.square(special.ndtri(p)) / 2),
    lambda p: -special.ndtri(p),
    lambda x: np.ones_like(x),
    cost=60,
)
