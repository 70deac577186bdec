"""scipy.integrate and scipy.sparse: initial value problems, sums over samples, products and systems of sparse matrices."""

import importlib.util

import numpy as np

from . import Form, cplx, positive, real

FORMS = []

if importlib.util.find_spec("scipy"):
    import scipy.sparse

    from retape.runtime.scipy import integrate, sparse

    TIMES = np.array([0.0, 0.3, 0.7])
    EXACT = {"rtol": 1e-9, "atol": 1e-9}

    def pendulum(y, t, friction, pull):
        return np.stack([y[1], -friction * y[1] - pull[0] * np.sin(y[0]) + pull[1] * np.cos(t)])

    def swing(y0, t, friction, pull):
        return integrate.odeint(pendulum, y0, t, args=(friction, pull), **EXACT)

    def add(name, text, f, *args, **keywords):
        FORMS.append(Form(f"scipy.{name}", text, f, args, **keywords))

    start, friction, pull = real(2), np.array(0.3), positive(2)
    add("integrate.odeint", "every argument", swing, start, TIMES, friction, pull, tolerance=1e-4, float32=False)

    def decay(y0):
        return integrate.odeint(lambda y, t: -y * t, y0, TIMES, rtol=1e-12, atol=1e-12)

    add("integrate.odeint", "no arguments", decay, real(2), tolerance=1e-5, float32=False)
    for axis in (0, -1):
        add("integrate.trapezoid", f"axis {axis}", lambda y, axis=axis: integrate.trapezoid(y, axis=axis), real(3, 4))

        def running(y, x, axis=axis):
            return integrate.cumulative_trapezoid(y, x, axis=axis)

        add("integrate.cumulative_trapezoid", f"axis {axis}", running, real(4, 4), np.cumsum(positive(4)))
    add("integrate.trapezoid", "positions", lambda y, x: integrate.trapezoid(y, x), real(4), np.cumsum(positive(4)))
    add("integrate.cumulative_trapezoid", "initial", lambda y: integrate.cumulative_trapezoid(y, dx=0.5, initial=0), real(4))

    DENSE = np.where(real(4, 3) > 0, real(4, 3, seed=1), 0).astype(np.float32).astype(np.float64)
    SQUARE = DENSE @ DENSE.T + 2 * np.eye(4)
    for kind in ("csr_array", "csc_array", "coo_array", "csr_matrix", "dia_array", "bsr_array"):
        single = getattr(scipy.sparse, kind)(DENSE.astype(np.float32))
        add("sparse.matmul", kind, lambda x, single=single: sparse.matmul(single, x), real(3))
        add("sparse.matmul", f"{kind} two columns", lambda x, single=single: sparse.matmul(single, x), real(3, 2))
        add("sparse.matmul", f"{kind} from the right", lambda x, single=single: sparse.matmul(x, single), real(2, 4))
        square = getattr(scipy.sparse, kind)(SQUARE)
        if kind.startswith("cs"):
            add("sparse.spsolve", kind, lambda b, square=square: sparse.spsolve(square, b), real(4), float32=False)
            add(
                "sparse.spsolve", f"{kind} two", lambda b, square=square: sparse.spsolve(square, b), real(4, 2), float32=False
            )
    COMPLEX = scipy.sparse.csr_array(DENSE * (1 + 0.5j))
    add("sparse.matmul", "complex", lambda x: sparse.matmul(COMPLEX, x), cplx(3), float32=False)
