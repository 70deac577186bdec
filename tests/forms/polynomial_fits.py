"""Forms of polynomial fits: several right sides, weights, covariance, and the characteristic polynomial of a matrix."""

import numpy as np

from . import Form, cplx, matrix, positive, real

X = np.array([-1.0, -0.4, 0.1, 0.9, 1.3, 2.0])

FORMS = [
    Form("numpy.polyfit", "a parabola", lambda x, y: np.polyfit(x, y, 2), (X, real(6)), float32=False),
    Form("numpy.polyfit", "a constant", lambda y: np.polyfit(X, y, 0) ** 2, (real(6),), float32=False),
    Form("numpy.polyfit", "two right sides", lambda x, y: np.polyfit(x, y, 1), (X, real(6, 2)), float32=False),
    Form("numpy.polyfit", "through all points", lambda x, y: np.polyfit(x, y, 3), (X[:4], real(4)), float32=False),
    Form(
        "numpy.polyfit",
        "traced weights",
        lambda x, y, w: np.polyfit(x, y, 2, w=w),
        (X, real(6), positive(6)),
        float32=False,
    ),
    Form(
        "numpy.polyfit",
        "weights and two right sides",
        lambda y, w: np.polyfit(X, y, 1, w=w),
        (real(6, 2), positive(6)),
        float32=False,
    ),
    Form("numpy.polyfit", "covariance", lambda x, y: np.polyfit(x, y, 1, cov=True), (X, real(6)), float32=False),
    Form(
        "numpy.polyfit",
        "covariance of two right sides",
        lambda y: np.polyfit(X, y, 1, cov=True),
        (real(6, 2),),
        float32=False,
    ),
    Form(
        "numpy.polyfit",
        "unscaled covariance",
        lambda x, w: np.polyfit(x, X**2, 2, w=w, cov="unscaled"),
        (X, positive(6)),
        tolerance=1e-5,
        float32=False,
    ),
    Form(
        "numpy.polyfit",
        "full",
        lambda x, y: tuple(np.polyfit(x, y, 1, full=True)[k] for k in (0, 1, 3)),
        (X, real(6)),
        float32=False,
    ),
    Form("numpy.polyfit", "complex right side", lambda x, y: np.polyfit(x, y, 2), (X, cplx(6)), float32=False),
    Form("numpy.poly", "a matrix", np.poly, (matrix(3),), tolerance=1e-5),
]
