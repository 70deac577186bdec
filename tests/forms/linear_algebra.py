"""Forms of products of vectors, matrices and tensors."""

import numpy as np

from . import Form, cplx, matrix, real

A, B = real(2, 3), real(3, 4, seed=1)
CA, CB = cplx(2, 3), cplx(3, 4, seed=1)
U, V = real(3), real(3, seed=1)
CU, CV = cplx(3), cplx(3, seed=1)
BATCH = real(2, 3, 4, 3)


def into_zeros(f, shape):
    """The product written into an array made inside."""

    def program(a, b):
        out = np.zeros_like(a, shape=shape)
        f(a, b, out=out)
        return out

    return program


def in_a_row(f):
    """The same, with a result of at least one dimension (complex scalars are not weighted by the tests)."""
    return lambda *args: np.atleast_1d(f(*args))


PRODUCTS = [
    ("matrices", (A, B)),
    ("vectors", (U, V)),
    ("a matrix by a vector", (A, U)),
    ("a vector by a matrix", (U, B)),
    ("complex matrices", (CA, CB)),
    ("complex by real", (CA, B)),
    ("transposed views", (real(3, 2).T, real(4, 3).T)),
    ("a square matrix by itself transposed", (matrix(3), matrix(3).T)),
    ("no rows", (real(0, 3), B)),
]
STACKS = [
    ("stacks", (real(2, 2, 3), real(2, 3, 2, seed=1))),
    ("a stack by a matrix", (real(2, 2, 3), B)),
    ("a matrix by a stack", (A, real(2, 3, 2, seed=1))),
    ("a stack by a vector", (real(2, 2, 3), U)),
    ("a vector by a stack", (U, real(2, 3, 2))),
    ("broadcast stacks", (real(2, 1, 2, 3), real(3, 3, 2, seed=1))),
    ("permuted stacks", (BATCH.transpose(1, 0, 2, 3), real(3, 2, 3, 2, seed=1))),
    ("complex stacks", (cplx(2, 2, 3), cplx(2, 3, 2, seed=1))),
]
FORMS = [
    *[Form("numpy.matmul", text, np.matmul, args) for text, args in PRODUCTS + STACKS],
    *[Form("numpy.linalg.matmul", text, np.linalg.matmul, args) for text, args in PRODUCTS[:5]],
    *[Form("numpy.dot", text, np.dot, args) for text, args in PRODUCTS],
    Form("numpy.matmul", "complex vectors", in_a_row(np.matmul), (CU, CV)),
    Form("numpy.dot", "complex vectors", in_a_row(np.dot), (CU, CV)),
    Form("numpy.matmul", "as an operator", lambda a, b: a @ b @ np.ones((4, 2)), (A, B), float32=False),
    Form("numpy.matmul", "by a constant from the left", lambda b: np.arange(6.0).reshape(2, 3) @ b, (B,), float32=False),
    Form("numpy.matmul", "into out", into_zeros(np.matmul, (2, 4)), (A, B)),
    Form("numpy.matmul", "with axes", lambda a, b: np.matmul(a, b, axes=[(1, 0), (0, 1), (0, 1)]), (real(3, 2), real(3, 4))),
    Form(
        "numpy.matmul",
        "with axes of stacks",
        lambda a, b: np.matmul(a, b, axes=[(0, 1), (0, 1), (1, 0)]),
        (real(2, 3, 2), real(3, 4, 2)),
    ),
    Form("numpy.matmul", "in complex", lambda a, b: np.matmul(a, b, dtype=np.complex128), (A, B), float32=False),
    Form("numpy.matmul", "with dtype", lambda a, b: np.matmul(a, b, dtype=np.float64), (A, B), float32=False),
    Form(
        "numpy.matmul",
        "of a matrix by itself",
        lambda a: a @ a,
        (matrix(3),),
        closed=lambda a: np.ones((3, 3)) @ a.T + a.T @ np.ones((3, 3)),
    ),
    Form("numpy.dot", "of scalars", np.dot, (real(), real(seed=1))),
    Form("numpy.dot", "of a number and an array", lambda a: np.dot(2.5, a), (A,)),
    Form("numpy.dot", "of an array and a scalar", np.dot, (A, real())),
    Form("numpy.dot", "three dimensions by one", np.dot, (real(2, 2, 3), U)),
    Form("numpy.dot", "three dimensions by two", np.dot, (real(2, 2, 3), B)),
    Form("numpy.dot", "two dimensions by three", np.dot, (A, real(2, 3, 2))),
    Form("numpy.dot", "three dimensions by three", np.dot, (real(2, 2, 3), real(2, 3, 2))),
    Form("numpy.dot", "one dimension by three", np.dot, (U, real(2, 3, 2))),
    Form("numpy.dot", "into out", into_zeros(np.dot, (2, 4)), (A, B)),
    Form("numpy.dot", "as a method", lambda a, b: a.dot(b), (A, B)),
    Form("numpy.vdot", "vectors", np.vdot, (U, V)),
    Form("numpy.vdot", "matrices", np.vdot, (A, real(2, 3, seed=1))),
    Form("numpy.vdot", "complex", in_a_row(np.vdot), (CA, cplx(2, 3, seed=1))),
    Form("numpy.vdot", "complex by real", in_a_row(np.vdot), (CU, V)),
    Form("numpy.vdot", "with itself", lambda a: np.vdot(a, a).real, (CU,), closed=lambda a: 2 * np.conj(a)),
    Form("numpy.vdot", "scalars", in_a_row(np.vdot), (cplx(), cplx(seed=1))),
    Form("numpy.inner", "vectors", np.inner, (U, V)),
    Form("numpy.inner", "complex vectors are not conjugated", in_a_row(np.inner), (CU, CV)),
    Form("numpy.inner", "matrices", np.inner, (A, real(4, 3))),
    Form("numpy.inner", "three dimensions by one", np.inner, (real(2, 2, 3), U)),
    Form("numpy.inner", "three dimensions by two", np.inner, (real(2, 2, 3), A)),
    Form("numpy.inner", "a scalar", np.inner, (real(), A)),
    Form("numpy.outer", "vectors", np.outer, (U, real(4))),
    Form("numpy.outer", "matrices are flattened", np.outer, (A, real(2, 2))),
    Form("numpy.outer", "scalars", np.outer, (real(), real(seed=1))),
    Form("numpy.outer", "complex", np.outer, (CU, cplx(2))),
    Form("numpy.outer", "with itself", lambda a: np.outer(a, a), (U,), closed=lambda a: np.full(3, 2 * a.sum())),
    Form("numpy.outer", "into out", into_zeros(np.outer, (3, 3)), (U, V)),
    Form("numpy.linalg.outer", "vectors", np.linalg.outer, (U, real(4))),
    Form("numpy.vecdot", "vectors", np.vecdot, (U, V)),
    Form("numpy.vecdot", "stacks", np.vecdot, (real(4, 2, 3), A)),
    Form("numpy.vecdot", "complex", np.vecdot, (CA, cplx(2, 3, seed=1))),
    Form("numpy.vecdot", "complex by real", np.vecdot, (CA, A)),
    Form("numpy.vecdot", "over an axis", lambda a, b: np.vecdot(a, b, axis=0), (CA, cplx(2, 3, seed=1))),
    Form("numpy.vecdot", "over an axis, kept", lambda a, b: np.vecdot(a, b, axis=0, keepdims=True), (A, real(2, 3, seed=1))),
    Form("numpy.vecdot", "kept", lambda a, b: np.vecdot(a, b, keepdims=True), (A, real(2, 3, seed=1))),
    Form("numpy.vecdot", "over two axes", lambda a, b: np.vecdot(a, b, axes=[0, 1]), (real(3, 2), real(2, 3))),
    Form("numpy.linalg.vecdot", "vectors", np.linalg.vecdot, (U, V)),
    Form("numpy.linalg.vecdot", "over another axis", lambda a, b: np.linalg.vecdot(a, b, axis=0), (CA, cplx(2, 3, seed=1))),
    Form("numpy.tensordot", "two axes", np.tensordot, (real(2, 3, 4), real(3, 4, 2))),
    Form("numpy.tensordot", "no axis", lambda a, b: np.tensordot(a, b, axes=0), (A, U)),
    Form("numpy.tensordot", "one axis", lambda a, b: np.tensordot(a, b, 1), (CA, CB)),
    Form(
        "numpy.tensordot", "named axes", lambda a, b: np.tensordot(a, b, axes=([0, 2], [1, 0])), (real(2, 3, 4), real(4, 2))
    ),
    Form("numpy.tensordot", "negative axes", lambda a, b: np.tensordot(a, b, axes=(-1, -2)), (real(2, 3), real(2, 3, 4))),
    Form("numpy.tensordot", "all axes", lambda a, b: np.tensordot(a, b, axes=2), (A, real(2, 3, seed=1))),
    Form("numpy.linalg.tensordot", "one axis", lambda a, b: np.linalg.tensordot(a, b, axes=1), (A, B)),
    Form("numpy.kron", "vectors", np.kron, (U, real(2))),
    Form("numpy.kron", "matrices", np.kron, (A, real(2, 2))),
    Form("numpy.kron", "a vector by a matrix", np.kron, (U, real(2, 2))),
    Form("numpy.kron", "three dimensions by two", np.kron, (real(2, 1, 2), real(2, 2))),
    Form("numpy.kron", "a scalar", np.kron, (real(), A)),
    Form("numpy.kron", "complex", np.kron, (CA, cplx(2, 2))),
    Form("numpy.cross", "vectors", np.cross, (U, V)),
    Form("numpy.cross", "stacks", np.cross, (real(2, 3), real(4, 1, 3))),
    Form("numpy.cross", "over one axis", lambda a, b: np.cross(a, b, axis=0), (real(3, 4), real(3, 4, seed=1))),
    Form(
        "numpy.cross",
        "over three axes",
        lambda a, b: np.cross(a, b, axisa=0, axisb=1, axisc=0),
        (real(3, 4), real(4, 3, seed=1)),
    ),
    Form("numpy.cross", "complex", np.cross, (CU, CV)),
    Form("numpy.linalg.cross", "vectors", np.linalg.cross, (U, V)),
    Form("numpy.linalg.cross", "over an axis", lambda a, b: np.linalg.cross(a, b, axis=0), (real(3, 2), real(3, 2, seed=1))),
    Form("numpy.linalg.multi_dot", "two", lambda *a: np.linalg.multi_dot(a), (A, B)),
    Form("numpy.linalg.multi_dot", "three", lambda *a: np.linalg.multi_dot(a), (A, B, real(4, 2))),
    Form("numpy.linalg.multi_dot", "four", lambda *a: np.linalg.multi_dot(a), (A, B, real(4, 2), real(2, 5))),
    Form("numpy.linalg.multi_dot", "from a vector to a vector", lambda *a: np.linalg.multi_dot(a), (U, B, real(4))),
    Form("numpy.linalg.multi_dot", "from a vector", lambda *a: np.linalg.multi_dot(a), (U, B, real(4, 2))),
    Form("numpy.linalg.multi_dot", "to a vector", lambda *a: np.linalg.multi_dot(a), (A, B, real(4))),
    Form("numpy.linalg.multi_dot", "complex", lambda *a: np.linalg.multi_dot(a), (CA, CB, cplx(4, 2))),
    *[
        Form("numpy.linalg.matrix_power", f"to the {n}", lambda a, n=n: np.linalg.matrix_power(a, n), (matrix(3),))
        for n in (-2, -1, 0, 1, 2, 3, 5)
    ],
    Form("numpy.linalg.matrix_power", "of complex stacks", lambda a: np.linalg.matrix_power(a, 3), (cplx(2, 2, 2),)),
    Form("numpy.trace", "a matrix", np.trace, (A,)),
    Form("numpy.trace", "offset and axes", lambda a: np.trace(a, 1, 2, 0), (real(2, 3, 4),)),
    Form("numpy.trace", "complex", in_a_row(lambda a: np.trace(a, offset=-1)), (CB,)),
    Form("numpy.linalg.trace", "stacks", lambda a: np.linalg.trace(a, offset=1), (real(2, 3, 4),)),
    Form(
        "numpy.linalg.trace", "with dtype", lambda a: np.linalg.trace(a, dtype=np.complex128), (real(2, 3, 4),), float32=False
    ),
    Form("numpy.linalg.diagonal", "stacks", lambda a: np.linalg.diagonal(a, offset=-1), (real(2, 3, 4),)),
    Form("numpy.linalg.matrix_transpose", "stacks", np.linalg.matrix_transpose, (real(2, 3, 4),)),
]
if hasattr(np, "matvec"):
    FORMS += [
        Form("numpy.matvec", "a matrix and a vector", np.matvec, (A, U)),
        Form("numpy.matvec", "stacks", np.matvec, (real(2, 2, 3), A)),
        Form("numpy.matvec", "with axes", lambda a, b: np.matvec(a, b, axes=[(0, 1), 0, 0]), (real(2, 3, 2), real(3, 2))),
        Form("numpy.vecmat", "with axes", lambda a, b: np.vecmat(a, b, axes=[0, (1, 0), -1]), (real(3), real(2, 3))),
        Form("numpy.matvec", "complex", np.matvec, (CA, CU)),
        Form("numpy.vecmat", "a vector and a matrix", np.vecmat, (U, B)),
        Form("numpy.vecmat", "stacks", np.vecmat, (real(2, 3), real(2, 3, 2))),
        Form("numpy.vecmat", "complex", np.vecmat, (CU, CB)),
    ]
