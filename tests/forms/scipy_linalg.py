"""scipy.linalg: solvers with every flag, factorisations, functions of matrices, matrix equations, structured matrices."""

import importlib.util

import numpy as np

from . import Form, cplx, matrix, real

FORMS = []

if importlib.util.find_spec("scipy"):
    from retape.runtime.scipy import linalg

    A, B, V = matrix(4), real(4, 2, seed=5), real(4, seed=6)
    CA, CB = cplx(3, 3) + 3 * np.eye(3), cplx(3, 2, seed=5)
    TRIANGLE = A.copy()
    SPD = A @ A.T + np.eye(4)
    HPD = CA @ np.conj(CA.T) + np.eye(3)
    SMALL = 0.3 * real(3, 3)
    CSMALL = 0.3 * cplx(3, 3)

    def add(name, text, f, *args, **keywords):
        FORMS.append(Form(f"scipy.linalg.{name}", text, f, args, **keywords))

    for lower in (False, True):
        for trans in ("N", "T", "C"):
            for unit in (False, True):
                text = f"lower={lower} trans={trans} unit_diagonal={unit}"

                def solved(a, b, trans=trans, lower=lower, unit=unit):
                    return linalg.solve_triangular(a, b, trans=trans, lower=lower, unit_diagonal=unit)

                add("solve_triangular", text, solved, A, B)
                add("solve_triangular", f"{text} complex", solved, CA, CB)
    add("solve_triangular", "a vector", lambda a, b: linalg.solve_triangular(a, b), A, V)
    add("solve_triangular", "a batch", lambda a, b: linalg.solve_triangular(a, b), matrix(3) + real(2, 1, 1), real(2, 3, 2))
    add("solve_triangular", "columns first", lambda a, b: linalg.solve_triangular(a.T, b[::-1]), A, B)
    add("solve_triangular", "a constant matrix", lambda b: linalg.solve_triangular(TRIANGLE, b), B, float32=False)

    add("solve", "general", lambda a, b: linalg.solve(a, b), A, B)
    add("solve", "a vector", lambda a, b: linalg.solve(a, b), A, V)
    add("solve", "complex", lambda a, b: linalg.solve(a, b), CA, CB)
    add("solve", "transposed", lambda a, b: linalg.solve(a, b, transposed=True), A, B)
    for kind in ("pos", "sym", "her", "upper triangular", "lower triangular", "diagonal", "tridiagonal"):
        add(
            "solve",
            kind,
            lambda a, b, kind=kind: linalg.solve(a, b, assume_a=kind),
            SPD if kind == "pos" else A,
            B,
            tolerance=1e-5,
        )
    add(
        "solve",
        "pos, the lower triangle",
        lambda a, b: linalg.solve(a, b, assume_a="pos", lower=True),
        SPD,
        B,
        tolerance=1e-5,
    )
    add("solve", "a Hermitian matrix", lambda a, b: linalg.solve(a, b, assume_a="her"), HPD, CB, tolerance=1e-5)
    add("inv", "general", lambda a: linalg.inv(a), A)
    add("inv", "complex", lambda a: linalg.inv(a), CA)
    add("det", "general", lambda a: linalg.det(a), A)
    add("det", "complex", lambda a: linalg.det(a)[None], CA)
    for lower in (False, True):
        add("cholesky", f"lower={lower}", lambda a, lower=lower: linalg.cholesky(a, lower=lower), SPD, tolerance=1e-5)
        add("cholesky", f"lower={lower} complex", lambda a, lower=lower: linalg.cholesky(a, lower=lower), HPD, tolerance=1e-5)

        def by_cholesky(a, b, lower=lower):
            return linalg.cho_solve(linalg.cho_factor(a, lower=lower), b)

        add("cho_solve", f"lower={lower}", by_cholesky, SPD, B, tolerance=1e-5)
        add("cho_solve", f"lower={lower} complex", by_cholesky, HPD, CB, tolerance=1e-5)
    PIVOTED = A[[2, 0, 3, 1]]
    add("lu_factor", "with pivots", lambda a: linalg.lu_factor(a)[0], PIVOTED)
    add("lu_factor", "complex", lambda a: linalg.lu_factor(a)[0], CA[[1, 2, 0]])
    for trans in (0, 1, 2):

        def by_lu(a, b, trans=trans):
            return linalg.lu_solve(linalg.lu_factor(a), b, trans=trans)

        add("lu_solve", f"trans={trans}", by_lu, PIVOTED, B)
        add("lu_solve", f"trans={trans} complex", by_lu, CA[[1, 2, 0]], CB)
    add("lu", "three factors", lambda a: linalg.lu(a)[1:], PIVOTED)
    add("lu", "permute_l", lambda a: linalg.lu(a, permute_l=True), PIVOTED)
    add("lu", "p_indices", lambda a: linalg.lu(a, p_indices=True)[1:], PIVOTED)

    BANDS = real(4, 6) + np.array([0.0, 0.0, 5.0, 0.0])[:, None]
    add("solve_banded", "two above, one below", lambda ab, b: linalg.solve_banded((1, 2), ab, b), BANDS, real(6, 2))
    add("solve_banded", "a vector", lambda ab, b: linalg.solve_banded((1, 1), ab, b), BANDS[1:], real(6))
    add("solve_banded", "a diagonal", lambda ab, b: linalg.solve_banded((0, 0), ab, b), BANDS[2:3], real(6))
    add(
        "solve_banded", "complex", lambda ab, b: linalg.solve_banded((1, 1), ab, b), BANDS[1:] + 0.5j * real(3, 6), cplx(6, 2)
    )
    add("solveh_banded", "upper", lambda ab, b: linalg.solveh_banded(ab, b), BANDS[1:3], real(6, 2))
    add("solveh_banded", "lower", lambda ab, b: linalg.solveh_banded(ab, b, lower=True), BANDS[2:], real(6))

    add("expm", "general", lambda a: linalg.expm(a), A)
    add("expm", "complex", lambda a: linalg.expm(a), CA)
    add("expm", "a batch", lambda a: linalg.expm(a), real(2, 3, 3))
    add("expm_frechet", "both", lambda a, e: linalg.expm_frechet(a, e), A, real(4, 4, seed=3))
    add("expm_frechet", "alone", lambda a, e: linalg.expm_frechet(a, e, compute_expm=False), A, real(4, 4, seed=3))
    ROOTED = SMALL + 2 * np.eye(3)
    add("logm", "real", lambda a: linalg.logm(a), ROOTED, tolerance=1e-5, float32=False)
    add("logm", "complex", lambda a: linalg.logm(a), CSMALL + 2 * np.eye(3), tolerance=1e-5, float32=False)
    add("sqrtm", "real", lambda a: linalg.sqrtm(a), ROOTED)
    add("sqrtm", "complex", lambda a: linalg.sqrtm(a), CSMALL + 2 * np.eye(3))
    for name in ("cosm", "sinm", "tanm", "coshm", "sinhm", "tanhm"):
        function = getattr(linalg, name)
        add(name, "real", lambda a, function=function: function(a), SMALL)
        add(name, "complex", lambda a, function=function: function(a), CSMALL)
    add("solve_sylvester", "real", lambda a, b, q: linalg.solve_sylvester(a, b, q), A, matrix(2), real(4, 2))
    add("solve_sylvester", "complex", lambda a, b, q: linalg.solve_sylvester(a, b, q), CA, matrix(2) + 0j, cplx(3, 2))
    add("solve_continuous_lyapunov", "real", lambda a, q: linalg.solve_continuous_lyapunov(a, q), A, real(4, 4))
    add("solve_continuous_lyapunov", "complex", lambda a, q: linalg.solve_continuous_lyapunov(a, q), CA, cplx(3, 3))
    for method in (None, "direct", "bilinear"):

        def discrete(a, q, method=method):
            return linalg.solve_discrete_lyapunov(a, q, method=method)

        add("solve_discrete_lyapunov", f"method={method}", discrete, SMALL, real(3, 3, seed=4))
        add("solve_discrete_lyapunov", f"method={method} complex", discrete, CSMALL, cplx(3, 3, seed=4))

    add("toeplitz", "a column", lambda c: linalg.toeplitz(c), V)
    add("toeplitz", "a complex column", lambda c: linalg.toeplitz(c), cplx(3))
    add("toeplitz", "a column and a row", lambda c, r: linalg.toeplitz(c, r), V, real(3))
    add("hankel", "a column", lambda c: linalg.hankel(c), V)
    add("hankel", "a column and a row", lambda c, r: linalg.hankel(c, r), V, real(3))
    add("circulant", "a vector", lambda c: linalg.circulant(c), V)
    add("circulant", "several", lambda c: linalg.circulant(c), real(2, 3))
    add("block_diag", "matrices, a vector, a number", lambda a, b, c: linalg.block_diag(a, b, c), B, V, np.array(1.5))
    add("companion", "a polynomial", lambda a: linalg.companion(a), V)
    add("khatri_rao", "two matrices", lambda a, b: linalg.khatri_rao(a, b), B, real(3, 2))

    add("norm", "a vector", lambda a: linalg.norm(a), V)
    add("norm", "a matrix", lambda a: linalg.norm(a), B)
    add("norm", "largest row", lambda a: linalg.norm(a, np.inf), B)
    add("norm", "rows", lambda a: linalg.norm(a, axis=1, keepdims=True), B)
    SYMMETRIC = A + A.T
    add("eigh", "values", lambda a: linalg.eigh(a, eigvals_only=True), SYMMETRIC, tolerance=1e-5)
    add("eigh", "the upper triangle", lambda a: linalg.eigh(a, lower=False, eigvals_only=True), SYMMETRIC, tolerance=1e-5)
    add("eigh", "squared vectors", lambda a: linalg.eigh(a)[1] ** 2, SYMMETRIC, tolerance=1e-5)
    add("eigh", "two of them", lambda a: linalg.eigh(a, subset_by_index=[1, 2], eigvals_only=True), SYMMETRIC, tolerance=1e-5)
    add("eigh", "generalised", lambda a, b: linalg.eigh(a, b, eigvals_only=True), SYMMETRIC, SPD, tolerance=1e-5)
    add("eigh", "generalised vectors", lambda a, b: linalg.eigh(a, b)[1] ** 2, SYMMETRIC, SPD, tolerance=1e-4)
    add("eigh", "complex", lambda a: np.absolute(linalg.eigh(a)[1]), HPD, tolerance=1e-5)
    add("eigvalsh", "values", lambda a: linalg.eigvalsh(a), SYMMETRIC, tolerance=1e-5)
    add("svdvals", "values", lambda a: linalg.svdvals(a), B, tolerance=1e-5)
    add("svd", "projections", lambda a: linalg.svd(a, full_matrices=False)[0] ** 2, B, tolerance=1e-5)
    add("qr", "economic", lambda a: [x**2 for x in linalg.qr(a, mode="economic")], B, tolerance=1e-5)
    add("qr", "r", lambda a: linalg.qr(a, mode="r")[0] ** 2, B, tolerance=1e-5)
    for side in ("right", "left"):
        add("polar", side, lambda a, side=side: linalg.polar(a, side=side), A, tolerance=1e-4)
    add("pinv", "tall", lambda a: linalg.pinv(a), B, tolerance=1e-5)
