"""scipy.stats with derivatives: densities and distribution functions, composed of special functions, in double precision.

Each object stands for SciPy's distribution of that name: the methods that are written here work on traced arrays, in
the argument, in `loc` and `scale`, and in the shapes where the special functions have a derivative; all else is SciPy's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
from scipy import special

from ..errors import MissingRuleError
from .multivariate import LOG_ROOT_TWO_PI, Dirichlet, MultivariateNormal, double
from .replace import PATCHES, is_traced


class Distribution:
    """SciPy's distribution `name` with derivatives, from methods of its standard form and the edges of its support.

    `shapes` are the names of its shape parameters; `support` gives the edges from them. A standard method takes the
    standardised argument and the shapes. Below and above the support it is not asked: an inner point stands in.
    """

    def __init__(self, name: str, shapes: str, inner: float, support: Callable, **methods: Callable) -> None:
        self._original = getattr(scipy.stats, name)
        self._name = name
        self._shapes = shapes.split()
        self._inner = inner
        self._support = support
        self._methods = methods
        self._is_discrete = "logpmf" in methods

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Freeze SciPy\'s distribution at plain parameters."""
        if is_traced(args) or is_traced(keywords):
            raise MissingRuleError(
                f"scipy.stats.{self._name} cannot be frozen with traced parameters: pass them to the method, as in "
                f"{self._name}.{'logpmf' if self._is_discrete else 'logpdf'}(x, ...)"
            )
        return self._original(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        original = getattr(self._original, name)
        base = {"pdf": "logpdf", "pmf": "logpmf", "logcdf": "cdf", "logsf": "sf"}.get(name, name)
        if name in self._methods or base in self._methods:
            known = self._methods.get(name)

            def method(*args: Any, **keywords: Any) -> Any:
                if not is_traced(args) and not is_traced(keywords):
                    return original(*args, **keywords)
                return self._evaluated(name, base, known, args, keywords)

            return method

        def plain(*args: Any, **keywords: Any) -> Any:
            if is_traced(args) or is_traced(keywords):
                known = ", ".join(sorted(self._methods))
                raise MissingRuleError(
                    f"scipy.stats.{self._name}.{name} of a traced array has no rule here; of {self._name} these have: {known}"
                )
            return original(*args, **keywords)

        return plain if callable(original) else original

    def _evaluated(self, name: str, base: str, known: Callable | None, args: tuple, keywords: dict) -> Any:
        names = [*([] if name == "entropy" else ["x"]), *self._shapes, "loc", "scale"]
        if self._is_discrete:
            names.remove("scale")
        given = dict(zip(names, args, strict=False)) | keywords
        unknown = [key for key in given if key not in names and key not in ("k", "q")]
        if unknown or len(args) > len(names):
            raise TypeError(f"{self._name}.{name} takes {', '.join(names)}, not {', '.join(unknown) or len(args)}")
        for other in ("k", "q"):
            if other in given:
                given["x"] = given.pop(other)
        shapes = [double(given[key]) for key in self._shapes]
        loc, scale = double(given.get("loc", 0.0)), double(given.get("scale", 1.0))
        if name == "entropy":
            return self._methods["entropy"](*shapes) + np.log(scale)
        if "scale" in given:
            # As SciPy does: a distribution of negative width has no values.
            scale = np.where(np.greater(scale, 0), scale, math.nan)
        x = double(given["x"])
        low, high = self._support(*shapes)
        if name in ("ppf", "isf"):
            return (known or self._methods[base])(x, *shapes) * scale + loc
        z = (x - loc) / scale
        is_inside = np.logical_and(np.greater_equal(z, low), np.less_equal(z, high))
        if self._is_discrete and base == "logpmf":
            is_inside = np.logical_and(is_inside, np.equal(np.floor(z), z))
        inner = np.where(is_inside, z, self._inner)
        y = (known or self._methods[base])(inner, *shapes)
        is_log = base.startswith("log") if known is None else name.startswith("log")
        if base in ("logpdf", "logpmf"):
            y = y if self._is_discrete else y - np.log(scale)
            y = np.where(is_inside, y, -math.inf)
            return np.exp(y) if name in ("pdf", "pmf") and known is None else y
        edge = np.where(np.less(z, low), 0.0, 1.0) if base.endswith("cdf") else np.where(np.less(z, low), 1.0, 0.0)
        if is_log:
            outside = np.where(np.equal(edge, 0), -math.inf, 0.0)
            return np.where(is_inside, y, outside)
        if name in ("logcdf", "logsf"):
            inside = np.log(np.where(is_inside, y, 1.0))
            return np.where(is_inside, inside, np.where(np.equal(edge, 0), -math.inf, 0.0))
        return np.where(is_inside, y, edge)


def _everywhere(*shapes: Any) -> tuple[float, float]:
    return -math.inf, math.inf


def _positive(*shapes: Any) -> tuple[float, float]:
    return 0.0, math.inf


def _unit(*shapes: Any) -> tuple[float, float]:
    return 0.0, 1.0


norm = Distribution(
    "norm", "", 0.0, _everywhere,
    logpdf=lambda x: -x * x / 2 - LOG_ROOT_TWO_PI,
    cdf=lambda x: special.ndtr(x),
    logcdf=lambda x: special.log_ndtr(x),
    sf=lambda x: special.ndtr(-x),
    logsf=lambda x: special.log_ndtr(-x),
    ppf=lambda q: special.ndtri(q),
    isf=lambda q: -special.ndtri(q),
    entropy=lambda: 0.5 + LOG_ROOT_TWO_PI,
)  # fmt: skip
t = Distribution(
    "t", "df", 0.0, _everywhere,
    logpdf=lambda x, df: -special.betaln(0.5, df / 2) - np.log(df) / 2 - (df + 1) / 2 * np.log1p(x * x / df),
    cdf=lambda x, df: special.stdtr(df, x),
    sf=lambda x, df: special.stdtr(df, -x),
    ppf=lambda q, df: special.stdtrit(df, q),
    isf=lambda q, df: -special.stdtrit(df, q),
    entropy=lambda df: (df + 1) / 2 * (special.psi((df + 1) / 2) - special.psi(df / 2))
    + np.log(df) / 2 + special.betaln(df / 2, 0.5),
)  # fmt: skip
gamma = Distribution(
    "gamma", "a", 1.0, _positive,
    logpdf=lambda x, a: special.xlogy(a - 1, x) - x - special.gammaln(a),
    cdf=lambda x, a: special.gammainc(a, x),
    sf=lambda x, a: special.gammaincc(a, x),
    ppf=lambda q, a: special.gammaincinv(a, q),
    isf=lambda q, a: special.gammainccinv(a, q),
    entropy=lambda a: special.psi(a) * (1 - a) + a + special.gammaln(a),
)  # fmt: skip
chi2 = Distribution(
    "chi2", "df", 1.0, _positive,
    logpdf=lambda x, df: special.xlogy(df / 2 - 1, x) - x / 2 - special.gammaln(df / 2) - math.log(2) * df / 2,
    cdf=lambda x, df: special.chdtr(df, x),
    sf=lambda x, df: special.chdtrc(df, x),
    ppf=lambda q, df: 2 * special.gammaincinv(df / 2, q),
    isf=lambda q, df: special.chdtri(df, q),
    entropy=lambda df: df / 2 + math.log(2) + special.gammaln(df / 2) + (1 - df / 2) * special.psi(df / 2),
)  # fmt: skip
beta = Distribution(
    "beta", "a b", 0.5, _unit,
    logpdf=lambda x, a, b: special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x) - special.betaln(a, b),
    cdf=lambda x, a, b: special.betainc(a, b, x),
    sf=lambda x, a, b: special.betaincc(a, b, x),
    ppf=lambda q, a, b: special.betaincinv(a, b, q),
    isf=lambda q, a, b: special.betainccinv(a, b, q),
    entropy=lambda a, b: special.betaln(a, b) - (a - 1) * special.psi(a) - (b - 1) * special.psi(b)
    + (a + b - 2) * special.psi(a + b),
)  # fmt: skip
expon = Distribution(
    "expon", "", 1.0, _positive,
    logpdf=lambda x: -x,
    cdf=lambda x: -np.expm1(-x),
    sf=lambda x: np.exp(-x),
    logsf=lambda x: -x,
    ppf=lambda q: -np.log1p(-q),
    isf=lambda q: -np.log(q),
    entropy=lambda: 1.0,
)  # fmt: skip
logistic = Distribution(
    "logistic", "", 0.0, _everywhere,
    logpdf=lambda x: x - 2 * np.logaddexp(0, x),
    cdf=lambda x: special.expit(x),
    logcdf=lambda x: special.log_expit(x),
    sf=lambda x: special.expit(-x),
    logsf=lambda x: special.log_expit(-x),
    ppf=lambda q: special.logit(q),
    isf=lambda q: -special.logit(q),
    entropy=lambda: 2.0,
)  # fmt: skip
laplace = Distribution(
    "laplace", "", 0.0, _everywhere,
    logpdf=lambda x: -np.absolute(x) - math.log(2),
    cdf=lambda x: np.where(np.greater(x, 0), 1 - np.exp(-np.absolute(x)) / 2, np.exp(-np.absolute(x)) / 2),
    sf=lambda x: np.where(np.greater(x, 0), np.exp(-np.absolute(x)) / 2, 1 - np.exp(-np.absolute(x)) / 2),
    entropy=lambda: math.log(2) + 1,
)  # fmt: skip
cauchy = Distribution(
    "cauchy", "", 0.0, _everywhere,
    logpdf=lambda x: -np.log1p(x * x) - math.log(math.pi),
    cdf=lambda x: np.arctan2(1, -x) / math.pi,
    sf=lambda x: np.arctan2(1, x) / math.pi,
    ppf=lambda q: np.tan(math.pi * (q - 0.5)),
    entropy=lambda: math.log(4 * math.pi),
)  # fmt: skip
poisson = Distribution(
    "poisson", "mu", 0.0, _positive,
    logpmf=lambda k, mu: special.xlogy(k, mu) - special.gammaln(k + 1) - mu,
    cdf=lambda k, mu: special.pdtr(np.floor(k), mu),
    sf=lambda k, mu: special.pdtrc(np.floor(k), mu),
)  # fmt: skip
binom = Distribution(
    "binom", "n p", 0.0, lambda n, p: (0.0, n),
    logpmf=lambda k, n, p: special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    + special.xlogy(k, p) + special.xlog1py(n - k, -p),
)  # fmt: skip


multivariate_normal = MultivariateNormal()
dirichlet = Dirichlet()
PATCHES["scipy.stats"] = {
    "norm": norm, "t": t, "gamma": gamma, "chi2": chi2, "beta": beta, "expon": expon, "logistic": logistic,
    "laplace": laplace, "cauchy": cauchy, "poisson": poisson, "binom": binom,
    "multivariate_normal": multivariate_normal, "dirichlet": dirichlet,
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Return what SciPy has of that name."""
    return getattr(scipy.stats, name)
