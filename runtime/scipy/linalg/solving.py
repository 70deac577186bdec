"""Linear systems of scipy.linalg: general, triangular, banded, and from factors; each solved with SciPy's own structure."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg

from ... import phantom
from ...array import apply
from ...op import define
from ..replace import constant, refuse, replaces
from .common import from_triangle, lower_part, matrix, swapped, upper_part


def _run_triangular(a: Any, b: Any, lower: bool, turned: bool, unit: bool) -> np.ndarray:
    y = scipy.linalg.solve_triangular(a, b, trans=int(turned), lower=lower, unit_diagonal=unit, check_finite=False)
    return np.ascontiguousarray(y)


def _stacked(a: np.ndarray, b: np.ndarray) -> tuple[int, ...]:
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])


def _masked(share: Any, lower: bool, unit: bool) -> Any:
    """Return the part of a matrix that a triangular solve reads."""
    return lower_part(share, -1 if unit else 0) if lower else upper_part(share, 1 if unit else 0)


def _triangular_rule_a(g: Any, a: Any, y: Any, lower: bool, turned: bool, unit: bool) -> Any:
    back = triangular(a, g, lower, not turned, unit)
    share = np.matmul(y, swapped(back)) if turned else np.matmul(back, swapped(y))
    return -_masked(share, lower, unit)


def _triangular_jvp_a(t: Any, a: Any, y: Any, lower: bool, turned: bool, unit: bool) -> Any:
    moved = _masked(t, lower, unit)
    return -triangular(a, np.matmul(swapped(moved) if turned else moved, y), lower, turned, unit)


TRIANGULAR = define(
    "solve_triangular",
    _run_triangular,
    inputs="a b",
    parameters=("lower", "turned", "unit"),
    rules=(
        _triangular_rule_a,
        lambda g, a, lower, turned, unit: triangular(a, g, lower, not turned, unit),
    ),
    jvp=(
        _triangular_jvp_a,
        lambda t, a, lower, turned, unit: triangular(a, t, lower, turned, unit),
    ),
    infer=lambda a, b, **_: phantom.contiguous(_stacked(a, b), np.result_type(a, b)),
    flops=lambda out, a, b, **_: 1.0 * out.size * a.shape[-1],
    workspace=lambda out, a, b, **_: a.nbytes + 2 * out.nbytes,
)


def triangular(a: Any, b: Any, lower: bool, turned: bool, unit: bool) -> Any:
    """Return the solution of a triangular system, or of the transposed one; `b` has columns."""
    return apply(TRIANGULAR, (a, b), {"lower": lower, "turned": turned, "unit": unit})


@replaces("scipy.linalg", "solve_triangular")
def solve_triangular(
    a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False, overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:  # fmt: skip
    """Solve a triangular system; the other triangle is not read and has no gradient."""
    a, b = matrix(a), matrix(b)
    if not b.ndim:
        raise ValueError("solve_triangular: b has no dimensions")
    turned = {0: "N", 1: "T", 2: "C"}.get(trans, trans)
    if turned not in ("N", "T", "C"):
        raise ValueError(f"trans={trans!r} is none of 0, 1, 2, 'N', 'T', 'C'")
    if turned == "C" and a.dtype.kind == "c":
        a = np.conjugate(a)
    column = np.reshape(b, (*b.shape, 1)) if b.ndim == 1 else b
    if a.shape[-1] != a.shape[-2] or a.shape[-1] != column.shape[column.ndim - 2]:
        raise ValueError(f"solve_triangular: shapes of a {a.shape} and b {b.shape} are incompatible")
    y = triangular(a, column, bool(lower), turned != "N", bool(unit_diagonal))
    return np.reshape(y, b.shape) if b.ndim == 1 else y


def _structured(a: Any, assume_a: Any, lower: bool) -> Any:
    """Return the matrix that LAPACK sees when it is told of a structure."""
    if assume_a in (None, "gen", "general"):
        return a
    if assume_a in ("sym", "symmetric"):
        return from_triangle(a, lower, is_hermitian=False)
    if assume_a in ("her", "hermitian", "pos", "positive definite"):
        return from_triangle(a, lower)
    if assume_a == "upper triangular":
        return upper_part(a)
    if assume_a == "lower triangular":
        return lower_part(a)
    if assume_a == "diagonal":
        return np.where(np.eye(a.shape[-1], dtype=bool), a, 0)
    if assume_a in ("tridiagonal", "banded"):
        return upper_part(lower_part(a, 1), -1) if assume_a == "tridiagonal" else a
    raise ValueError(f"scipy.linalg.solve: {assume_a!r} is not a known structure of a matrix")


@replaces("scipy.linalg", "solve")
def solve(
    a: Any, b: Any, lower: bool = False, overwrite_a: bool = False, overwrite_b: bool = False, check_finite: bool = True,
    assume_a: Any = None, transposed: bool = False,
) -> Any:  # fmt: skip
    """Solve a system by NumPy's general solver; of a structured matrix only the entries count that SciPy reads."""
    a, b = matrix(a), matrix(b)
    a = _structured(a, assume_a, bool(lower))
    if transposed:
        a = swapped(a)
    return np.linalg.solve(a, b)


@replaces("scipy.linalg", "inv")
def inv(a: Any, overwrite_a: bool = False, check_finite: bool = True, *, assume_a: Any = None, lower: bool = False) -> Any:
    """Invert a matrix by NumPy's `inv`."""
    return np.linalg.inv(_structured(matrix(a), assume_a, bool(lower)))


