"""Why a function of NumPy has no derivative, or is composed without a handler: what the registries of rules cannot tell."""

from __future__ import annotations

import numpy as np

from ..ops.ufunc_forms import NOT_APPLICABLE as _UFUNCS

RULE, COMPOSED, CONSTANT = "rule", "composed", "piecewise constant"
NOT_DIFFERENTIABLE, NOT_APPLICABLE, UNKNOWN = "not differentiable", "not applicable", "unknown"

# Ops that lay out what others have made: no rule of the functions that end with them.
PLUMBING = {"getitem", "gather"}

UFUNCS = {name: (NOT_APPLICABLE, reason) for name, reason in _UFUNCS.items()}
UFUNCS["nextafter"] = (NOT_DIFFERENTIABLE, _UFUNCS["nextafter"])


def _all(kind: str, reason: str, *names: str) -> dict[str, tuple[str, str]]:
    return {f"numpy.{name}": (kind, reason) for group in names for name in group.split()}


_SOURCE = "NumPy's own source runs"
FUNCTIONS: dict[str, tuple[str, str]] = (
    _all(CONSTANT, "indices", "argmax argmin nanargmax nanargmin argsort argpartition argwhere nonzero flatnonzero lexsort",
         "searchsorted digitize")
    | _all(CONSTANT, "truths", "all any allclose array_equal array_equiv isclose iscomplex isreal isneginf isposinf isin")
    | _all(CONSTANT, "whole numbers, or steps", "around round fix count_nonzero linalg.matrix_rank")
    | _all(CONSTANT, "it looks at shapes, dtypes and memory alone",
           "shape ndim size result_type can_cast common_type min_scalar_type iscomplexobj isrealobj may_share_memory",
           "shares_memory diag_indices_from tril_indices_from triu_indices_from einsum_path")
    | _all(CONSTANT, "constants, into which traced values may be written",
           "zeros ones empty eye identity zeros_like ones_like empty_like")
    | _all(COMPOSED, _SOURCE, "linalg.trace unique_all unique_counts unique_inverse unique_values")
    | _all(NOT_DIFFERENTIABLE, "the numbers would leave the program for a file, and their gradient with them",
           "save savez savez_compressed savetxt")
    | _all(NOT_APPLICABLE, "text for people: no gradient is lost by printing", "array2string array_repr array_str")
    | _all(NOT_APPLICABLE, "it reads numbers from files, text and buffers",
           "frombuffer fromfile fromstring genfromtxt loadtxt")
    | _all(NOT_APPLICABLE, "NumPy does not hand over what it makes its numbers of, only like=",
           "arange fromfunction fromiter tri")
    | _all(NOT_APPLICABLE, "it works on whole numbers", "packbits unpackbits ravel_multi_index unravel_index")
    | _all(NOT_APPLICABLE, "it works on dates", "busday_count busday_offset is_busday datetime_as_string")
)  # fmt: skip

MODULES = {
    "numpy.lib.recfunctions.": (NOT_APPLICABLE, "it works on records with named fields"),
    "numpy.strings.": (NOT_APPLICABLE, "it works on text"),
    "numpy.char.": (NOT_APPLICABLE, "it works on text"),
}

_LOST = "the number would leave the program, and its gradient with it"
_MEMORY = "the memory would leave the program: a traced array hands none out while it has a gradient"
_PICKLE = "a traced array lives as long as its transform: pickle the result"
_LAYOUT = "it looks at the shape, the dtype and the memory alone"
_CLASS = "it makes subclasses of ndarray, which a traced array is not"


def _attributes(kind: str, reason: str, names: str) -> dict[str, tuple[str, str]]:
    return dict.fromkeys(names.split(), (kind, reason))


ATTRIBUTES: dict[str, tuple[str, str]] = (
    _attributes(CONSTANT, _LAYOUT,
                "base device dtype flags itemsize nbytes ndim shape size strides __len__ __array_namespace__")
    | _attributes(CONSTANT, "truths", "__bool__ __contains__")
    | _attributes(RULE, "", "__getitem__ __setitem__")
    | _attributes(NOT_APPLICABLE, "of whole numbers, which it chooses by: np.choose", "choose")
    | _attributes(COMPOSED, "", "T mT fill flat flatten view to_device __iter__ __copy__ __deepcopy__ __divmod__ __rdivmod__")
    | _attributes(NOT_DIFFERENTIABLE, _LOST,
                  "item tolist tobytes tofile dump dumps __float__ __int__ __complex__ __index__ __array__")
    | _attributes(NOT_DIFFERENTIABLE, _MEMORY,
                  "data ctypes __array_interface__ __array_struct__ __dlpack__ __dlpack_device__")
    | _attributes(NOT_DIFFERENTIABLE, "it takes the bytes of numbers apart", "byteswap getfield setfield")
    | _attributes(NOT_DIFFERENTIABLE, "a traced array keeps its size: np.resize returns another", "resize")
    | _attributes(NOT_APPLICABLE, "a traced array is always writable", "setflags")
    | _attributes(NOT_APPLICABLE, _PICKLE, "__reduce__ __reduce_ex__ __setstate__")
    | _attributes(NOT_APPLICABLE, "text for people", "__repr__ __str__ __format__")
    | _attributes(NOT_APPLICABLE, _CLASS, "__array_finalize__ __array_wrap__ __class_getitem__")
    | _attributes(NOT_APPLICABLE, "the protocols that hand calls over",
                  "__array_function__ __array_ufunc__ __array_priority__")
    | _attributes(NOT_APPLICABLE, "NumPy has it raise an error", "__delitem__")
    | _attributes(NOT_APPLICABLE, "by identity", "__hash__ __sizeof__")
)  # fmt: skip

_BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
}  # fmt: skip
OPERATORS: dict[str, np.ufunc] = {f"__{side}{name}__": ufunc for name, ufunc in _BINARY.items() for side in ("", "r", "i")}
OPERATORS |= {
    "__lt__": np.less, "__le__": np.less_equal, "__gt__": np.greater, "__ge__": np.greater_equal, "__eq__": np.equal,
    "__ne__": np.not_equal, "__neg__": np.negative, "__pos__": np.positive, "__abs__": np.absolute, "__invert__": np.invert,
}  # fmt: skip

_LARGER = {"dtype=complex128": "complex numbers, which NumPy orders by their real parts: compare parts or absolute values"}

# What raises although NumPy takes it: by name, the form and why.
REFUSED: dict[str, dict[str, str]] = {
    "numpy.linalg.qr": {"mode='raw'": "LAPACK's reflections: use 'reduced', 'complete' or 'r'"},
    "numpy.maximum": _LARGER,
    "numpy.minimum": _LARGER,
    "numpy.fmax": _LARGER,
    "numpy.fmin": _LARGER,
    "numpy._core.umath.clip": _LARGER,
}
