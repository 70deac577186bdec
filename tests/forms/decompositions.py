"""Forms of Cholesky, QR, eigenvalue and singular value decompositions."""

import numpy as np

from . import Form, cplx, matrix, real


def definite(n, seed=0):
    """A symmetric matrix with eigenvalues well above 0."""
    a = real(n, n, seed=seed)
    return a @ a.T + n * np.eye(n)


def complex_definite(n, seed=0):
    """A Hermitian matrix with eigenvalues well above 0."""
    a = cplx(n, n, seed=seed)
    return a @ a.conj().T + n * np.eye(n)


STACK = np.stack([definite(3), definite(3, seed=1)])
CSTACK = np.stack([complex_definite(3), complex_definite(3, seed=1)])
GENERAL = np.stack([definite(3) + real(3, 3), definite(3, seed=1) + real(3, 3, seed=1)])
ROTATING = np.array([[1.0, 2.0, 0.3], [-2.0, 0.5, 0.1], [0.2, -0.4, 3.0]])


def projector(vectors):
    """The product v v^h, which no phase changes."""
    return vectors @ np.conj(np.swapaxes(vectors, -1, -2))


def rebuilt(f):
    """The matrix made again of a function of its Hermitian decomposition."""

    def program(a):
        w, v = np.linalg.eigh(a)
        return (v * f(w)[..., None, :]) @ np.conj(np.swapaxes(v, -1, -2))

    return program


def svd(a):
    """All three parts of the thin decomposition."""
    return list(np.linalg.svd(a, full_matrices=False))


def full_svd_projectors(a):
    """What of a full decomposition does not depend on the choice of the further vectors."""
    u, s, vh = np.linalg.svd(a)
    k = s.shape[-1]
    return [u[..., :k], s, vh[..., :k, :], projector(u[..., k:]), projector(np.swapaxes(vh[..., k:, :], -1, -2))]


