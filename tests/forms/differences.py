"""Forms of differences, and of the slopes and areas composed of them."""

import numpy as np

from . import Form, cplx, distinct, inside, positive, real

XP = np.array([-1.0, -0.2, 0.4, 1.3, 2.0])

FORMS = [
    Form("numpy.diff", "one axis", np.diff, (real(5),), closed=lambda x: np.array([-1.0, 0, 0, 0, 1])),
    Form("numpy.diff", "second order, first axis", lambda x: np.diff(x, 2, axis=0) ** 2, (real(4, 3),)),
    Form("numpy.diff", "order 0", lambda x: np.diff(x, 0) ** 2, (real(4),)),
    Form("numpy.diff", "order beyond the extent", lambda x: np.sum(np.diff(x, 9)) + x, (real(3),)),
    Form("numpy.diff", "complex, middle axis", lambda x: np.diff(x, axis=-2) ** 2, (cplx(2, 3, 2),)),
    Form("numpy.diff", "plain prepend", lambda x: np.diff(x, prepend=0.0) ** 2, (real(2, 4),), float32=False),
    Form(
        "numpy.diff",
        "traced prepend and append",
        lambda x, a, b: np.diff(x, prepend=a, append=b, axis=0) ** 2,
        (real(3, 2), real(), real(2, 2)),
    ),
    Form("numpy.diff", "of constants", lambda a: np.diff([1.0, 2.0], append=a) ** 2, (real(),), float32=False),
    Form("numpy.ediff1d", "flattened", lambda x: np.ediff1d(x) ** 2, (real(2, 3),)),
    Form("numpy.ediff1d", "one number", lambda x: np.ediff1d(x, to_end=7.0) * np.sum(x), (real(1),), float32=False),
    Form(
        "numpy.ediff1d",
        "to_end and to_begin",
        lambda x, a, b: np.ediff1d(x, a, b) ** 2,
        (real(4), real(2, 2), real()),
    ),
    Form("numpy.ediff1d", "plain ends", lambda x: np.ediff1d(x, [1, 2], to_begin=3) ** 2, (cplx(4),)),
    Form("numpy.gradient", "one axis", np.gradient, (real(5),)),
    Form("numpy.gradient", "two samples", np.gradient, (real(2),)),
    Form("numpy.gradient", "all axes", np.gradient, (real(3, 4),)),
    Form("numpy.gradient", "edge_order 2", lambda f: np.gradient(f, 0.5, edge_order=2), (real(4),)),
    Form("numpy.gradient", "axis", lambda f: np.gradient(f, axis=-2), (cplx(3, 2),)),
    Form("numpy.gradient", "axes", lambda f: np.gradient(f, 2.0, axis=(2, 0)), (real(3, 2, 3),)),
    Form("numpy.gradient", "a spacing an axis", lambda f: np.gradient(f, 0.1, [0.0, 1.0, 3.0]), (real(2, 3),)),
    Form("numpy.gradient", "even places", lambda f: np.gradient(f, [0, 1, 2, 3]), (real(4),)),
    Form("numpy.gradient", "traced spacing", lambda f, h: np.gradient(f, h), (real(3, 2), positive())),
    Form("numpy.gradient", "traced places", lambda f, x: np.gradient(f, x), (real(5), XP)),
    Form("numpy.gradient", "traced places, edge_order 2", lambda f, x: np.gradient(f, x, edge_order=2), (real(5), XP)),
    Form(
        "numpy.gradient",
        "traced even places, edge_order 2",
        lambda f, x: np.gradient(f, x, edge_order=2),
        (cplx(5), np.arange(5.0)),
    ),
    Form(
        "numpy.gradient", "traced spacing, edge_order 2", lambda f, h: np.gradient(f, h, edge_order=2), (real(4), positive())
    ),
    Form(
        "numpy.gradient",
        "places along one of two axes",
        lambda f, x: np.gradient(f, x, axis=1, edge_order=2),
        (real(2, 5), XP),
    ),
    Form("numpy.gradient", "plain samples", lambda h: np.gradient([1, 4, 9, 16], h), (positive(),)),
    Form("numpy.trapezoid", "one axis", np.trapezoid, (real(5),), closed=lambda y: np.array([0.5, 1, 1, 1, 0.5])),
    Form("numpy.trapezoid", "dx", lambda y: np.trapezoid(y, dx=0.5), (cplx(2, 3),)),
    Form("numpy.trapezoid", "traced dx", lambda y, h: np.trapezoid(y, dx=h) ** 2, (real(2, 3), positive())),
    Form("numpy.trapezoid", "places", lambda y, x: np.trapezoid(y, x) ** 2, (real(2, 5), XP)),
    Form("numpy.trapezoid", "places along the first axis", lambda y, x: np.trapezoid(y, x, axis=0), (real(5, 2), XP)),
    Form("numpy.trapezoid", "places for all", lambda y, x: np.trapezoid(y, x, axis=1), (real(2, 3, 2), distinct(2, 3, 2))),
    Form("numpy.trapezoid", "plain heights", lambda x: np.trapezoid([1.0, 4.0, 9.0], x), (inside(3),), float32=False),
]
