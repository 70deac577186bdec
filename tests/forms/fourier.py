"""Forms of numpy.fft: real and complex input, odd and even lengths, padding and cropping, axes and norms."""

import numpy as np

from . import Form, cplx, real

ONE_AXIS = [
    Form(f"numpy.fft.{name}", f"{kind} of {n} points{text}", lambda x, f=f, k=k: f(x, **k), (make(n),))
    for name, f, kinds in (
        ("fft", np.fft.fft, "rc"),
        ("ifft", np.fft.ifft, "rc"),
        ("rfft", np.fft.rfft, "r"),
        ("irfft", np.fft.irfft, "rc"),
        ("hfft", np.fft.hfft, "rc"),
        ("ihfft", np.fft.ihfft, "r"),
    )
    for kind, make in (("real", real), ("complex", cplx))
    if kind[0] in kinds
    for n, text, k in (
        (6, "", {}),
        (5, "", {}),
        (2, "", {}),
        (5, ", padded to an even length", {"n": 8}),
        (5, ", padded to an odd length", {"n": 9}),
        (7, ", cropped to an even length", {"n": 4}),
        (7, ", cropped to an odd length", {"n": 3}),
        (4, ", n=1", {"n": 1}),
        (4, ", n=2", {"n": 2}),
        (5, ", norm ortho", {"norm": "ortho"}),
        (6, ", norm forward", {"norm": "forward"}),
        (6, ", norm backward", {"n": 5, "norm": "backward"}),
    )
]

SEVERAL_AXES = [
    Form(f"numpy.fft.{name}", f"{kind}, {text}", lambda x, f=f, k=k: f(x, **k), (make(*shape),))
    for name, f, kinds in (
        ("fft2", np.fft.fft2, "rc"),
        ("ifft2", np.fft.ifft2, "rc"),
        ("rfft2", np.fft.rfft2, "r"),
        ("irfft2", np.fft.irfft2, "rc"),
        ("fftn", np.fft.fftn, "rc"),
        ("ifftn", np.fft.ifftn, "rc"),
        ("rfftn", np.fft.rfftn, "r"),
        ("irfftn", np.fft.irfftn, "rc"),
    )
    for kind, make in (("real", real), ("complex", cplx))
    if kind[0] in kinds
    for shape, text, k in (
        ((3, 4), "2-d", {}),
        ((2, 3, 2), "3-d", {}),
        ((3, 2, 2), "axes", {"axes": (0, 1)}),
        ((2, 3, 2), "axes out of order", {"axes": (-1, 0)}),
        ((3, 4), "s longer and shorter", {"s": (2, 6), "axes": (0, 1)}),
        ((3, 4), "s of -1", {"s": (-1, 3), "axes": (1, 0)}),
        ((3, 3), "norm ortho", {"norm": "ortho"}),
        ((3, 3), "norm forward", {"norm": "forward"}),
    )
    if name[-1] == "n" or "s" in k or not k  # the others differ from these by their defaults only
]

FORMS = [
    *ONE_AXIS,
    *SEVERAL_AXES,
    Form("numpy.fft.fft", "first axis of 3-d", lambda x: np.fft.fft(x, axis=0), (cplx(3, 2, 2),)),
    Form("numpy.fft.fft", "negative axis", lambda x: np.fft.fft(x, 5, -2), (real(3, 2),)),
    Form("numpy.fft.fft", "not contiguous", lambda x: np.fft.fft(x.T, axis=0), (cplx(3, 4),)),
    Form("numpy.fft.fft", "an axis beside an empty one", np.fft.fft, (cplx(0, 4),)),
    Form("numpy.fft.fft", "after a product", lambda x: np.abs(np.fft.fft(x * x)) ** 2, (real(5),)),
    Form("numpy.fft.rfft", "middle axis", lambda x: np.fft.rfft(x, axis=1), (real(2, 5, 2),)),
    Form("numpy.fft.rfft", "not contiguous", lambda x: np.fft.rfft(x.T[::2], axis=0), (real(3, 6),)),
    Form("numpy.fft.irfft", "middle axis", lambda x: np.fft.irfft(x, 5, axis=1), (cplx(2, 3, 2),)),
    Form("numpy.fft.irfft", "undoes rfft", lambda x: np.fft.irfft(np.fft.rfft(x), 5), (real(5),), closed=np.ones_like),
    Form("numpy.fft.fft", "out", lambda x: np.fft.fft(x, out=np.zeros_like(x)) * 2, (cplx(4),)),
    Form("numpy.fft.fftn", "one axis", lambda x: np.fft.fftn(x, axes=(0,)), (cplx(3, 2),)),
    Form("numpy.fft.fftshift", "odd", lambda x: np.fft.fftshift(x) ** 2, (real(5),)),
    Form("numpy.fft.fftshift", "all axes", lambda x: np.fft.fftshift(x) ** 2, (cplx(3, 4),)),
    Form("numpy.fft.fftshift", "an axis", lambda x: np.fft.fftshift(x, -1) ** 2, (real(3, 4),)),
    Form("numpy.fft.fftshift", "axes", lambda x: np.fft.fftshift(x, (0, 2)) ** 2, (real(3, 2, 3),)),
    Form("numpy.fft.ifftshift", "odd", lambda x: np.fft.ifftshift(x) ** 2, (real(5),)),
    Form("numpy.fft.ifftshift", "an axis", lambda x: np.fft.ifftshift(x, 0) ** 2, (cplx(3, 4),)),
    Form("numpy.fft.ifftshift", "undoes fftshift", lambda x: np.fft.ifftshift(np.fft.fftshift(x)), (real(3, 4),)),
    Form("numpy.fft.fftfreq", "traced spacing", lambda d: np.fft.fftfreq(5, d), (real(),), float32=False),
    Form("numpy.fft.rfftfreq", "traced spacing", lambda d: np.fft.rfftfreq(5, d), (real(),), float32=False),
]
