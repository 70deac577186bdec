"""Forms of linear systems, inverses, least squares and determinants."""

import numpy as np

from . import Form, cplx, matrix, real

M = matrix(3)
CM = cplx(3, 3) + 3 * np.eye(3)
STACK = np.stack([matrix(3), matrix(3, seed=1)])
CSTACK = STACK + 0.5j * real(2, 3, 3, seed=2)
SINGULAR = np.array([[1.0, 2.0, 0.5], [2.0, 4.0, 1.0], [0.3, -1.0, 2.0]])


def of_rank(*shape, rank, seed=0, dtype=float):
    """A program's matrix of a rank that does not change: the product of these two factors."""
    make = cplx if dtype is complex else real
    return make(*shape[:-1], rank, seed=seed), make(*shape[:-2], rank, shape[-1], seed=seed + 1)


def symmetric(a):
    """A symmetric matrix, which uses both triangles."""
    return a + np.conj(np.swapaxes(a, -1, -2))


def slogdet_parts(a):
    """The two parts of the result; a complex sign as an array of one."""
    result = np.linalg.slogdet(a)
    return [np.atleast_1d(result.sign), result.logabsdet]


FORMS = [
    Form("numpy.linalg.solve", "a vector", np.linalg.solve, (M, real(3))),
    Form("numpy.linalg.solve", "columns", np.linalg.solve, (M, real(3, 2))),
    Form("numpy.linalg.solve", "complex", np.linalg.solve, (CM, cplx(3, 2))),
    Form("numpy.linalg.solve", "complex by real", np.linalg.solve, (CM, real(3))),
    Form("numpy.linalg.solve", "real by complex", np.linalg.solve, (M, cplx(3))),
    Form("numpy.linalg.solve", "stacks", np.linalg.solve, (STACK, real(2, 3, 2))),
    Form("numpy.linalg.solve", "a stack and a vector", np.linalg.solve, (STACK, real(3))),
    Form("numpy.linalg.solve", "a stack and columns", np.linalg.solve, (STACK, real(3, 2))),
    Form("numpy.linalg.solve", "a matrix and a stack", np.linalg.solve, (M, real(2, 3, 2))),
    Form("numpy.linalg.solve", "a transposed matrix", lambda a, b: np.linalg.solve(a.T, b), (M, real(3))),
    Form("numpy.linalg.solve", "a permuted stack", lambda a, b: np.linalg.solve(a.transpose(1, 0, 2, 3), b),
         (np.stack([STACK] * 3) + 0.1 * real(3, 2, 3, 3), real(3))),
    Form("numpy.linalg.solve", "a constant matrix", lambda b: np.linalg.solve(M, b), (real(3),), float32=False,
         closed=lambda b: np.linalg.solve(M.T, np.ones(3))),
    Form("numpy.linalg.solve", "a constant right-hand side", lambda a: np.linalg.solve(a, np.arange(3)), (M,), float32=False),
    Form("numpy.linalg.inv", "a matrix", np.linalg.inv, (M,),
         closed=lambda a: -np.linalg.inv(a).T @ np.ones((3, 3)) @ np.linalg.inv(a).T),
    Form("numpy.linalg.inv", "complex", np.linalg.inv, (CM,)),
    Form("numpy.linalg.inv", "stacks", np.linalg.inv, (STACK,)),
    Form("numpy.linalg.inv", "no matrix", np.linalg.inv, (real(0, 3, 3),)),
    Form("numpy.linalg.tensorsolve", "a tensor", np.linalg.tensorsolve, (matrix(6).reshape(2, 3, 6), real(2, 3))),
    Form("numpy.linalg.tensorsolve", "axes", lambda a, b: np.linalg.tensorsolve(a, b, axes=(0,)),
         (matrix(6).reshape(6, 2, 3).transpose(0, 1, 2), real(2, 3))),
    Form("numpy.linalg.tensorinv", "two indices", np.linalg.tensorinv, (matrix(6).reshape(2, 3, 3, 2),)),
    Form("numpy.linalg.tensorinv", "one index", lambda a: np.linalg.tensorinv(a, ind=1), (matrix(6).reshape(6, 2, 3),)),
    Form("numpy.linalg.pinv", "a square matrix", np.linalg.pinv, (M,)),
    Form("numpy.linalg.pinv", "a tall matrix", np.linalg.pinv, (real(4, 3),)),
    Form("numpy.linalg.pinv", "a wide matrix", np.linalg.pinv, (real(2, 4),)),
    Form("numpy.linalg.pinv", "complex", np.linalg.pinv, (cplx(4, 2),)),
    Form("numpy.linalg.pinv", "complex and wide", np.linalg.pinv, (cplx(2, 3),)),
    Form("numpy.linalg.pinv", "stacks", np.linalg.pinv, (real(2, 3, 2),)),
    Form("numpy.linalg.pinv", "of deficient rank", lambda a, b: np.linalg.pinv(a @ b, rcond=1e-6),
         of_rank(4, 3, rank=2), float32=False),
    Form("numpy.linalg.pinv", "complex of deficient rank", lambda a, b: np.linalg.pinv(a @ b, rtol=1e-6),
         of_rank(3, 4, rank=2, dtype=complex), float32=False),
    Form("numpy.linalg.pinv", "a cut-off for each", lambda a: np.linalg.pinv(a, np.array([1e-12, 1e-10])), (real(2, 3, 2),)),
    Form("numpy.linalg.pinv", "the standard cut-off", lambda a: np.linalg.pinv(a, rtol=None), (real(3, 2),)),
    Form("numpy.linalg.pinv", "Hermitian", lambda a: np.linalg.pinv(a, hermitian=True), (M,)),
    Form("numpy.linalg.pinv", "complex Hermitian", lambda a: np.linalg.pinv(symmetric(a), hermitian=True), (CM,)),
    Form("numpy.linalg.lstsq", "a vector", lambda a, b: np.linalg.lstsq(a, b)[0], (real(4, 2), real(4))),
    Form("numpy.linalg.lstsq", "columns, residuals and singular values",
         lambda a, b: [np.linalg.lstsq(a, b, rcond=None)[k] for k in (0, 1, 3)], (real(4, 2), real(4, 3))),
    Form("numpy.linalg.lstsq", "a square matrix", lambda a, b: np.linalg.lstsq(a, b)[:2], (M, real(3))),
    Form("numpy.linalg.lstsq", "a wide matrix", lambda a, b: np.linalg.lstsq(a, b)[0], (real(2, 3), real(2))),
    Form("numpy.linalg.lstsq", "complex", lambda a, b: list(np.linalg.lstsq(a, b)[:2]), (cplx(4, 2), cplx(4))),
    Form("numpy.linalg.lstsq", "a complex matrix, real columns", lambda a, b: np.linalg.lstsq(a, b)[0],
         (cplx(4, 2), real(4, 2))),
    Form("numpy.linalg.lstsq", "of deficient rank", lambda a, b, c: np.linalg.lstsq(a @ b, c, rcond=1e-6)[0],
         (*of_rank(4, 3, rank=2), real(4)), float32=False),
    Form("numpy.linalg.det", "a matrix", np.linalg.det, (M,), closed=lambda a: np.linalg.det(a) * np.linalg.inv(a).T),
    Form("numpy.linalg.det", "a complex matrix", lambda a: np.linalg.det(a)[None], (CM,)),
    Form("numpy.linalg.det", "stacks", np.linalg.det, (STACK,)),
    Form("numpy.linalg.det", "complex stacks", np.linalg.det, (CSTACK,)),
    Form("numpy.linalg.det", "a singular matrix", np.linalg.det, (SINGULAR,)),
    Form("numpy.linalg.det", "a singular complex matrix", lambda a: np.linalg.det(a)[None], (SINGULAR * (1 + 0.5j),)),
    Form("numpy.linalg.det", "a matrix of rank 1", np.linalg.det, (np.outer(real(3), real(3, seed=1)),)),
    Form("numpy.linalg.det", "zeros", np.linalg.det, (np.zeros((2, 2)),), closed=np.zeros_like),
    Form("numpy.linalg.det", "the identity", np.linalg.det, (np.eye(3),), closed=np.array),
    Form("numpy.linalg.det", "third order", np.linalg.det, (M,), order=3, tolerance=1e-5),
    Form("numpy.linalg.det", "one number", np.linalg.det, (real(1, 1),), closed=np.ones_like),
    Form("numpy.linalg.slogdet", "a matrix", lambda a: np.linalg.slogdet(a).logabsdet, (M,),
         closed=lambda a: np.linalg.inv(a).T),
    Form("numpy.linalg.slogdet", "both parts", lambda a: [np.linalg.slogdet(a)[0], np.linalg.slogdet(a)[1]], (M,)),
    Form("numpy.linalg.slogdet", "of a negative determinant", np.linalg.slogdet, (-M,)),
    Form("numpy.linalg.slogdet", "stacks", np.linalg.slogdet, (STACK,)),
    Form("numpy.linalg.slogdet", "complex", slogdet_parts, (CM,)),
    Form("numpy.linalg.slogdet", "complex stacks", np.linalg.slogdet, (CSTACK,)),
    Form("numpy.linalg.matrix_rank", "beside what depends on it", lambda a: a * np.linalg.matrix_rank(a), (M,)),
]  # fmt: skip
