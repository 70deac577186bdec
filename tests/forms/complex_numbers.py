"""Forms on complex arrays: parts, conjugates, and functions that are not holomorphic."""

import numpy as np

from . import Form, cplx, real

FORMS = [
    Form("numpy.real", "of complex", lambda x: np.real(x) * x.real, (cplx(3),)),
    Form("numpy.imag", "of complex", lambda x: np.imag(x) * x.imag, (cplx(3),)),
    Form("numpy.conjugate", "of complex", lambda x: np.conj(x) * x, (cplx(3),)),
    Form("numpy.absolute", "of complex", lambda x: np.abs(x), (cplx(3),)),
    Form("numpy.ndarray.astype", "real to complex", lambda x: x.astype(np.complex128) * (1 + 2j), (real(3),), float32=False),
    Form("numpy.multiply", "real by complex", lambda a, b: a * b, (real(3), cplx(3))),
    Form("numpy.exp", "of complex", np.exp, (cplx(3),)),
]
