"""scipy.signal: convolution and correlation in every mode, filters with and without a state."""

import importlib.util

import numpy as np

from . import Form, cplx, real

FORMS = []

if importlib.util.find_spec("scipy"):
    from retape.runtime.scipy import signal

    A, B = real(7), real(4, seed=2)

    def add(name, text, f, *args, **keywords):
        FORMS.append(Form(f"scipy.signal.{name}", text, f, args, **keywords))

    for name in ("convolve", "correlate"):
        function = getattr(signal, name)
        for mode in ("full", "same", "valid"):
            for method in ("auto", "direct", "fft"):

                def called(a, b, function=function, mode=mode, method=method):
                    return function(a, b, mode=mode, method=method)

                add(name, f"{mode} {method}", called, A, B)
                add(name, f"{mode} {method} complex", called, cplx(6), cplx(3, seed=2))
                add(name, f"{mode} {method} two dimensions", called, real(4, 5), real(3, 2, seed=2))
            add(name, f"{mode} the second longer", lambda a, b, f=function, mode=mode: f(a, b, mode=mode), B, A)
        add(name, "three dimensions", lambda a, b, f=function: f(a, b), real(2, 3, 3), real(2, 2, 2, seed=2))
        add(name, "a constant kernel", lambda a, f=function: f(a, np.array([0.5, -1.0, 0.25], np.float32)), A)
    for name in ("fftconvolve", "oaconvolve"):
        function = getattr(signal, name)
        for mode in ("full", "same", "valid"):
            add(name, mode, lambda a, b, f=function, mode=mode: f(a, b, mode=mode), A, B)

            def along(a, b, function=function, mode=mode):
                return function(a, b, mode=mode, axes=-1)

            add(name, f"{mode} one axis", along, real(2, 6), real(2, 3, seed=2))
        add(name, "a complex axis", lambda a, b, f=function: f(a, b, axes=[0]), cplx(5, 2), cplx(3, 2, seed=2))
    for name in ("convolve2d", "correlate2d"):
        function = getattr(signal, name)
        for mode in ("full", "same", "valid"):
            for boundary in ("fill", "wrap", "symm"):

                def over(a, b, function=function, mode=mode, boundary=boundary):
                    return function(a, b, mode=mode, boundary=boundary)

                add(name, f"{mode} {boundary}", over, real(5, 6), real(3, 3, seed=2))
        add(name, "fillvalue", lambda a, b, f=function: f(a, b, fillvalue=1.5), real(5, 6), real(2, 3, seed=2))
    POLES = np.array([1.5, -0.4, 0.2])
    add("lfilter", "finite", lambda b, x: signal.lfilter(b, 1.0, x), B, A)
    add("lfilter", "recursive", lambda b, a, x: signal.lfilter(b, a, x), B, POLES, A)
    add("lfilter", "first axis", lambda b, a, x: signal.lfilter(b, a, x, axis=0), B[:2], POLES, real(5, 2))
    add("lfilter", "complex", lambda b, a, x: signal.lfilter(b, a, x), cplx(2), POLES + 0.1j, cplx(6))
    add("lfilter", "a state", lambda b, a, x, z: signal.lfilter(b, a, x, zi=z), B, POLES, A, real(3, seed=9))
    add(
        "lfilter",
        "states of rows",
        lambda x, z: signal.lfilter(B, POLES, x, zi=z),
        real(2, 5),
        real(2, 3, seed=9),
        float32=False,
    )
    SECTIONS = np.array([[0.5, 0.2, 0.1, -0.3, 0.2], [1.0, -0.4, 0.3, 0.1, 0.3]])

    def by_sections(s, x):
        return signal.sosfilt(np.concatenate([s[:, :3], np.ones((2, 1), np.float32), s[:, 3:]], axis=1), x)

    add("sosfilt", "two sections", by_sections, SECTIONS, A)
    add("hilbert", "odd", lambda x: signal.hilbert(x), A)
    add("hilbert", "even, first axis", lambda x: signal.hilbert(x, axis=0), real(6, 2))
    add("hilbert", "padded", lambda x: signal.hilbert(x, 10), A)
