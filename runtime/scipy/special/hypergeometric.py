"""Hypergeometric functions and orthogonal polynomials: their derivatives in the argument, by a step in the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from .table import of_order

of_order(special.hyp0f1, "b x", lambda b, x: special.hyp0f1(b + 1, x) / b)
of_order(special.hyp1f1, "a b x", lambda a, b, x: a / b * special.hyp1f1(a + 1, b + 1, x), orders=2)
of_order(special.hyperu, "a b x", lambda a, b, x: -a * special.hyperu(a + 1, b + 1, x), orders=2)
of_order(special.hyp2f1, "a b c x", lambda a, b, c, x: a * b / c * special.hyp2f1(a + 1, b + 1, c + 1, x), orders=3)


def _below(n: Any, polynomial: Any) -> Any:
    """Return ``polynomial(n - 1)``, and 0 where that degree would be below 0: the slope of a constant."""
    is_constant = np.equal(n, 0)
    return np.where(is_constant, 0, polynomial(np.where(is_constant, 1, n) - 1))


def _jacobi(n: Any, a: Any, b: Any, x: Any) -> Any:
    return _below(n, lambda k: (n + a + b + 1) / 2 * special.eval_jacobi(k, a + 1, b + 1, x))


def _gegenbauer(n: Any, a: Any, x: Any) -> Any:
    return _below(n, lambda k: 2 * a * special.eval_gegenbauer(k, a + 1, x))


def _genlaguerre(n: Any, a: Any, x: Any) -> Any:
    return -_below(n, lambda k: special.eval_genlaguerre(k, a + 1, x))


def _chebyu(n: Any, x: Any) -> Any:
    return _below(n, lambda k: 2 * special.eval_gegenbauer(k, 2.0, x))


# DLMF 18.9.15 to 18.9.25: none divides by 1 - x**2, so the ends of the interval are exact.
of_order(special.eval_jacobi, "n a b x", _jacobi, orders=3)
of_order(special.eval_gegenbauer, "n a x", _gegenbauer, orders=2)
of_order(special.eval_genlaguerre, "n a x", _genlaguerre, orders=2)
of_order(special.eval_laguerre, "n x", lambda n, x: -_below(n, lambda k: special.eval_genlaguerre(k, 1.0, x)))
of_order(special.eval_legendre, "n x", lambda n, x: _below(n, lambda k: (n + 1) / 2 * special.eval_jacobi(k, 1.0, 1.0, x)))
of_order(
    special.eval_sh_legendre, "n x", lambda n, x: _below(n, lambda k: (n + 1) * special.eval_jacobi(k, 1.0, 1.0, 2 * x - 1))
)
of_order(special.eval_chebyt, "n x", lambda n, x: _below(n, lambda k: n * special.eval_chebyu(k, x)))
of_order(special.eval_chebyu, "n x", _chebyu)
of_order(special.eval_chebyc, "n x", lambda n, x: _below(n, lambda k: n * special.eval_chebyu(k, x / 2)))
of_order(special.eval_chebys, "n x", lambda n, x: _chebyu(n, x / 2) / 2)
of_order(special.eval_sh_chebyt, "n x", lambda n, x: _below(n, lambda k: 2 * n * special.eval_chebyu(k, 2 * x - 1)))
of_order(special.eval_sh_chebyu, "n x", lambda n, x: 2 * _chebyu(n, 2 * x - 1))
of_order(special.eval_hermite, "n x", lambda n, x: _below(n, lambda k: 2 * n * special.eval_hermite(k, x)))
of_order(special.eval_hermitenorm, "n x", lambda n, x: _below(n, lambda k: n * special.eval_hermitenorm(k, x)))
