"""Bessel, Hankel, Airy, Kelvin and Struve functions: their derivatives in the argument; one in the order is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import special

from ...op import by_rules, elementwise
from ..replace import replaces
from .table import is_complex, no_rule, of_order, own_orders, several

elementwise(special.j0, "x", lambda x: -special.j1(x), cost=40)
elementwise(special.j1, "x", lambda x: (special.j0(x) - special.jv(2, x)) / 2, cost=40)
elementwise(special.y0, "x", lambda x: -special.y1(x), cost=40)
elementwise(special.y1, "x", lambda x: (special.y0(x) - special.yn(2, x)) / 2, cost=40)
elementwise(special.i0, "x", lambda x: special.i1(x), cost=40)
elementwise(special.i1, "x", lambda x: (special.i0(x) + special.iv(2, x)) / 2, cost=40)
elementwise(special.i0e, "x", lambda x, y: special.i1e(x) - np.sign(x) * y, cost=40)
elementwise(special.i1e, "x", lambda x, y: (special.i0e(x) + special.ive(2, x)) / 2 - np.sign(x) * y, cost=40)
elementwise(special.k0, "x", lambda x: -special.k1(x), cost=40)
elementwise(special.k1, "x", lambda x: -(special.k0(x) + special.kv(2, x)) / 2, cost=40)
elementwise(special.k0e, "x", lambda x, y: y - special.k1e(x), cost=40)
elementwise(special.k1e, "x", lambda x, y: y - (special.k0e(x) + special.kve(2, x)) / 2, cost=40)


def _neighbours(ufunc: np.ufunc, sign: int, after: int = 1) -> Any:
    """Return ``after * (f(v - 1, x) + sign * f(v + 1, x)) / 2`` as a function of order and argument."""
    return lambda v, x: (ufunc(v - 1, x) + sign * ufunc(v + 1, x)) * (after / 2)


of_order(special.jv, "v x", _neighbours(special.jv, -1))
of_order(special.yv, "v x", _neighbours(special.yv, -1))
of_order(special.yn, "v x", _neighbours(special.yn, -1))
of_order(special.iv, "v x", _neighbours(special.iv, 1))
of_order(special.kv, "v x", _neighbours(special.kv, 1, -1))
of_order(special.kn, "v x", _neighbours(special.kn, 1, -1))
of_order(special.kve, "v x", lambda v, x, y: y + _neighbours(special.kve, 1, -1)(v, x))
of_order(special.hankel1, "v x", _neighbours(special.hankel1, -1))
of_order(special.hankel2, "v x", _neighbours(special.hankel2, -1))
of_order(special.hankel1e, "v x", lambda v, x, y: _neighbours(special.hankel1e, -1)(v, x) - 1j * y)
of_order(special.hankel2e, "v x", lambda v, x, y: _neighbours(special.hankel2e, -1)(v, x) + 1j * y)


def _scaled(ufunc: np.ufunc, sign: int, *, by_real_part: bool) -> None:
    """Add a function that is scaled by ``exp(-|Re x|)`` or ``exp(-|Im x|)``, which is not holomorphic.

    With f the value and s the sign of that part, df = s_f dx - s f Re(dx) (or Im); the cotangent's share of the last
    term is its transpose under the pairing Re(g dx).
    """
    slope = _neighbours(ufunc, sign)
    order = no_rule(ufunc.__name__, "its order 'v'")

    def rule(g: Any, v: Any, x: Any, y: Any) -> Any:
        if not is_complex(x):
            return g * (slope(v, x) - np.sign(x) * y if by_real_part else slope(v, x))
        moved = np.sign(np.real(x) if by_real_part else np.imag(x)) * np.real(g * y)
        return g * slope(v, x) - moved if by_real_part else g * slope(v, x) + 1j * moved

    def tangent(t: Any, v: Any, x: Any, y: Any) -> Any:
        if not is_complex(x):
            return rule(t, v, x, y)
        moved = np.sign(np.real(x)) * np.real(t) if by_real_part else np.sign(np.imag(x)) * np.imag(t)
        return t * slope(v, x) - moved * y

    own_orders(ufunc, by_rules(ufunc, "v x", lambda g: order(), rule, jvp=[lambda t: order(), tangent], cost=100.0))


_scaled(special.jve, -1, by_real_part=False)
_scaled(special.yve, -1, by_real_part=False)
_scaled(special.ive, 1, by_real_part=True)


several(
    special.airy,
    lambda x, y: y[1],
    lambda x, y: x * y[0],
    lambda x, y: y[3],
    lambda x, y: x * y[2],
)
several(
    special.itairy,
    lambda x, y: special.airy(x)[0],
    lambda x, y: special.airy(x)[2],
    lambda x, y: special.airy(-x)[0],
    lambda x, y: special.airy(-x)[2],
)
several(special.itj0y0, lambda x, y: special.j0(x), lambda x, y: special.y0(x))
several(special.iti0k0, lambda x, y: special.i0(x), lambda x, y: special.k0(x))
several(special.it2j0y0, lambda x, y: (1 - special.j0(x)) / x, lambda x, y: -special.y0(x) / x)
several(special.it2i0k0, lambda x, y: (special.i0(x) - 1) / x, lambda x, y: -special.k0(x) / x)

# Kelvin's functions solve x^2 f'' + x f' = i x^2 f (DLMF 10.61.3): the slope of a slope is one of the others.
elementwise(special.ber, "x", lambda x: special.berp(x), cost=60)
elementwise(special.bei, "x", lambda x: special.beip(x), cost=60)
elementwise(special.ker, "x", lambda x: special.kerp(x), cost=60)
elementwise(special.kei, "x", lambda x: special.keip(x), cost=60)
elementwise(special.berp, "x", lambda x, y: -y / x - special.bei(x), cost=60)
elementwise(special.beip, "x", lambda x, y: -y / x + special.ber(x), cost=60)
elementwise(special.kerp, "x", lambda x, y: -y / x - special.kei(x), cost=60)
elementwise(special.keip, "x", lambda x, y: -y / x + special.ker(x), cost=60)


def _struve_term(v: Any, x: Any) -> Any:
    return np.power(x / 2, v) * special.rgamma(v + 1.5) / math.sqrt(math.pi)


# DLMF 11.4.24 and 11.4.26: no division by the argument, which may be 0.
of_order(special.struve, "v x", lambda v, x: (special.struve(v - 1, x) - special.struve(v + 1, x) + _struve_term(v, x)) / 2)
of_order(
    special.modstruve,
    "v x",
    lambda v, x: (special.modstruve(v - 1, x) + special.modstruve(v + 1, x) + _struve_term(v, x)) / 2,
)
elementwise(special.itstruve0, "x", lambda x: special.struve(0, x), cost=100)
elementwise(special.it2struve0, "x", lambda x: -special.struve(0, x) / x, cost=100)
elementwise(special.itmodstruve0, "x", lambda x: special.modstruve(0, x), cost=100)


def _spherical(name: str, sign: int, parity: int) -> None:
    """Offer a spherical Bessel function, with ``f(n, -z) = parity * (-1)**n * f(n, z)`` (DLMF 10.47.14; 0: none)."""
    plain = getattr(special._ufuncs, "_" + name)
    slope = getattr(special._ufuncs, "_" + name + "_d")

    def second(n: Any, x: Any) -> Any:
        # From the differential equation x^2 f'' + 2 x f' + (sign x^2 - n (n + 1)) f = 0.
        return -2 * slope(n, x) / x - (sign - n * (n + 1) / (x * x)) * plain(n, x)

    of_order(plain, "n x", lambda n, x: slope(n, x), name=name)
    of_order(slope, "n x", second, name=name + "_slope")

    @replaces("scipy.special", name)
    def function(n: Any, z: Any, derivative: bool = False) -> Any:
        order = np.asarray(n, np.int64)
        wanted = slope if derivative else plain
        if is_complex(z):
            return wanted(order, z)
        if not parity:
            return np.real(wanted(order, z + 0j))
        is_left = np.less(z, 0)
        turned = parity * (1 - 2 * (order % 2)) * (-1 if derivative else 1)
        return np.where(is_left, turned.astype(z.dtype), 1) * wanted(order, np.where(is_left, -z, z))


_spherical("spherical_jn", 1, 1)
_spherical("spherical_yn", 1, -1)
_spherical("spherical_in", -1, 1)
_spherical("spherical_kn", -1, 0)


def _of_neighbours(name: str, ufunc: np.ufunc, sign: int, after: int = 1) -> None:
    """Offer the n-th derivative of a Bessel function: a binomial sum over its neighbours in order (DLMF 10.6.7)."""

    @replaces("scipy.special", name)
    def function(v: Any, z: Any, n: int = 1) -> Any:
        total: Any = 0.0
        for k in range(n + 1):
            total = total + sign**k * math.comb(n, k) * ufunc(v - n + 2 * k, z)
        return total * (after**n / 2.0**n)


_of_neighbours("jvp", special.jv, -1)
_of_neighbours("yvp", special.yv, -1)
_of_neighbours("ivp", special.iv, 1)
_of_neighbours("kvp", special.kv, 1, -1)
_of_neighbours("h1vp", special.hankel1, -1)
_of_neighbours("h2vp", special.hankel2, -1)
