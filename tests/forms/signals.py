"""Forms of sampled signals: convolution, interpolation, unwrapping."""

import numpy as np

from . import Form, cplx, real

XP = np.array([-1.0, -0.2, 0.4, 1.3, 2.0])
X = np.array([[-2.0, -0.9, 0.0], [0.7, 1.9, 2.5]])

CONVOLUTIONS = [
    Form(f"numpy.{name}", f"{mode}, {n} by {m}, {kinds}", lambda a, v, f=f, k=mode: f(a, v, k), (left(n), right(m, seed=1)))
    for name, f in (("convolve", np.convolve), ("correlate", np.correlate))
    for mode in ("full", "same", "valid")
    for kinds, left, right, sizes in (
        ("real", real, real, ((5, 3), (4, 6), (2, 5), (4, 4), (1, 4))),
        ("real by complex", real, cplx, ((3, 5), (6, 4))),
        ("complex", cplx, cplx, ((5, 2), (3, 6))),
    )
    for n, m in sizes
]

FORMS = [
    *CONVOLUTIONS,
    Form("numpy.convolve", "default mode, squared", lambda a, v: np.convolve(a, v) ** 2, (real(4), real(3))),
    Form("numpy.convolve", "a list, not contiguous", lambda a: np.convolve(a[::2], [1.0, 2.0, 3.0]), (real(6),)),
    Form("numpy.convolve", "scalars", lambda a: np.convolve(a, [1.0, 2.0]), (real(),), float32=False),
    Form("numpy.convolve", "with itself", lambda a: np.convolve(a, a, "same"), (real(4),)),
    Form("numpy.correlate", "default mode", lambda a, v: np.correlate(a, v), (real(4), cplx(3))),
    Form("numpy.correlate", "with itself", lambda a: np.correlate(a, a, "full"), (cplx(4),)),
    Form("numpy.interp", "places", lambda x: np.interp(x, XP, np.sin(XP)), (X,)),
    Form("numpy.interp", "all three", np.interp, (X, XP, real(5))),
    Form("numpy.interp", "all three, squared", lambda x, xp, fp: np.interp(x, xp, fp) ** 2, (X, XP, real(5))),
    Form("numpy.interp", "complex values", lambda x, xp, fp: np.interp(x, xp, fp) ** 2, (X, XP, cplx(5))),
    Form("numpy.interp", "one place", np.interp, (np.array(0.5), XP, real(5))),
    Form("numpy.interp", "no place", np.interp, (real(0), XP, real(5))),
    Form("numpy.interp", "one sample", lambda x, fp: np.interp(x, [0.0], fp) ** 2, (X, real(1))),
    Form("numpy.interp", "two samples", lambda xp, fp: np.interp(X, xp, fp) ** 2, (XP[:2], real(2))),
    Form("numpy.interp", "plain left and right", lambda x, xp, fp: np.interp(x, xp, fp, -1, 9.0), (X, XP, real(5))),
    Form("numpy.interp", "complex left", lambda fp: np.interp(X, XP, fp, 1j, 0), (cplx(5),)),
    Form(
        "numpy.interp",
        "traced left and right",
        lambda fp, left, right: np.interp(X, XP, fp, left, right) ** 2,
        (real(5), real(), real(seed=1)),
    ),
    Form("numpy.interp", "period", lambda x, xp, fp: np.interp(x, xp, fp, period=3.5), (3 * X + 0.1, XP[::-1] * 2, real(5))),
    Form("numpy.interp", "traced period", lambda p, fp: np.interp(3 * X, XP, fp, period=p), (np.array(-3.6), cplx(5))),
    Form("numpy.interp", "more samples than places", lambda fp: np.interp(0.3, XP, fp), (real(5),)),
    Form("numpy.unwrap", "one axis", lambda p: np.unwrap(p) ** 2, (np.array([0.0, 3.0, 6.0, 9.5, 1.0, -4.0]),)),
    Form("numpy.unwrap", "first axis", lambda p: np.unwrap(p, axis=0) ** 2, (4 * real(4, 3),)),
    Form("numpy.unwrap", "not contiguous", lambda p: np.unwrap(p.T) ** 2, (4 * real(4, 3),)),
    Form("numpy.unwrap", "discont and period", lambda p: np.unwrap(p, 1.1, period=1.5) ** 2, (4 * real(5),)),
]
