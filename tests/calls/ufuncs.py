"""Plain calls of every ufunc and of its methods: arrays that it is defined for, and what each keyword is tried with."""

import numpy as np
from forms import positive, real

from . import OUT

A, B = positive(3, 4) / 2.1, positive(3, 4, seed=1)
K = np.arange(12).reshape(3, 4) % 5 + 1
MASK = real(3, 4) > -0.3

OPERANDS = {
    "arccosh": (A + 1,), "isnat": None, "ldexp": (A, K), "clip": (A, np.float64(0.4), np.float64(0.8)),
    "invert": (K,), "bitwise_count": (K,), "matmul": (A, B.T.copy()), "vecdot": (A, B), "matvec": (A, B[0]),
    "vecmat": (B[:, 0], A), "heaviside": (A, B), "spacing": (A,),
} | dict.fromkeys(
    ("gcd", "lcm", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"), (K, K[::-1] % 3)
)  # fmt: skip


def operands(ufunc):
    """Return plain arrays that a ufunc can be called with."""
    return OPERANDS.get(ufunc.__name__, (A, B)[: ufunc.nin])


def keywords(ufunc):
    """Yield the keyword forms of calling a ufunc."""
    yield "", {}
    yield "out=", {"out": OUT}
    if ufunc.signature is not None:
        yield from _of_products(ufunc)
        return
    yield "where=", {"where": MASK, "out": OUT}
    for order in "CFAK":
        yield f"order={order!r}", {"order": order}
    yield "subok=", {"subok": False}
    yield "casting=", {"casting": "unsafe"}
    for dtype in _dtypes(ufunc):
        yield f"dtype={dtype}", {"dtype": dtype}
    letters = "".join(np.result_type(a).char for a in operands(ufunc))
    for types in ufunc.types:
        if types.startswith(f"{letters}->"):
            yield "signature=", {"signature": types}


def _dtypes(ufunc):
    """Yield the dtypes that NumPy itself takes for these operands."""
    for dtype in (np.float64, np.complex128, np.bool_, np.int64):
        try:
            with np.errstate(all="ignore"):
                ufunc(*operands(ufunc), dtype=dtype)
        except TypeError:
            continue
        yield np.dtype(dtype)


def _of_products(ufunc):
    yield "dtype=", {"dtype": np.complex128}
    yield "casting=", {"casting": "unsafe"}
    yield "subok=", {"subok": True}
    yield "order=", {"order": "F"}
    if ufunc.__name__ == "vecdot":
        yield "axis=", {"axis": 0}
        yield "keepdims=", {"keepdims": True}
    yield "axes=", {"axes": _AXES[ufunc.__name__]}


_AXES = {
    "matmul": [(0, 1), (0, 1), (1, 0)],
    "vecdot": [0, 0, ()],
    "matvec": [(0, 1), 0, 0],
    "vecmat": [0, (0, 1), 0],
}


def methods(ufunc):
    """Yield the calls of a ufunc's methods: the name, the arguments, the keywords."""
    if ufunc.signature is not None:
        return
    x = operands(ufunc)[0]
    if ufunc in _OF_TRUTHS:
        x = K > 2
    if ufunc.nin == 2:
        for method, args in (("reduce", (x,)), ("accumulate", (x,)), ("reduceat", (x, [0, 2, 1]))):
            for more in ({}, {"axis": 0}, {"axis": -1}, {"out": OUT}, *({"dtype": t} for t in _dtypes(ufunc))):
                more = {"axis": 1, **more} if method == "reduceat" and "axis" not in more else more
                yield method, args, more
        start = x.dtype.type(2)
        yield "reduce", (x,), {"keepdims": True}
        yield "reduce", (x,), {"initial": start}
        yield "reduce", (x,), {"initial": start, "where": MASK, "axis": 1}
        if ufunc in _REORDERABLE:
            yield "reduce", (x,), {"axis": None}
            yield "reduce", (x,), {"axis": (0, 1), "keepdims": True, "initial": start}
        for more in ({}, {"out": OUT}, {"order": "F"}, *({"dtype": t} for t in _dtypes(ufunc))):
            yield "outer", (x, operands(ufunc)[1][0]), more
    if ufunc.nin > 2:
        return
    # One place twice where that stays in the domain.
    places = ([0, 2, 0, 0], [1, 1, 1, 3]) if ufunc.nin == 2 else ([0, 2, 1, 0], [1, 1, 1, 3])
    yield "at", (x, places, *(b[0] for b in operands(ufunc)[1:])), {}
    yield "at", (x, (slice(None), 1), *(b[:, 0] for b in operands(ufunc)[1:])), {}


_REORDERABLE = {
    np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot, np.logical_and,
    np.logical_or, np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.gcd,
}  # fmt: skip
# NumPy folds comparisons of truths only.
_OF_TRUTHS = {np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal}
