"""Forms of norms and condition numbers."""

import math

import numpy as np

from . import Form, cplx, inside, matrix, real

VECTOR_ORDS = (None, 0, 1, 2, 3, 2.5, 0.5, -1, -2, math.inf, -math.inf)
MATRIX_ORDS = (None, "fro", "f", "nuc", 1, -1, 2, -2, math.inf, -math.inf)


def each(name, ords, text, call, *args):
    """One form for each order."""
    return [Form(name, f"ord={ord} of {text}", lambda *a, ord=ord: call(*a, ord), args) for ord in ords]


FORMS = [
    *each("numpy.linalg.norm", VECTOR_ORDS, "a vector", np.linalg.norm, inside(5)),
    *each("numpy.linalg.norm", VECTOR_ORDS, "a complex vector", np.linalg.norm, cplx(4)),
    *each("numpy.linalg.norm", VECTOR_ORDS, "columns", lambda x, ord: np.linalg.norm(x, ord, axis=0), inside(3, 4)),
    *each(
        "numpy.linalg.norm",
        VECTOR_ORDS,
        "rows, kept",
        lambda x, ord: np.linalg.norm(x, ord, axis=-1, keepdims=True),
        inside(2, 3, 4),
    ),
    *each("numpy.linalg.norm", MATRIX_ORDS, "a matrix", np.linalg.norm, inside(3, 4)),
    *each("numpy.linalg.norm", MATRIX_ORDS, "a complex matrix", np.linalg.norm, cplx(3, 2)),
    *each(
        "numpy.linalg.norm",
        MATRIX_ORDS,
        "stacked matrices",
        lambda x, ord: np.linalg.norm(x, ord, axis=(1, 2)),
        inside(2, 3, 4),
    ),
    *each(
        "numpy.linalg.norm",
        MATRIX_ORDS,
        "matrices across, kept",
        lambda x, ord: np.linalg.norm(x, ord, axis=(-1, 0), keepdims=True),
        inside(2, 3, 4),
    ),
    Form("numpy.linalg.norm", "the 2-norm", np.linalg.norm, (real(3),), closed=lambda x: x / np.sqrt(x @ x)),
    *[
        Form(
            f"numpy.{f.__name__}",
            "of norms and sizes",
            lambda x, f=f: f(np.linalg.norm(x, axis=0)) * f(np.abs(x)),
            (real(3, 4),),
        )
        for f in (np.cos, np.cosh, np.square)
    ],
    Form("numpy.linalg.norm", "of three dimensions", np.linalg.norm, (real(2, 3, 2),)),
    Form("numpy.linalg.norm", "of a scalar", np.linalg.norm, (real(),)),
    Form("numpy.linalg.norm", "all dimensions kept", lambda x: np.linalg.norm(x, keepdims=True) * x, (real(2, 3, 2),)),
    Form("numpy.linalg.norm", "of a transposed view", lambda x: np.linalg.norm(x.T, axis=0), (real(2, 3),)),
    *each(
        "numpy.linalg.matrix_norm", MATRIX_ORDS, "stacks", lambda x, ord: np.linalg.matrix_norm(x, ord=ord), inside(2, 3, 4)
    ),
    Form("numpy.linalg.matrix_norm", "kept", lambda x: np.linalg.matrix_norm(x, keepdims=True), (cplx(2, 3, 4),)),
    *each(
        "numpy.linalg.vector_norm",
        VECTOR_ORDS[1:],
        "all axes",
        lambda x, ord: np.linalg.vector_norm(x, ord=ord),
        inside(3, 4),
    ),
    Form("numpy.linalg.vector_norm", "of a scalar", np.linalg.vector_norm, (real(),)),
    Form("numpy.linalg.vector_norm", "one axis", lambda x: np.linalg.vector_norm(x, axis=-1), (cplx(3, 4),)),
    Form(
        "numpy.linalg.vector_norm", "one axis, kept", lambda x: np.linalg.vector_norm(x, axis=0, keepdims=True), (real(3, 4),)
    ),
    Form("numpy.linalg.vector_norm", "two axes", lambda x: np.linalg.vector_norm(x, axis=(0, -1), ord=3), (inside(2, 3, 4),)),
    Form(
        "numpy.linalg.vector_norm",
        "two axes, kept",
        lambda x: np.linalg.vector_norm(x, axis=(2, 0), keepdims=True),
        (inside(2, 3, 4),),
    ),
    Form("numpy.linalg.vector_norm", "all axes, kept", lambda x: np.linalg.vector_norm(x, keepdims=True), (real(2, 3),)),
    *each(
        "numpy.linalg.cond",
        (None, 2, -2, 1, -1, math.inf, -math.inf, "fro"),
        "a matrix",
        lambda x, p: np.linalg.cond(x, p),
        matrix(3),
    ),
    Form("numpy.linalg.cond", "a tall matrix", np.linalg.cond, (real(4, 2),)),
    Form("numpy.linalg.cond", "complex stacks", np.linalg.cond, (cplx(2, 3, 3),)),
]