@replaces("scipy.linalg", "cho_solve")
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """Solve from a Cholesky factor: two triangular systems."""
    c, lower = c_and_lower
    if lower:
        return solve_triangular(c, solve_triangular(c, b, lower=True), "C", lower=True)
    return solve_triangular(c, solve_triangular(c, b, "C"))


@replaces("scipy.linalg", "lu_solve")
def lu_solve(lu_and_piv: Any, b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """Solve from a triangular factorisation, its rows interchanged as `piv` says."""
    lu, piv = lu_and_piv
    order = permutation(np.asarray(constant(piv, "the pivots of lu_solve")))
    b = matrix(b)
    if trans == 0:
        return solve_triangular(lu, solve_triangular(lu, b[order], lower=True, unit_diagonal=True))
    inner = solve_triangular(lu, solve_triangular(lu, b, trans), trans, lower=True, unit_diagonal=True)
    return inner[np.argsort(order)]


def permutation(pivots: np.ndarray) -> np.ndarray:
    """Return which row stands where after the interchanges that LAPACK lists."""
    order = np.arange(pivots.size)
    for row, other in enumerate(pivots.tolist()):
        order[[row, other]] = order[[other, row]]
    return order


def _shifted(row: Any, k: int) -> Any:
    """Return the vectors of the first axis with ``y[j] = row[j + k]``, and 0 where there is none."""
    n = row.shape[0]
    if k == 0:
        return row
    gap = np.zeros((min(abs(k), n), *row.shape[1:]), row.dtype)
    return np.concatenate([row[k:], gap]) if k > 0 else np.concatenate([gap, row[: max(n + k, 0)]])


def turned_bands(ab: Any, below: int, above: int) -> Any:
    """Return the bands of the transposed matrix."""
    return np.stack([_shifted(ab[above - k], k) for k in range(-below, above + 1)])


def _banded_rule(g: Any, ab: Any, y: Any, below: int, above: int) -> Any:
    back = _banded(turned_bands(ab, below, above), g, above, below)
    # Band `above + k` holds the entries (j + k, j).
    return np.stack([-np.sum(_shifted(back, k) * y, axis=1) for k in range(-above, below + 1)])


def _banded_product(ab: Any, y: Any, below: int, above: int) -> Any:
    total: Any = 0
    for k in range(-above, below + 1):
        total = total + _shifted(np.reshape(ab[above + k], (-1, 1)) * y, -k)
    return total


def _run_banded(ab: Any, b: Any, below: int, above: int) -> np.ndarray:
    return np.ascontiguousarray(scipy.linalg.solve_banded((below, above), ab, b, check_finite=False))


BANDED = define(
    "solve_banded",
    _run_banded,
    inputs="ab b",
    parameters=("below", "above"),
    rules=(
        _banded_rule,
        lambda g, ab, below, above: _banded(turned_bands(ab, below, above), g, above, below),
    ),
    jvp=(
        lambda t, ab, y, below, above: -_banded(ab, _banded_product(t, y, below, above), below, above),
        lambda t, ab, below, above: _banded(ab, t, below, above),
    ),
    infer=lambda ab, b, **_: phantom.contiguous(b.shape, np.result_type(ab, b)),
    flops=lambda out, ab, b, **_: 4.0 * ab.shape[0] * out.size,
    workspace=lambda out, ab, b, below, above: 2 * ab.nbytes + 2 * out.nbytes,
)


def _banded(ab: Any, b: Any, below: int, above: int) -> Any:
    return apply(BANDED, (ab, b), {"below": below, "above": above})


@replaces("scipy.linalg", "solve_banded")
def solve_banded(
    l_and_u: Any, ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    """Solve a banded system; entries of `ab` outside of the matrix have no gradient."""
    below, above = (int(k) for k in l_and_u)
    ab, b = matrix(ab), matrix(b)
    if ab.ndim != 2 or ab.shape[0] != below + above + 1 or ab.shape[1] != b.shape[0]:
        raise ValueError(f"solve_banded: ab {ab.shape} and b {b.shape} do not fit {below} bands below and {above} above")
    return np.reshape(_banded(ab, np.reshape(b, (b.shape[0], -1)), below, above), b.shape)


@replaces("scipy.linalg", "solveh_banded")
def solveh_banded(
    ab: Any, b: Any, overwrite_ab: bool = False, overwrite_b: bool = False, lower: bool = False, check_finite: bool = True
) -> Any:
    """Solve a Hermitian banded system, by the solver for any banded matrix."""
    ab = matrix(ab)
    count = ab.shape[0] - 1
    given = [ab[k] for k in range(count + 1)]
    if lower:
        bands = [np.conjugate(_shifted(given[k], -k)) for k in range(count, 0, -1)] + given
    else:
        bands = given + [np.conjugate(_shifted(given[count - k], k)) for k in range(1, count + 1)]
    return solve_banded((count, count), np.stack(bands), b)


@replaces("scipy.linalg", "lstsq")
def lstsq(
    a: Any, b: Any, cond: Any = None, overwrite_a: bool = False, overwrite_b: bool = False, check_finite: bool = True,
    lapack_driver: Any = None,
) -> Any:  # fmt: skip
    """Solve a least-squares problem by NumPy's `lstsq`."""
    refuse("scipy.linalg.lstsq", lapack_driver=lapack_driver)
    return np.linalg.lstsq(matrix(a), matrix(b), rcond=cond)
