"""Casts, copies and what cuts a gradient: an array's values unchanged, its dtype or its derivative another."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import phantom, trees
from ..array import Array, apply
from ..checksum import checksum
from ..errors import MissingRuleError
from ..op import define, implements
from ..python_numbers import as_python_number, is_python_number


def _infer_cast(x: Any, dtype: Any) -> np.ndarray:
    return phantom.elementwise([x], np.dtype(dtype)) if isinstance(x, np.ndarray) else phantom.contiguous((), dtype)


def _cast_into(out: np.ndarray, x: Any, dtype: Any = None) -> np.ndarray:
    np.copyto(out, x, casting="unsafe")
    return out


CAST = define(
    "astype",
    lambda x, dtype: np.asarray(x).astype(dtype),
    inputs="x",
    parameters=("dtype",),
    rules=lambda g: g,  # the sweep casts every cotangent to its primal's dtype
    infer=_infer_cast,
    run_into=_cast_into,
    jvp=lambda t, dtype: t.astype(dtype),
)
CAST_TO_CONSTANT = define(
    "astype_integer",
    lambda x, dtype: np.asarray(x).astype(dtype),
    inputs="x",
    parameters=("dtype",),
    infer=_infer_cast,
    run_into=_cast_into,
    zero_gradient=True,
)
COPY = define(
    "copy",
    lambda x: np.array(x, order="C"),
    inputs="x",
    rules=lambda g: g,
    infer=lambda x: phantom.contiguous(np.shape(x), getattr(x, "dtype", np.result_type(x))),
    run_into=_cast_into,
    jvp="linear",
)
STOP_GRADIENT = define("stop_gradient", lambda x: x, inputs="x", infer=lambda x: (x, True), is_view=True, zero_gradient=True)
READ = define(
    "read",
    lambda x: np.empty(0, bool),
    inputs="x",
    infer=lambda x: phantom.contiguous((0,), bool),
    zero_gradient=True,
    flops=lambda *_: 0.0,
)
CHECKSUM = define(
    "checksum",
    lambda x: np.uint32(checksum(np.asarray(x))),
    inputs="x",
    infer=lambda x: phantom.contiguous((), np.uint32),
    zero_gradient=True,
    flops=lambda out, x: 3.0 * np.size(x),
)


def cast(x: Any, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True) -> Any:
    """Return `x` in another dtype; a cast to integers or booleans is piecewise constant.

    Raises `TypeError` where `casting` forbids it, `MissingRuleError` for a dtype that is no number.
    """
    dtype = np.dtype(dtype)
    if dtype.kind not in "biufc":
        raise MissingRuleError(f"a traced array has no cast to {dtype}: call it on retape.stop_gradient(x).item() or print x")
    if not np.can_cast(x.dtype, dtype, casting):
        raise TypeError(f"cannot cast an array from {x.dtype} to {dtype} according to the rule {casting!r}")
    if not copy and x.dtype == dtype:
        return x
    return apply(CAST if dtype.kind in "fc" else CAST_TO_CONSTANT, (x,), {"dtype": dtype})


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    """Record a copy."""
    return apply(COPY, (a,))


@implements(np.astype)
def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Return `x` in another dtype, as its method does."""
    return cast(x, dtype, copy=copy)


def stop_gradient(x: Any) -> Any:
    """Return `x`, an array or a container of arrays, cut off from its derivatives: a constant to each of them.

    >>> import numpy as np, retape as rt
    >>> float(rt.grad(lambda x: x * rt.stop_gradient(x))(3.0))
    3.0
    """
    if type(x) is Array:
        y = apply(STOP_GRADIENT, (x,))
        return as_python_number(y) if is_python_number(x) else y
    return trees.map_leaves(lambda leaf: stop_gradient(leaf) if type(leaf) is Array else leaf, x)
