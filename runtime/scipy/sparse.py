"""scipy.sparse with derivatives: products with constant sparse matrices, and solutions of constant sparse systems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from .. import phantom
from ..array import Array, apply
from ..op import define
from .replace import PATCHES, refuse, replaces

__all__ = ["matmul", "spsolve"]


@dataclass(frozen=True, eq=False, slots=True)
class Constant:
    """A sparse matrix as a parameter of a call, or its transpose; the same where the matrix is the same object."""

    matrix: Any
    turned: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self.matrix is other.matrix and self.turned == other.turned

    def __hash__(self) -> int:
        return hash((id(self.matrix), self.turned))

    @property
    def value(self) -> Any:
        """The matrix to compute with."""
        return self.matrix.T if self.turned else self.matrix

    @property
    def transposed(self) -> Constant:
        """The transposed matrix."""
        return Constant(self.matrix, not self.turned)

    @property
    def shape(self) -> tuple[int, int]:
        """The extents of `value`."""
        return self.matrix.shape[::-1] if self.turned else self.matrix.shape


PRODUCT = define(
    "sparse_matmul",
    lambda x, matrix: np.ascontiguousarray(matrix.value @ x),
    inputs="x",
    parameters=("matrix",),
    rules=lambda g, matrix: apply(PRODUCT, (g,), {"matrix": matrix.transposed}),
    jvp="linear",
    infer=lambda x, matrix: phantom.contiguous((matrix.shape[0], *x.shape[1:]), np.result_type(x.dtype, matrix.matrix.dtype)),
    flops=lambda out, x, matrix: 2.0 * matrix.matrix.nnz * (x.size / max(x.shape[0], 1)),
    workspace=lambda out, x, matrix: out.nbytes,
)


def _run_solve(b: Any, matrix: Constant) -> np.ndarray:
    solved = scipy.sparse.linalg.spsolve(scipy.sparse.csc_array(matrix.value), b)
    return np.ascontiguousarray(solved).reshape(b.shape)


SOLVE = define(
    "sparse_solve",
    _run_solve,
    inputs="b",
    parameters=("matrix",),
    rules=lambda g, matrix: apply(SOLVE, (g,), {"matrix": matrix.transposed}),
    jvp="linear",
    infer=lambda b, matrix: phantom.contiguous(b.shape, np.result_type(b.dtype, matrix.matrix.dtype)),
    flops=lambda out, b, matrix: 20.0 * matrix.matrix.nnz * (b.size / max(b.shape[0], 1)),
    workspace=lambda out, b, matrix: 20 * matrix.matrix.nnz * b.itemsize,
)


def matmul(a: Any, b: Any) -> Any:
    """Return ``a @ b`` where one is a constant sparse matrix and the other an array, plain or traced.

    Plain ``a @ x`` works within `retape.patched()` only: SciPy would convert a traced array.

    >>> import numpy as np, scipy.sparse, retape as rt
    >>> from retape.scipy import sparse
    >>> a = scipy.sparse.csr_array([[0.0, 2.0], [3.0, 0.0]])
    >>> rt.grad(lambda x: np.sum(sparse.matmul(a, x)))(np.ones(2)).tolist()
    [3.0, 2.0]
    """
    if type(b) is Array and scipy.sparse.issparse(a):
        if b.ndim not in (1, 2) or b.shape[0] != a.shape[-1]:
            raise ValueError(f"matmul: dimension mismatch of a sparse {a.shape} with {b.shape}")
        return apply(PRODUCT, (b,), {"matrix": Constant(a)})
    if type(a) is Array and scipy.sparse.issparse(b):
        if a.ndim not in (1, 2) or a.shape[-1] != b.shape[0]:
            raise ValueError(f"matmul: dimension mismatch of {a.shape} with a sparse {b.shape}")
        return np.transpose(apply(PRODUCT, (np.transpose(a),), {"matrix": Constant(b, True)}))
    return a @ b  # pyright: ignore[reportOperatorIssue]


@replaces("scipy.sparse.linalg", "spsolve")
def spsolve(A: Any, b: Any, permc_spec: str | None = None, use_umfpack: bool = True) -> Any:  # noqa: N803
    """Solve a constant sparse system for a traced, dense right-hand side."""
    refuse("scipy.sparse.linalg.spsolve", permc_spec=permc_spec)
    dtype = np.result_type(b.dtype, A.dtype, np.float32)
    if b.ndim not in (1, 2) or A.shape[0] != A.shape[1] or b.shape[0] != A.shape[0]:
        raise ValueError(f"spsolve: the shapes {A.shape} of the matrix and {b.shape} of the right-hand side do not fit")
    y = apply(SOLVE, (b.astype(dtype),), {"matrix": Constant(A)})
    return np.reshape(y, (-1,)) if b.shape[1:] == (1,) else y


def _dispatching(original: Any, *, reflected: bool) -> Any:
    """Return a method of SciPy's matrices that hands products with traced arrays to `matmul`."""

    def method(self: Any, other: Any, *args: Any) -> Any:
        if type(other) is Array and other.ndim:
            return matmul(other, self) if reflected else matmul(self, other)
        return original(self, other, *args)

    return method


_BASE = scipy.sparse._base._spbase  # pyright: ignore[reportAttributeAccessIssue]
PATCHES["scipy.sparse._base"] = {
    "_spbase._matmul_dispatch": _dispatching(_BASE._matmul_dispatch, reflected=False),
    "_spbase._rmatmul_dispatch": _dispatching(_BASE._rmatmul_dispatch, reflected=True),
}


def __getattr__(name: str) -> Any:
    """Return what SciPy has of that name."""
    return getattr(scipy.sparse, name)
