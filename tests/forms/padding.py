"""Forms of padding: every mode with every keyword."""

import numpy as np

from . import Form, cplx, distinct, real

X = real(3, 4)
WIDTHS = [("all around", 2), ("a pair", (1, 2)), ("a pair for each axis", ((0, 3), (2, 1)))]


def by_mean(vector, width, axis, keywords):
    """Pad with multiples of the mean of what is inside."""
    inner = vector[width[0] : len(vector) - width[1]]
    vector[: width[0]] = np.mean(inner) * keywords.get("factor", 1.0)
    vector[len(vector) - width[1] :] = inner[0] * (axis + 1)


FORMS = [
    *(
        Form("numpy.pad", f"{mode}, {text}", lambda x, width=width, mode=mode: np.pad(x * x, width, mode), (X,))
        for mode in ("constant", "edge", "linear_ramp", "mean", "reflect", "symmetric", "wrap")
        for text, width in WIDTHS
    ),
    *(
        Form("numpy.pad", f"{mode}, {text}", lambda x, width=width, mode=mode: np.pad(x, width, mode) ** 2, (distinct(3, 4),))
        for mode in ("maximum", "minimum")
        for text, width in WIDTHS
    ),
    *(
        Form(
            "numpy.pad",
            f"{mode}, {kind}, wider than the array by {width}",
            lambda x, width=width, mode=mode, kind=kind: np.pad(x, width, mode, reflect_type=kind) ** 2,
            (real(3, 2),),
            tolerance=1e-5,
        )
        for mode in ("reflect", "symmetric")
        for kind in ("even", "odd")
        for width in (1, (2, 7), ((5, 4), (3, 6)))
    ),
    *(
        Form(
            "numpy.pad",
            f"{mode} of {length}",
            lambda x, mode=mode, length=length: np.pad(x, ((1, 2), (2, 0)), mode, stat_length=length) ** 2,
            (distinct(4, 5),),
            tolerance=1e-5,
        )
        for mode in ("maximum", "minimum", "mean", "median")
        for length in (None, 2, (1, 3), ((1, 2), (9, 3)))
    ),
    Form("numpy.pad", "a constant", lambda x: np.pad(x * x, 1, constant_values=1.5), (X,)),
    Form("numpy.pad", "constants by side", lambda x: np.pad(x * x, 1, constant_values=((1, 2), (3, -4))), (X,)),
    Form("numpy.pad", "a traced constant", lambda x, c: np.pad(x * x, (1, 2), constant_values=c) ** 2, (X, real())),
    Form("numpy.pad", "traced constants", lambda x, c: np.pad(x * x, 1, constant_values=c) ** 2, (X, real(2, 2))),
    Form("numpy.pad", "traced end values", lambda x, c: np.pad(x, (2, 3), "linear_ramp", end_values=c) ** 2, (X, real(2, 2))),
    Form("numpy.pad", "end values", lambda x: np.pad(x, (2, 3), "linear_ramp", end_values=(5, -4)) ** 2, (X,)),
    Form("numpy.pad", "by a function", lambda x: np.pad(x * x, ((1, 2), (0, 1)), by_mean, factor=2.0), (X,)),
    Form("numpy.pad", "by axis", lambda x: np.pad(x, {-1: (1, 2)}, "reflect") ** 2, (X,)),
    Form("numpy.pad", "by axis with one number", lambda x: np.pad(x, {0: 2}) ** 2, (X,)),
    Form("numpy.pad", "by nothing", lambda x: np.pad(x, 0, "edge") ** 2, (X,)),
    Form("numpy.pad", "of a vector", lambda x: np.pad(x, (1, 2), "wrap") ** 2, (real(3),)),
    Form("numpy.pad", "wrapping more than once", lambda x: np.pad(x, (7, 5), "wrap") ** 2, (real(3),)),
    Form("numpy.pad", "a reflection of one element", lambda x: np.pad(x, 2, "reflect", reflect_type="odd") ** 2, (real(1),)),
    Form("numpy.pad", "of a cube", lambda x: np.pad(x, 1, "symmetric") ** 2, (real(2, 1, 2),)),
    Form("numpy.pad", "of nothing", lambda x: np.pad(x, 1) ** 2, (real(0, 2),)),
    Form("numpy.pad", "of a transpose", lambda x: np.pad(x.T, 1).ravel("K") ** 2, (X,)),
    Form("numpy.pad", "complex", lambda x: np.pad(x * x, 1, "linear_ramp", end_values=1j), (cplx(2, 2),)),
    Form("numpy.pad", "complex constant", lambda x: np.pad(x * x, 1, constant_values=2j), (cplx(2, 2),)),
    Form("numpy.pad", "complex mean", lambda x: np.pad(x * x, 1, "mean"), (cplx(2, 2),)),
    Form("numpy.pad", "known gradient", lambda x: np.pad(x, ((1, 2),), "edge"), (real(3),),
         closed=lambda x: np.array([2.0, 1.0, 3.0])),
]  # fmt: skip
