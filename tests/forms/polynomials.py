"""Forms of polynomials: values, sums, products, quotients, derivatives, roots, fits."""

import numpy as np
from numpy.polynomial import chebyshev, hermite, hermite_e, laguerre, legendre, polynomial

from . import Form, cplx, distinct, inside, positive, real

PLAIN = np.array([2.0, -1.0, 0.5, 3.0])

SERIES = [
    Form(f"numpy.polynomial.{name}", f"{n} coefficients, {text}", lambda x, f=f, n=n: f(x, PLAIN[:n]) ** 2, (x,))
    for name, f in (
        ("polynomial.polyval", polynomial.polyval),
        ("chebyshev.chebval", chebyshev.chebval),
        ("legendre.legval", legendre.legval),
        ("hermite.hermval", hermite.hermval),
        ("hermite_e.hermeval", hermite_e.hermeval),
        ("laguerre.lagval", laguerre.lagval),
    )
    for n in (1, 2, 4)
    for text, x in (("one axis", real(3)), ("two axes", cplx(2, 3)))
]

FORMS = [
    *[form for form in SERIES if "1 coeff" not in form.text],
    Form("numpy.polyval", "coefficients and places", np.polyval, (real(4), real(2, 3))),
    Form("numpy.polyval", "one place", lambda p, x: np.polyval(p, x) ** 2, (real(4), real())),
    Form("numpy.polyval", "a constant", lambda p, x: np.polyval(p, x) ** 2, (real(1), real(3))),
    Form("numpy.polyval", "complex places, a list", lambda x: np.polyval([1.0, 2.0, 3.0], x), (cplx(3),)),
    Form("numpy.polyval", "complex coefficients, plain places", lambda p: np.polyval(p, [1, 2]) ** 2, (cplx(3),)),
    Form("numpy.polyval", "no coefficients", lambda x: np.polyval([], x) + x, (real(3),)),
    Form("numpy.polyadd", "shorter first", lambda a, b: np.polyadd(a, b) ** 2, (real(2), real(4))),
    Form("numpy.polyadd", "shorter second", lambda a, b: np.polyadd(a, b) ** 2, (cplx(4), real(2))),
    Form("numpy.polyadd", "a number", lambda a: np.polyadd(a, 2) ** 2, (real(3),)),
    Form("numpy.polysub", "shorter first", lambda a, b: np.polysub(a, b) ** 2, (real(2), cplx(4))),
    Form("numpy.polysub", "equal lengths", lambda a, b: np.polysub(a, b) ** 2, (real(3), real(3))),
    Form("numpy.polysub", "from a list", lambda b: np.polysub([1.0, 2.0, 3.0], b) ** 2, (real(2),)),
    Form("numpy.polymul", "two polynomials", lambda a, b: np.polymul(a, b) ** 2, (real(2), real(4))),
    Form("numpy.polymul", "a list with leading zeros", lambda a: np.polymul([0.0, 0.0, 2.0, 1.0], a), (cplx(3),)),
    Form("numpy.polymul", "a number", lambda a: np.polymul(a, 3.0) ** 2, (real(3),)),
    Form("numpy.polymul", "nothing", lambda a: np.polymul(a, []) + a, (real(3),), float32=False),
    Form("numpy.polydiv", "with a remainder", np.polydiv, (positive(5), positive(3))),
    # Powers of two: NumPy rounds the product of single complex numbers in place otherwise than that of fresh ones.
    Form("numpy.polydiv", "complex", np.polydiv, (np.array([1 + 1j, 2 - 1j, 1j, -1]), np.array([2j, 1 - 1j]))),
    Form("numpy.polydiv", "by a number", np.polydiv, (real(3), positive(1))),
    Form("numpy.polydiv", "a longer divisor", lambda u, v: np.polydiv(u, v)[1] * np.sum(v), (positive(2), positive(3))),
    Form("numpy.polydiv", "of constants", lambda v: np.polydiv([1.0, 2.0, 3.0], v), (positive(2),)),
    Form("numpy.polyder", "once", lambda p: np.polyder(p) ** 2, (real(4),), float32=False),
    Form("numpy.polyder", "twice", lambda p: np.polyder(p, 2) ** 2, (cplx(5),), float32=False),
    Form("numpy.polyder", "not at all", lambda p: np.polyder(p, 0) ** 2, (real(3),)),
    Form("numpy.polyder", "to nothing", lambda p: np.sum(np.polyder(p, 2)) + p, (real(2),), float32=False),
    Form("numpy.polyint", "once", lambda p: np.polyint(p) ** 2, (real(4),), float32=False),
    Form("numpy.polyint", "twice with constants", lambda p, k: np.polyint(p, 2, k) ** 2, (cplx(3), real(2)), float32=False),
    Form("numpy.polyint", "one constant for all", lambda p: np.polyint(p, m=3, k=2.0) ** 2, (real(2),), float32=False),
    Form("numpy.polyint", "not at all", lambda p: np.polyint(p, 0) ** 2, (real(2),)),
    Form("numpy.poly", "real roots", np.poly, (real(4),)),
    Form("numpy.poly", "complex roots", np.poly, (cplx(3),)),
    Form("numpy.poly", "no roots", lambda z: np.poly(z) + z, (real(0),)),
    Form("numpy.poly", "conjugate pairs", lambda x: np.poly(np.concatenate([x, np.conj(x)])) ** 2, (cplx(2),)),
    Form("numpy.vander", "square", np.vander, (real(4),), float32=False),
    Form("numpy.vander", "increasing", lambda x: np.vander(x, 5, increasing=True) ** 2, (real(3),), float32=False),
    Form("numpy.vander", "fewer powers", lambda x: np.vander(x, 2) ** 2, (cplx(3),), float32=False),
    Form("numpy.vander", "increasing powers of zero", lambda x: np.vander(x, 3, True), (np.zeros(2),), float32=False),
    Form("numpy.roots", "real roots", np.roots, (np.poly(distinct(4) + 0.4),), tolerance=1e-4, float32=False),
    Form("numpy.roots", "complex roots", np.roots, (np.array([1.0, 0.3, 2.0, 1.0]),), tolerance=1e-5),
    Form("numpy.roots", "complex coefficients", lambda p: np.roots(p) ** 2, (cplx(4),), tolerance=1e-5),
    Form("numpy.roots", "a line", np.roots, (np.array([2.0, 3.0]),)),
    *(
        Form(f"numpy.polynomial.polynomial.{name}", text, getattr(np.polynomial.polynomial, name), args)
        for name in ("polyval2d", "polygrid2d")
        for text, args in [
            ("of vectors", (real(3), real(3), real(4, 2))),
            ("of matrices, several polynomials", (real(2, 3), real(2, 3, seed=1), real(3, 2, 2, 3))),
            ("a constant", (real(3), real(3), real(1, 1))),
            ("complex", (cplx(2), cplx(2), cplx(2, 3))),
        ]
        if not (name == "polyval2d" and "several" in text)
    ),
    Form("numpy.poly1d", "a call", lambda p, x: np.poly1d(p)(x), (real(4), real(3))),
    Form("numpy.poly1d", "of roots", lambda r, x: np.poly1d(r, True)(x), (real(3), inside(2))),
    Form("numpy.poly1d", "arithmetic", lambda p, q, x: (np.poly1d(p) * np.poly1d(q) + 1.0)(x), (real(3), real(2), real(2))),
    Form("numpy.poly1d", "deriv", lambda p, x: np.poly1d(p).deriv()(x), (real(4), real(2)), float32=False),
    Form("numpy.poly1d", "integ", lambda p, x: np.poly1d(p).integ()(x), (real(4), real(2)), float32=False),
]
