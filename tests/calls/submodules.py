"""One plain call of every overridable function of NumPy's submodules: Fourier transforms, linear algebra and others."""

import numpy as np
from forms import real

from . import Each, M, P, V, With, X, Z

_LENGTH = {"n": Each((3, 6))}
_LENGTHS = {"s": With(s=(2, 5), axes=(0, 1)), "axes": Each(((0, 1), (1, 0)))}
CALLS = {
    **{f"numpy.fft.{name}": ((Z,), _LENGTH) for name in ("fft", "ifft", "hfft", "irfft")},
    **{f"numpy.fft.{name}": ((X,), _LENGTH) for name in ("rfft", "ihfft")},
    **{f"numpy.fft.{name}": ((Z,), _LENGTHS) for name in ("fft2", "ifft2", "fftn", "ifftn", "irfft2", "irfftn")},
    **{f"numpy.fft.{name}": ((X,), _LENGTHS) for name in ("rfft2", "rfftn")},
    "numpy.fft.fftshift": ((X,), {"axes": 1}),
    "numpy.fft.ifftshift": ((X,), {"axes": 1}),
    **{f"numpy.lib.scimath.{name}": ((X,), {}) for name in ("arccos", "arcsin", "arctanh", "log", "log10", "log2", "sqrt")},
    "numpy.lib.scimath.logn": ((3.0, X), {}),
    "numpy.lib.scimath.power": ((X, 1.5), {}),
    "numpy.lib.stride_tricks.sliding_window_view": ((X, (2, 2)), {"axis": With(axis=1, window_shape=2), "writeable": False}),
    "numpy.linalg.cholesky": ((M @ M.T,), {"upper": True}),
    "numpy.linalg.cond": ((M,), {"p": Each((1, 2, -2, np.inf, "fro"))}),
    "numpy.linalg.cross": ((X[:, :3], P[:, :3]), {"axis": 0}),
    "numpy.linalg.det": ((M,), {}),
    "numpy.linalg.diagonal": ((M,), {}),
    "numpy.linalg.eig": ((np.diag([1.0, 2.0, 4.0]) + 0.1 * M,), {}),
    "numpy.linalg.eigh": ((M + M.T,), {"UPLO": "U"}),
    "numpy.linalg.eigvals": ((np.diag([1.0, 2.0, 4.0]) + 0.1 * M,), {}),
    "numpy.linalg.eigvalsh": ((M + M.T,), {"UPLO": "U"}),
    "numpy.linalg.inv": ((M,), {}),
    "numpy.linalg.lstsq": ((real(5, 3), real(5, seed=2)), {"rcond": 1e-10}),
    "numpy.linalg.matmul": ((X, P.T), {}),
    "numpy.linalg.matrix_norm": ((X,), {"ord": Each(("fro", "nuc", 1, 2, np.inf))}),
    "numpy.linalg.matrix_power": ((M, 3), {}),
    "numpy.linalg.matrix_rank": ((M,), {"tol": 1e-3}),
    "numpy.linalg.matrix_transpose": ((X,), {}),
    "numpy.linalg.multi_dot": (([X, P.T, X],), {}),
    "numpy.linalg.norm": ((X,), {"ord": Each(("fro", "nuc", 1, 2, np.inf))}),
    "numpy.linalg.outer": ((V, X[0]), {}),
    "numpy.linalg.pinv": ((X,), {"rcond": 1e-10, "hermitian": With(hermitian=False), "rtol": 1e-10}),
    "numpy.linalg.qr": ((M,), {"mode": Each(("reduced", "complete", "r", "raw"))}),
    "numpy.linalg.slogdet": ((M,), {}),
    "numpy.linalg.solve": ((M, V[:3]), {}),
    "numpy.linalg.svd": ((M,), {"full_matrices": False, "compute_uv": False}),
    "numpy.linalg.svdvals": ((M,), {}),
    "numpy.linalg.tensordot": ((X, P), {"axes": (0, 0)}),
    "numpy.linalg.tensorinv": ((real(2, 3, 3, 2),), {"ind": With(a=real(6, 2, 3), ind=1)}),
    "numpy.linalg.tensorsolve": ((M, V[:3]), {"axes": (0,)}),
    "numpy.linalg.trace": ((M,), {}),
    "numpy.linalg.vecdot": ((X, P), {"axis": 0}),
    "numpy.linalg.vector_norm": ((X,), {"ord": Each((1, 2, 3, np.inf))}),
    "numpy.polynomial.polynomial.polygrid2d": ((V, V, X), {}),
    "numpy.polynomial.polynomial.polyval2d": ((V, V, X), {}),
}  # fmt: skip
