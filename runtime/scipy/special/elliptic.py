"""Elliptic integrals, complete and incomplete, and the arithmetic-geometric mean: their derivatives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ...op import elementwise


def _slope_of_k(m: Any) -> Any:
    # Not (E - (1 - m) K) / 2 m (1 - m), which is 0/0 at 0 (DLMF 19.4.1, 19.5.1).
    return math.pi / 8 * special.hyp2f1(0.5, 0.5, 2.0, m) / (1 - m)


def _slope_of_e(m: Any) -> Any:
    return -math.pi / 8 * special.hyp2f1(0.5, 1.5, 2.0, m)


def _halves(phi: Any) -> tuple[Any, Any, Any]:
    """Return the number of half turns nearest to `phi`, and the sine and squared cosine of what is left."""
    turns = np.rint(phi / math.pi)
    rest = phi - math.pi * turns
    return turns, np.sin(rest), np.square(np.cos(rest))


def _slope_of_incomplete_k(phi: Any, m: Any) -> Any:
    turns, s, c2 = _halves(phi)
    return 2 * turns * _slope_of_k(m) + s**3 / 6 * special.elliprd(c2, np.ones_like(c2), 1 - m * s * s)


def _slope_of_incomplete_e(phi: Any, m: Any) -> Any:
    turns, s, c2 = _halves(phi)
    return 2 * turns * _slope_of_e(m) - s**3 / 6 * special.elliprd(c2, 1 - m * s * s, np.ones_like(c2))


def _root(phi: Any, m: Any) -> Any:
    return np.sqrt(1 - m * np.square(np.sin(phi)))


def _slope_of_agm(a: Any, b: Any, y: Any) -> Any:
    """Return the slope in `a`, from ``agm(a, b) = pi (a + b) / 4 K(m)`` with ``m = ((a - b) / (a + b))**2``."""
    total = a + b
    ratio = (a - b) / total
    m = ratio * ratio
    return y / total * (1 - _slope_of_k(m) / special.ellipk(m) * 4 * ratio * b / total)


def _rd_in_x(x: Any, w: Any, z: Any, y: Any) -> Any:
    # From the Euler-Poisson equation of R_F (DLMF 19.18.11) and R_D = -6 dR_F/dz.
    return (special.elliprd(w, z, x) - y) / (2 * (x - z))


def _rd_in_z(x: Any, w: Any, z: Any, y: Any) -> Any:
    # R_D is homogeneous of degree -3/2.
    return -(1.5 * y + x * _rd_in_x(x, w, z, y) + w * _rd_in_x(w, x, z, y)) / z


def _rc_in_y(x: Any, w: Any, y: Any) -> Any:
    # R_C(x, w) = R_F(x, w, w), and R_F is homogeneous of degree -1/2.
    return -(y / 2 + x * _rc_in_x(x, w)) / w


def _rc_in_x(x: Any, w: Any) -> Any:
    return -special.elliprd(w, w, x) / 6


elementwise(special.ellipk, "m", _slope_of_k, cost=40)
elementwise(special.ellipkm1, "p", lambda p: -_slope_of_k(1 - p), cost=40)
elementwise(special.ellipe, "m", _slope_of_e, cost=40)
elementwise(special.ellipkinc, "phi m", lambda phi, m: 1 / _root(phi, m), _slope_of_incomplete_k, cost=60)
elementwise(special.ellipeinc, "phi m", lambda phi, m: _root(phi, m), _slope_of_incomplete_e, cost=60)
elementwise(
    special.elliprf,
    "x w z",
    lambda x, w, z: -special.elliprd(w, z, x) / 6,
    lambda x, w, z: -special.elliprd(z, x, w) / 6,
    lambda x, w, z: -special.elliprd(x, w, z) / 6,
    cost=60,
)
elementwise(special.elliprd, "x w z", _rd_in_x, lambda x, w, z, y: _rd_in_x(w, x, z, y), _rd_in_z, cost=60)
elementwise(special.elliprc, "x w", _rc_in_x, _rc_in_y, cost=60)
elementwise(special.agm, "a b", _slope_of_agm, lambda a, b, y: _slope_of_agm(b, a, y), cost=40)
