"""What every sweep does around a rule: fetch what it reads, fit its result to a primal, and transpose it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .array import Array, apply
from .errors import RuleError
from .lines import definition
from .op import OPS, OUTPUT, Rule


def fetch(rule: Rule, position: int, values: Any, y: Any, parameters: dict | None) -> list:
    """Return what a rule reads, in the order of its parameters.

    `values` and `y` are the call's inputs and output, or handles that know shape and dtype. A Python scalar is given as an
    array of the output's dtype, so that a rule computes the same whether it is run or recorded.
    """
    found = []
    for read in rule.reads:
        if type(read) is int:
            found.append(y if read == OUTPUT else as_array(values[read], y.dtype))
            continue
        kind, key = read
        if kind == "parameter":
            found.append(parameters[key])  # pyright: ignore[reportOptionalSubscript]
        elif kind == "shape":
            found.append(getattr(y if key == OUTPUT else values[key], "shape", ()))
        elif kind == "dtype":
            found.append(y.dtype if key == OUTPUT else getattr(values[key], "dtype", None) or y.dtype)
        elif kind == "rest":
            found.append(tuple(values[key:]))
        elif kind == "position":
            found.append(position)
        else:
            found.append(tuple(getattr(value, "shape", ()) for value in values))
    return found


def as_array(value: Any, dtype: Any) -> Any:
    """Return a Python scalar as an array of `dtype`, anything else as it is."""
    kind = type(value)
    if kind is np.ndarray:
        return value
    if kind is Array or isinstance(value, (np.ndarray, np.generic)):
        if type(value) is Array and value._level.keeper is not None and value._level.dtypes[value._slot] is None:
            return apply(OPS["astype"], (value,), {"dtype": dtype})
        return value
    return np.asarray(value, dtype)


def in_dtype(g: Any, dtype: Any) -> Any:
    """Return a cotangent or tangent in the dtype of its primal; that of a real primal is real."""
    if g.dtype.kind == "c" and dtype.kind != "c":
        g = np.real(g)
    return g if g.dtype == dtype else g.astype(dtype)


def spread(g: Any, shape: tuple[int, ...]) -> Any:
    """Return a read-only view of `g` broadcast to `shape`, several times faster than `np.broadcast_to` does."""
    if type(g) is Array or len(g.shape) not in (0, len(shape)) or not g.flags.c_contiguous:
        return np.broadcast_to(g, shape)
    if g.shape:
        strides = tuple([stride if n == m else 0 for n, m, stride in zip(g.shape, shape, g.strides, strict=True)])
        if any([n != m and n != 1 for n, m in zip(g.shape, shape, strict=True)]):
            return np.broadcast_to(g, shape)  # for its error
    else:
        strides = (0,) * len(shape)
    view = np.ndarray(shape, g.dtype, np.asarray(g), 0, strides)
    view.flags.writeable = False
    return view


def unbroadcast(g: Any, shape: tuple[int, ...]) -> Any:
    """Return `g` summed over the axes along which an input of `shape` was broadcast."""
    lead = len(g.shape) - len(shape)
    axes = tuple(range(lead))
    if lead < 0 or g.shape[lead:] != shape:
        if lead < 0 or any(n != m and m != 1 for n, m in zip(g.shape[lead:], shape, strict=True)):
            return spread(g, shape)
        axes += tuple(k + lead for k, n in enumerate(shape) if n == 1 and g.shape[k + lead] != 1)
    if axes:
        g = np.add.reduce(g, axes) if type(g) is np.ndarray else np.sum(g, axis=axes)
    return g if g.shape == shape else np.reshape(g, shape)


def fitted(share: Any, shape: tuple[int, ...], dtype: Any, rule: Rule) -> Any:
    """Return a rule's result in the shape and dtype of the input that it belongs to.

    Raises `RuleError` for the result of a user's rule that does not fit.
    """
    if rule.is_strict:
        share = _checked(share, shape, dtype, rule)
    if share.shape != shape:
        share = unbroadcast(share, shape)
    if share.dtype is not dtype and share.dtype != dtype:
        share = in_dtype(share, dtype)
    return share


def _checked(share: Any, shape: tuple[int, ...], dtype: Any, rule: Rule) -> Any:
    where = definition(rule.function)
    if isinstance(share, (float, complex)):
        share = np.asarray(share)
    if not isinstance(share, (Array, np.ndarray, np.generic)):
        raise RuleError(f"a rule{where} returned {type(share).__name__}, not a cotangent of shape {shape}")
    lead = len(share.shape) - len(shape)
    if lead < 0 or any(n != m and m != 1 for n, m in zip(share.shape[lead:], shape, strict=True)):
        raise RuleError(f"a rule{where} returned a cotangent of shape {share.shape} for an input of shape {shape}")
    if share.dtype.kind not in "fc" or share.dtype.kind == "c" and dtype.kind != "c":
        raise RuleError(f"a rule{where} returned a cotangent of dtype {share.dtype} for an input of dtype {dtype}")
    if not rule.fits_any_digits:
        require_digits(share.dtype, dtype, f"a rule{where} returned a cotangent of dtype {share.dtype} for an input")
    return share


def require_digits(dtype: Any, wanted: Any, what: str) -> None:
    """Raise `RuleError` where numbers of `dtype` have fewer digits than those `wanted`; `what` begins its sentence."""
    if dtype != wanted and dtype.kind in "fc" and np.finfo(dtype).eps > np.finfo(wanted).eps:
        raise RuleError(
            f"{what} of dtype {wanted}, with fewer digits: compute it in {wanted}, or say .astype({str(wanted)!r}) if so few "
            "are meant"
        )
