"""Plain calls of the methods, attributes and operators of ndarray, and programs that would lose a gradient."""

import inspect
import io

import numpy as np
from forms import real

from . import MASK, Absent, D, Each, M, P, V, With, X, Z

_EXTREMUM = {
    "keepdims": True,
    "initial": np.float64(1.5),
    "where": With(where=MASK, initial=np.float64(2.0)),
}
_STATISTIC = {"keepdims": True, "where": MASK}
_REDUCTION = _STATISTIC | {"initial": np.float64(1.5)}
_ORDER = {"order": Absent, "kind": Each(("stable", "quicksort")), "stable": True}
_PARTITION = {"order": Absent, "kind": "introselect"}

# By name: the arguments, the array first, and what each keyword is tried with.
METHODS = {
    "all": ((X,), {}),
    "any": ((X,), {}),
    "argmax": ((D,), {}),
    "argmin": ((D,), {}),
    "argpartition": ((D, 2), _PARTITION),
    "argsort": ((D,), _ORDER),
    "astype": ((X, np.complex128), {"casting": "safe", "copy": Each((True, False))}),
    "clip": ((X, np.float64(-0.5), np.float64(0.5)), {"min": Absent, "max": With(max=np.float64(0.3), min=None)}),
    "compress": ((X, [True, False, True]), {"axis": 0}),
    "conj": ((Z,), {}),
    "conjugate": ((Z,), {}),
    "copy": ((X,), {}),
    "cumprod": ((P,), {}),
    "cumsum": ((X,), {}),
    "diagonal": ((M,), {}),
    "dot": ((X, V), {}),
    "fill": ((X, np.float64(0.7)), {}),
    "flatten": ((X,), {}),
    "max": ((D,), _EXTREMUM),
    "mean": ((X,), _STATISTIC),
    "min": ((D,), _EXTREMUM),
    "nonzero": ((X,), {}),
    "partition": ((D, 2), _PARTITION),
    "prod": ((P,), _REDUCTION),
    "put": ((X, [1, 3], V[:2]), {"mode": Each(("wrap", "clip"))}),
    "ravel": ((X,), {}),
    "repeat": ((X, 2), {"axis": 1}),
    "reshape": ((X, (4, 3)), {"order": Each("CFA"), "copy": Each((True, None))}),
    "round": ((X,), {"decimals": 2}),
    "searchsorted": ((np.arange(4.0), X), {"side": "right", "sorter": np.arange(4)}),
    "sort": ((D,), _ORDER),
    "squeeze": ((real(1, 3, 1),), {}),
    "std": ((X,), _STATISTIC),
    "sum": ((X,), _REDUCTION),
    "swapaxes": ((X, 0, 1), {}),
    "take": ((X, [1, 0, 1]), {"mode": Each(("wrap", "clip", "raise"))}),
    "to_device": ((X, "cpu"), {"stream": Absent}),
    "trace": ((M,), {}),
    "transpose": ((X, 1, 0), {}),
    "var": ((X,), _STATISTIC),
    "view": ((Z,), {"dtype": np.float64, "type": np.ndarray}),
    "__bool__": ((X[0, 0],), {}),
    "__contains__": ((X, 0.5), {}),
    "__copy__": ((X,), {}),
    "__deepcopy__": ((X, {}), {}),
    "__getitem__": ((X, (slice(None), [2, 0])), {}),
    "__len__": ((X,), {}),
    "__setitem__": ((X, (slice(None), 1), V[:3]), {}),
    "__divmod__": ((X, P), {}),
    "__rdivmod__": ((P, X), {}),
}  # fmt: skip
WRITERS = {"fill", "partition", "put", "sort", "__setitem__"}
ATTRIBUTES = {
    "T": X, "mT": X, "base": X, "device": X, "dtype": X, "flat": X, "imag": Z, "itemsize": X, "nbytes": X, "ndim": X,
    "real": Z, "shape": X, "size": X, "strides": X, "flags": X, "__iter__": X,
}  # fmt: skip
_K = np.arange(12).reshape(3, 4) % 5 + 1


def method(name):
    """Return the method of an array as a function, or the reading of an attribute as one."""

    def call(x, *args, **keywords):
        return getattr(x, name)(*args, **keywords)

    call.__signature__ = inspect.signature(getattr(np.ndarray, name))
    return call


def attribute(name):
    """Return a function that reads an attribute of an array."""
    if name == "flat":
        return lambda x: x.flat[2:5]
    if name == "flags":  # who owns the memory is another matter
        return lambda x: x.flags.f_contiguous
    return list if name == "__iter__" else lambda x: getattr(x, name)


def operands(name):
    """Return plain arrays for an operator."""
    if any(word in name for word in ("and", "or_", "xor", "shift", "invert")):
        return (_K, _K[::-1] % 3)[: 1 if "invert" in name else 2]
    if "matmul" in name:
        return M, M.T + 1.0
    return (P, P[::-1] + 0.1)[: 1 if name in ("__neg__", "__pos__", "__abs__") else 2]


def operated(name):
    """Return an operator as a function; one that works in place is given an array of its own."""
    if name.startswith("__i") and name != "__invert__":
        return lambda a, b: getattr(a * 1, name)(b)
    return lambda *operands: getattr(operands[0], name)(*operands[1:])


# Programs on a traced array that would lose its gradient, by what loses it.
LOSING = {
    "numpy.nextafter": lambda x: np.nextafter(x, 2.0),
    "numpy.save": lambda x: np.save(io.BytesIO(), x),
    "numpy.savez": lambda x: np.savez(io.BytesIO(), x),
    "numpy.savez_compressed": lambda x: np.savez_compressed(io.BytesIO(), x),
    "numpy.savetxt": lambda x: np.savetxt(io.StringIO(), x),
    "numpy.ndarray.item": lambda x: x.item(0, 1),
    "numpy.ndarray.tolist": lambda x: x.tolist(),
    "numpy.ndarray.tobytes": lambda x: x.tobytes(order="F"),
    "numpy.ndarray.tofile": lambda x: x.tofile(io.BytesIO()),
    "numpy.ndarray.dump": lambda x: x.dump(io.BytesIO()),
    "numpy.ndarray.dumps": lambda x: x.dumps(),
    "numpy.ndarray.byteswap": lambda x: x.byteswap(inplace=True),
    "numpy.ndarray.getfield": lambda x: x.getfield(np.float32, offset=0),
    "numpy.ndarray.setfield": lambda x: x.setfield(1.0, np.float64, offset=0),
    "numpy.ndarray.resize": lambda x: x.resize((4, 3), refcheck=False),
    "numpy.ndarray.data": lambda x: x.data,
    "numpy.ndarray.ctypes": lambda x: x.ctypes,
    "numpy.ndarray.__array__": lambda x: x.__array__(),
    "numpy.ndarray.__float__": lambda x: float(x[0, 0]),
    "numpy.ndarray.__int__": lambda x: int(x[0, 0]),
    "numpy.ndarray.__complex__": lambda x: complex(x[0, 0]),
    "numpy.ndarray.__index__": lambda x: [1, 2, 3][x[0, 0]],
    "numpy.ndarray.__array_interface__": lambda x: x.__array_interface__,
    "numpy.ndarray.__array_struct__": lambda x: x.__array_struct__,
    "numpy.ndarray.__dlpack__": lambda x: np.from_dlpack(x),
    "numpy.ndarray.__dlpack_device__": lambda x: x.__dlpack_device__(),
}