FORMS = [
    Form("numpy.linalg.cholesky", "a matrix", np.linalg.cholesky, (definite(3),)),
    Form("numpy.linalg.cholesky", "one number", np.linalg.cholesky, (np.array([[2.0]]),), closed=lambda a: 0.5 / np.sqrt(a)),
    Form("numpy.linalg.cholesky", "of a product", lambda a: np.linalg.cholesky(a @ a.T + np.eye(3, dtype=a.dtype)),
         (real(3, 3),)),
    Form("numpy.linalg.cholesky", "complex", np.linalg.cholesky, (complex_definite(3),)),
    Form("numpy.linalg.cholesky", "stacks", np.linalg.cholesky, (STACK,)),
    Form("numpy.linalg.cholesky", "complex stacks", np.linalg.cholesky, (CSTACK,)),
    Form("numpy.linalg.cholesky", "upper", lambda a: np.linalg.cholesky(a, upper=True), (definite(3),)),
    Form("numpy.linalg.cholesky", "upper complex", lambda a: np.linalg.cholesky(a, upper=True), (complex_definite(3),)),
    Form("numpy.linalg.cholesky", "a permuted stack", lambda a: np.linalg.cholesky(a.transpose(1, 0, 2, 3)),
         (np.stack([STACK] * 3),)),
    Form("numpy.linalg.qr", "a square matrix", np.linalg.qr, (matrix(3),)),
    Form("numpy.linalg.qr", "a tall matrix", np.linalg.qr, (real(4, 2),)),
    Form("numpy.linalg.qr", "a wide matrix", np.linalg.qr, (real(2, 4),)),
    Form("numpy.linalg.qr", "complex and square", np.linalg.qr, (cplx(3, 3),)),
    Form("numpy.linalg.qr", "complex and tall", np.linalg.qr, (cplx(4, 2),)),
    Form("numpy.linalg.qr", "complex and wide", np.linalg.qr, (cplx(2, 3),)),
    Form("numpy.linalg.qr", "stacks", np.linalg.qr, (real(2, 3, 2),)),
    Form("numpy.linalg.qr", "r", lambda a: np.linalg.qr(a, mode="r"), (real(4, 2),)),
    Form("numpy.linalg.qr", "r of a wide matrix", lambda a: np.linalg.qr(a, "r"), (real(2, 3),)),
    Form("numpy.linalg.qr", "complete", lambda a: np.linalg.qr(a, mode="complete"), (real(4, 2),)),
    Form("numpy.linalg.qr", "complete and complex", lambda a: np.linalg.qr(a, "complete"), (cplx(4, 2),)),
    Form("numpy.linalg.qr", "complete stacks", lambda a: np.linalg.qr(a, "complete"), (real(2, 4, 3),)),
    Form("numpy.linalg.qr", "complete and wide", lambda a: np.linalg.qr(a, "complete"), (real(2, 3),)),
    Form("numpy.linalg.eigh", "a matrix", np.linalg.eigh, (definite(3),)),
    Form("numpy.linalg.eigh", "the upper triangle", lambda a: np.linalg.eigh(a, UPLO="U"), (definite(3),)),
    Form("numpy.linalg.eigh", "a triangle of a matrix that is not symmetric", np.linalg.eigh, (matrix(3),)),
    Form("numpy.linalg.eigh", "complex", np.linalg.eigh, (complex_definite(3),)),
    Form("numpy.linalg.eigh", "the upper triangle of complex", lambda a: np.linalg.eigh(a, "u"), (complex_definite(3),)),
    Form("numpy.linalg.eigh", "stacks", np.linalg.eigh, (STACK,)),
    Form("numpy.linalg.eigh", "complex stacks", np.linalg.eigh, (CSTACK,)),
    Form("numpy.linalg.eigh", "a function of the matrix", rebuilt(np.exp), (definite(3) / 4,)),
    Form("numpy.linalg.eigh", "a function of a complex matrix", rebuilt(np.log), (complex_definite(3),)),
    Form("numpy.linalg.eigh", "a sum over equal eigenvalues", lambda a: np.sum(np.exp(np.linalg.eigh(a).eigenvalues)),
         (2 * np.eye(3),), order=1, closed=lambda a: np.exp(2) * np.eye(3)),
    Form("numpy.linalg.eigh", "a vector beside two equal eigenvalues",
         lambda a: projector(np.linalg.eigh(a).eigenvectors[..., 2:]), (np.diag([1.0, 1.0, 3.0]),), order=1),
    Form("numpy.linalg.svd", "a vector beside two equal values",
         lambda a: projector(np.linalg.svd(a)[0][..., :1]), (np.diag([3.0, 1.0, 1.0]),), order=1),
    Form("numpy.linalg.eigvalsh", "a matrix", np.linalg.eigvalsh, (definite(3),)),
    Form("numpy.linalg.eigvalsh", "the upper triangle", lambda a: np.linalg.eigvalsh(a, UPLO="U"), (matrix(3),)),
    Form("numpy.linalg.eigvalsh", "complex", np.linalg.eigvalsh, (complex_definite(3),)),
    Form("numpy.linalg.eigvalsh", "stacks", np.linalg.eigvalsh, (STACK,)),
    Form("numpy.linalg.eigvalsh", "equal eigenvalues", lambda a: np.sum(np.linalg.eigvalsh(a) ** 2), (np.eye(3),), order=1,
         closed=lambda a: 2 * a),
    Form("numpy.linalg.eig", "real eigenvalues", np.linalg.eig, (definite(3) + 0.5 * real(3, 3, seed=3),)),
    Form("numpy.linalg.eig", "complex pairs", np.linalg.eig, (ROTATING,)),
    Form("numpy.linalg.eig", "complex", np.linalg.eig, (cplx(3, 3),)),
    Form("numpy.linalg.eig", "stacks", np.linalg.eig, (GENERAL,)),
    Form("numpy.linalg.eig", "complex stacks", np.linalg.eig, (cplx(2, 3, 3),)),
    Form("numpy.linalg.eigvals", "real", np.linalg.eigvals, (definite(3) + 0.5 * real(3, 3, seed=3),)),
    Form("numpy.linalg.eigvals", "complex pairs", np.linalg.eigvals, (ROTATING,)),
    Form("numpy.linalg.eigvals", "complex", np.linalg.eigvals, (cplx(3, 3),)),
    Form("numpy.linalg.eigvals", "the sum is the trace", lambda a: np.sum(np.linalg.eigvals(a)).real, (ROTATING,),
         closed=lambda a: np.eye(3)),
    Form("numpy.linalg.svd", "a square matrix", svd, (matrix(3),)),
    Form("numpy.linalg.svd", "a tall matrix", svd, (real(4, 2),)),
    Form("numpy.linalg.svd", "a wide matrix", svd, (real(2, 4),)),
    Form("numpy.linalg.svd", "complex and square", svd, (cplx(3, 3),)),
    Form("numpy.linalg.svd", "complex and tall", svd, (cplx(4, 2),)),
    Form("numpy.linalg.svd", "complex and wide", svd, (cplx(2, 4),)),
    Form("numpy.linalg.svd", "complex and a little wide", svd, (cplx(3, 4),)),
    Form("numpy.linalg.svd", "stacks", svd, (real(2, 3, 2),)),
    Form("numpy.linalg.svd", "complex stacks", svd, (cplx(2, 2, 3),)),
    Form("numpy.linalg.svd", "full and square", np.linalg.svd, (matrix(3),)),
    Form("numpy.linalg.svd", "full with one further row", np.linalg.svd, (real(3, 2),)),
    Form("numpy.linalg.svd", "full with one further column", np.linalg.svd, (real(3, 4),)),
    Form("numpy.linalg.svd", "full and tall", full_svd_projectors, (real(4, 2),)),
    Form("numpy.linalg.svd", "full and wide", full_svd_projectors, (real(2, 4),)),
    Form("numpy.linalg.svd", "full, complex and tall", full_svd_projectors, (cplx(4, 2),)),
    Form("numpy.linalg.svd", "full, complex and wide", full_svd_projectors, (cplx(2, 3),)),
    Form("numpy.linalg.svd", "values only", lambda a: np.linalg.svd(a, compute_uv=False), (real(3, 4),)),
    Form("numpy.linalg.svd", "Hermitian", lambda a: np.linalg.svd(a, hermitian=True), (definite(3) - 5 * np.eye(3),)),
    Form("numpy.linalg.svd", "complex Hermitian", lambda a: np.linalg.svd(a, hermitian=True),
         (complex_definite(3) - 4.3 * np.eye(3),)),
    Form("numpy.linalg.svd", "Hermitian values", lambda a: np.linalg.svd(a, compute_uv=False, hermitian=True),
         (definite(3) - 5 * np.eye(3),)),
    Form("numpy.linalg.svdvals", "a tall matrix", np.linalg.svdvals, (real(4, 3),)),
    Form("numpy.linalg.svdvals", "a wide matrix", np.linalg.svdvals, (real(2, 3),)),
    Form("numpy.linalg.svdvals", "complex", np.linalg.svdvals, (cplx(3, 2),)),
    Form("numpy.linalg.svdvals", "stacks", np.linalg.svdvals, (real(2, 2, 3),)),
    Form("numpy.linalg.svdvals", "equal values", lambda a: np.sum(np.linalg.svdvals(a)), (np.eye(3),), order=1,
         closed=np.array),
]  # fmt: skip
