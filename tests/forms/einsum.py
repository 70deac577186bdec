"""Forms of einsum."""

import numpy as np

from . import Form, cplx, matrix, real

SUBSCRIPTS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ij,kj->ik", (2, 3), (4, 3)),
    ("i,i", (3,), (3,)),
    ("i,i->i", (3,), (3,)),
    ("i,j->ij", (3,), (4,)),
    ("i,j->ji", (3,), (4,)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("ij,ji->i", (2, 3), (3, 2)),
    ("bij,bjk->bik", (2, 2, 3), (2, 3, 2)),
    ("bij,jk->bki", (2, 2, 3), (3, 2)),
    ("...ij,...jk->...ik", (2, 2, 3), (2, 3, 2)),
    ("...ij,...jk", (2, 1, 2, 3), (3, 3, 2)),
    ("ij...,jk...->ik...", (2, 3, 2), (3, 2, 2)),
    ("...,...", (2, 3), (3,)),
    (" i j , j k -> k i ", (2, 3), (3, 4)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("ijj->i", (2, 3, 3)),
    ("iij,jk->ik", (3, 3, 2), (2, 2)),
    ("ij->ji", (2, 3)),
    ("ji", (2, 3)),
    ("ij->", (2, 3)),
    ("ij->j", (2, 3)),
    ("ij->ij", (2, 3)),
    ("...i->...", (2, 2, 3)),
    ("i...->...i", (2, 3, 2)),
    (",->", (), ()),
    (",ij->ij", (), (2, 3)),
    ("ij,j,k->ik", (2, 3), (3,), (2,)),
    ("ij,jk,kl,lm->im", (2, 3), (3, 4), (4, 2), (2, 3)),
    ("a,b,c,d->abcd", (2,), (2,), (2,), (2,)),
    ("ij,ij,ij->i", (2, 3), (2, 3), (2, 3)),
    ("ij,jk->ik", (2, 1), (3, 4)),
    ("ij,ij->ij", (1, 3), (2, 1)),
    ("ij,jk,jl->ikl", (2, 3), (1, 4), (3, 2)),
    ("ij,k->k", (2, 3), (4,)),
    ("ij,jk->ik", (0, 3), (3, 4)),
]


def named(subscripts, shapes):
    return f"{subscripts} of {', '.join(map(str, shapes))}".replace("  ", " ")


FORMS = [
    Form(
        "numpy.einsum", named(subscripts, shapes), lambda *a, s=subscripts: np.einsum(s, *a),
        tuple(real(*shape, seed=k) for k, shape in enumerate(shapes)),
    )
    for subscripts, *shapes in SUBSCRIPTS
] + [
    Form(
        "numpy.einsum", f"complex {subscripts}", lambda *a, s=subscripts: np.einsum(s, *a),
        tuple(cplx(*shape, seed=k) for k, shape in enumerate(shapes)),
    )
    for subscripts, *shapes in SUBSCRIPTS[:3] + SUBSCRIPTS[9:11]
] + [
    Form("numpy.einsum", "interleaved", lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]), (real(2, 3), real(3, 4))),
    Form("numpy.einsum", "interleaved and implicit", lambda a, b: np.einsum(a, [0, 1], b, [1, 2]), (real(2, 3), real(3, 4))),
    Form(
        "numpy.einsum", "interleaved with an ellipsis", lambda a: np.einsum(a, [..., 0, 1], [..., 1]), (real(2, 2, 3),)
    ),
    Form("numpy.einsum", "a diagonal, interleaved", lambda a: np.einsum(a, [0, 0], [0]), (matrix(3),)),
    Form("numpy.einsum", "an operand twice", lambda a: np.einsum("ij,kj->ik", a, a), (real(2, 3),)),
    Form("numpy.einsum", "a constant operand", lambda a: np.einsum("ij,j->i", a, np.arange(3)), (real(2, 3),), float32=False),
    Form(
        "numpy.einsum", "optimal", lambda *a: np.einsum("ij,jk,kl->il", *a, optimize="optimal"),
        (real(2, 3), real(3, 4), real(4, 2)),
    ),
    Form(
        "numpy.einsum", "along a given path",
        lambda *a: np.einsum("ij,jk,kl->il", *a, optimize=["einsum_path", (1, 2), (0, 1)]),
        (real(2, 3), real(3, 4), real(4, 2)),
    ),
    Form("numpy.einsum", "with dtype", lambda a: np.einsum("ij->j", a, dtype=np.complex128), (real(2, 3),), float32=False),
    Form("numpy.einsum", "with order", lambda a: np.einsum("ij->ji", a, order="C"), (real(2, 3),)),
    Form("numpy.einsum", "in Fortran order", lambda a, b: np.ravel(np.einsum("ij,jk->ik", a, b, order="F") ** 2, "K"),
         (real(2, 3), real(3, 2))),
]  # fmt: skip
