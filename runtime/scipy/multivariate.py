"""Distributions of vectors for `stats`: the normal one by its Cholesky factor, and Dirichlet's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.stats
from scipy import special

from ..array import Array
from ..errors import MissingRuleError
from .linalg.common import from_triangle
from .linalg.solving import triangular
from .replace import is_traced

LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


def _array(a: Any) -> Any:
    return a if type(a) is Array else np.asarray(a)


def double(a: Any) -> Any:
    """Return `a` as an array, plain or traced, in double precision."""
    a = a if type(a) is Array else np.asarray(a)
    return a.astype(np.result_type(a.dtype, np.float64))


class MultivariateNormal:
    """SciPy's `multivariate_normal` with derivatives of logpdf, pdf and entropy; all else is SciPy's."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Freeze SciPy\'s distribution at plain parameters."""
        if is_traced(args) or is_traced(keywords):
            raise MissingRuleError(
                "scipy.stats.multivariate_normal cannot be frozen with traced parameters: use logpdf(x, ...)"
            )
        return scipy.stats.multivariate_normal(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(scipy.stats.multivariate_normal, name)

    def logpdf(self, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
        """Return the logarithm of the density at the vectors of `x`; a covariance may be a number or a diagonal."""
        if not is_traced((x, mean, cov)):
            return scipy.stats.multivariate_normal.logpdf(x, mean, cov, allow_singular)
        if allow_singular:
            raise MissingRuleError("multivariate_normal.logpdf of traced arrays takes no allow_singular=True")
        x, mean, cov = double(x), None if mean is None else double(mean), double(cov)
        n = mean.size if mean is not None else cov.shape[0] if cov.ndim == 2 else 1
        x = np.reshape(x, (*x.shape, 1)) if n == 1 and x.ndim < 2 else x
        deviation = x if mean is None else x - mean
        factor = np.linalg.cholesky(_covariance(cov, n))
        scaled = triangular(factor, np.transpose(np.reshape(deviation, (-1, n))), True, False, False)
        squares = np.reshape(np.sum(scaled * scaled, axis=0), tuple(m for m in deviation.shape[:-1] if m != 1))
        return -squares / 2 - n * LOG_ROOT_TWO_PI - np.sum(np.log(np.diagonal(factor)))

    def pdf(self, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
        """Return the density at the vectors of `x`."""
        if not is_traced((x, mean, cov)):
            return scipy.stats.multivariate_normal.pdf(x, mean, cov, allow_singular)
        return np.exp(self.logpdf(x, mean, cov, allow_singular))

    def entropy(self, mean: Any = None, cov: Any = 1) -> Any:
        """Return the differential entropy."""
        if not is_traced((mean, cov)):
            return scipy.stats.multivariate_normal.entropy(mean, cov)
        cov = double(cov)
        n = np.size(mean) if mean is not None else cov.shape[0] if cov.ndim == 2 else 1
        factor = np.linalg.cholesky(_covariance(cov, n))
        return n * (0.5 + LOG_ROOT_TWO_PI) + np.sum(np.log(np.diagonal(factor)))


def _covariance(cov: Any, n: int) -> Any:
    """Return the whole matrix, of which SciPy reads the lower triangle; a number or a diagonal made one."""
    return from_triangle(cov, True) if cov.ndim == 2 else np.eye(n) * np.reshape(cov, (-1, 1))


class Dirichlet:
    """SciPy's `dirichlet` with derivatives of logpdf, pdf and entropy; all else is SciPy's."""

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Freeze SciPy\'s distribution at plain parameters."""
        if is_traced(args) or is_traced(keywords):
            raise MissingRuleError("scipy.stats.dirichlet cannot be frozen with traced parameters: use logpdf(x, alpha)")
        return scipy.stats.dirichlet(*args, **keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(scipy.stats.dirichlet, name)

    def logpdf(self, x: Any, alpha: Any) -> Any:
        """Return the logarithm of the density; the components run along the first axis of `x`, its last may be left out."""
        if not is_traced((x, alpha)):
            return scipy.stats.dirichlet.logpdf(x, alpha)
        x, alpha = _array(x), _array(alpha)
        if x.shape[0] + 1 == alpha.shape[0]:
            x = np.concatenate([x, np.expand_dims(1 - np.sum(x, axis=0), 0)])
        weights = np.reshape(alpha - 1, (-1, *[1] * (x.ndim - 1)))
        return special.gammaln(np.sum(alpha)) - np.sum(special.gammaln(alpha)) + np.sum(special.xlogy(weights, x), axis=0)

    def pdf(self, x: Any, alpha: Any) -> Any:
        """Return the density."""
        if not is_traced((x, alpha)):
            return scipy.stats.dirichlet.pdf(x, alpha)
        return np.exp(self.logpdf(x, alpha))

    def entropy(self, alpha: Any) -> Any:
        """Return the differential entropy."""
        if not is_traced(alpha):
            return scipy.stats.dirichlet.entropy(alpha)
        alpha = _array(alpha)
        total = np.sum(alpha)
        logs = np.sum(special.gammaln(alpha)) - special.gammaln(total)
        return logs + (total - alpha.shape[0]) * special.psi(total) - np.sum((alpha - 1) * special.psi(alpha))
