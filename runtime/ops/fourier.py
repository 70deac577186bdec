"""Discrete Fourier transforms: four linear ops along one axis, and what numpy.fft composes of them.

Each op pads or crops its input to `n` points, so its transpose crops or pads what the transform gives back. The matrix
of a transform is symmetric: that of `fft` and `ifft` is its own transpose. The transforms between real arrays and half
spectra are each other's transposes up to the weight 2 of every point that stands for itself and its mirror image.
"""

from __future__ import annotations

import math
import operator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .. import phantom
from ..array import apply
from ..op import Op, define, implements
from .axes import as_operand

_OTHER: dict[Any, Any] = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}


def _fitted(g: Any, extent: int, axis: int) -> Any:
    """Return `g` cropped, or padded with zeros at its end, to `extent` along `axis`."""
    have = g.shape[axis]
    if have > extent:
        return g[(slice(None),) * axis + (slice(None, extent),)]
    if have < extent:
        return np.pad(g, [(0, extent - have if k == axis else 0) for k in range(len(g.shape))])
    return g


def _mirror_weights(points: int, n: int, weight: float, axis: int, ndim: int, dtype: Any) -> np.ndarray:
    """Return `weight` for the points of a half spectrum that have a mirror image and 1 for the others."""
    weights = np.full(points, weight, np.zeros((), dtype).real.dtype)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    return weights.reshape([-1 if k == axis else 1 for k in range(ndim)])


def _real_rule(g: Any, x_shape: tuple[int, ...], n: int, axis: int, norm: Any) -> Any:
    half = np.conjugate(g) * _mirror_weights(n // 2 + 1, n, 0.5, axis, len(x_shape), g.dtype)
    return _fitted(np.fft.irfft(half, n, axis, _OTHER[norm]), x_shape[axis], axis)


def _real_inverse_rule(g: Any, x_shape: tuple[int, ...], n: int, axis: int, norm: Any) -> Any:
    whole = np.conjugate(np.fft.rfft(g, n, axis, _OTHER[norm]))
    return _fitted(whole * _mirror_weights(n // 2 + 1, n, 2, axis, len(x_shape), g.dtype), x_shape[axis], axis)


@lru_cache(maxsize=256)
def _result_dtype(transform: Any, dtype: np.dtype, norm: Any) -> np.dtype:
    """Return the dtype of a transform as NumPy has it, raising what NumPy raises for one that it does not take."""
    return transform(np.zeros(2, dtype), norm=norm).dtype


@lru_cache(maxsize=256)
def _lines(n: int, lines: int, lanes: int) -> int:
    """Return how many lines of `n` complex numbers a transform of so many lines takes for tables and copies, at most.

    NumPy's pocketfft does `lanes` lines at once where there are so many, and goes through transforms of over twice the length
    (Bluestein 1970) where `n` has a large prime factor.
    """
    at_once = lanes if lines >= lanes else 1
    rest, factor = n, 2
    while factor * factor <= rest:
        if rest % factor:
            factor += 1
        else:
            rest //= factor
    return 1 + 2 * at_once if n < 50 or rest * rest <= n else 4 + 6 * at_once


def _transform(name: str, rule: Any, points: Any) -> Op:
    """Define a transform that gives `points(n)` numbers for `n` along its axis."""
    transform = getattr(np.fft, name)
    unscaled = ("forward",) if name.startswith("i") else (None, "backward")

    def infer(x: np.ndarray, n: int, axis: int, norm: Any) -> np.ndarray:
        shape = (*x.shape[:axis], points(n), *x.shape[axis + 1 :])
        return phantom.in_axes(shape, _result_dtype(transform, x.dtype, norm), phantom.memory_axes(x.strides))

    def run_into(out: np.ndarray, x: np.ndarray, n: int, axis: int, norm: Any) -> np.ndarray:
        return transform(x, n, axis, norm, out=out)

    def run(x: np.ndarray, n: int, axis: int, norm: Any) -> np.ndarray:
        made = infer(x, n, axis, norm)
        return run_into(np.empty_like(made), x, n, axis, norm)

    def workspace(out: np.ndarray, x: np.ndarray, n: int, axis: int, norm: Any) -> int:
        """A few lines are copied at a time, beside tables of their length; input and output are cast whole, if at all."""
        dtype = np.result_type(out.dtype, np.complex64)
        is_real = name == "rfft"
        if dtype == np.complex64 and (norm in unscaled or x.dtype != (np.float32 if is_real else dtype)):
            dtype = np.dtype(np.complex128)  # NumPy has no scale, or no loop, of single precision there
        made = np.empty(0, dtype).real.dtype if name == "irfft" else dtype
        casts = x.size * dtype.itemsize // (1 + is_real) * (x.dtype != (np.empty(0, dtype).real.dtype if is_real else dtype))
        casts += out.size * made.itemsize * (out.dtype != made)
        return casts + _lines(n, out.size // out.shape[axis], 32 // dtype.itemsize) * n * dtype.itemsize

    return define(
        f"fft.{name}",
        run,
        inputs="x",
        parameters=("n", "axis", "norm"),
        rules=rule,
        infer=infer,
        flops=lambda out, x, n, axis, norm: 5.0 * x.size / max(x.shape[axis], 1) * n * math.log2(n + 1),
        workspace=workspace,
        run_into=run_into,
        jvp="linear",
    )


FFT = _transform(
    "fft", lambda g, x_shape, n, axis, norm: _fitted(np.fft.fft(g, n, axis, norm), x_shape[axis], axis), lambda n: n
)
IFFT = _transform(
    "ifft", lambda g, x_shape, n, axis, norm: _fitted(np.fft.ifft(g, n, axis, norm), x_shape[axis], axis), lambda n: n
)
RFFT = _transform("rfft", _real_rule, lambda n: n // 2 + 1)
IRFFT = _transform("irfft", _real_inverse_rule, lambda n: n)


def _along(op: Op, a: Any, n: Any, axis: Any, norm: Any) -> Any:
    """Record a transform along one axis. Raises what NumPy raises for a length, an axis or a norm that it does not take."""
    a = as_operand(a)
    axis = normalize_axis_index(axis, a.ndim)
    if n is None:
        n = 2 * (a.shape[axis] - 1) if op is IRFFT else a.shape[axis]
    n = operator.index(n)
    if n < 1:
        raise ValueError(f"Invalid number of FFT data points ({n}) specified.")
    if norm not in _OTHER:
        raise ValueError(f'Invalid norm value {norm}; should be "backward","ortho" or "forward".')
    return apply(op, (a,), {"n": n, "axis": axis, "norm": norm})


@implements(np.fft.fft)
def fft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """Record a transform."""
    return _along(FFT, a, n, axis, norm)


@implements(np.fft.ifft)
def ifft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """Record an inverse transform."""
    return _along(IFFT, a, n, axis, norm)


@implements(np.fft.rfft)
def rfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """Record the half spectrum of a real array."""
    return _along(RFFT, a, n, axis, norm)


@implements(np.fft.irfft)
def irfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """Record the real array of a half spectrum."""
    return _along(IRFFT, a, n, axis, norm)


@implements(np.fft.hfft)
def hfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """Compose the real spectrum of a signal with Hermitian symmetry."""
    _require_norm(norm)
    return _along(IRFFT, np.conjugate(a), n, axis, _OTHER[norm])


@implements(np.fft.ihfft)
def ihfft(a: Any, n: Any = None, axis: Any = -1, norm: Any = None, out: Any = None) -> Any:
    """Compose the inverse of `hfft`."""
    _require_norm(norm)
    return np.conjugate(_along(RFFT, a, n, axis, _OTHER[norm]))


def _require_norm(norm: Any) -> None:
    if norm not in _OTHER:
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".')


def _lengths(a: Any, s: Any, axes: Any, *, is_half: bool = False) -> tuple[list, list]:
    """Return the length and the axis of each transform, as NumPy reads ``s`` and ``axes``."""
    if s is None:
        axes = list(range(-a.ndim, 0)) if axes is None else list(axes)
        s = [a.shape[axis] for axis in axes]
        if is_half:
            s[-1] = (a.shape[axes[-1]] - 1) * 2
        return s, axes
    s = list(s)
    axes = list(range(-len(s), 0)) if axes is None else list(axes)
    if len(s) != len(axes):
        raise ValueError("Shape and axes have different lengths.")
    return [a.shape[axis] if n == -1 else n for n, axis in zip(s, axes, strict=True)], axes


def _along_each(op: Op, a: Any, s: Any, axes: Any, norm: Any) -> Any:
    for n, axis in zip(reversed(s), reversed(axes), strict=True):
        a = _along(op, a, n, axis, norm)
    return a


@implements(np.fft.fftn)
def fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """Compose a transform over several axes, the last one first."""
    return _along_each(FFT, a, *_lengths(a, s, axes), norm)


@implements(np.fft.ifftn)
def ifftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """Compose an inverse transform over several axes."""
    return _along_each(IFFT, a, *_lengths(a, s, axes), norm)


@implements(np.fft.rfftn)
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """Compose a half spectrum along the last of several axes and transforms along the others."""
    s, axes = _lengths(a, s, axes)
    return _along_each(FFT, _along(RFFT, a, s[-1], axes[-1], norm), s[:-1], axes[:-1], norm)


@implements(np.fft.irfftn)
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    """Compose the inverse of `rfftn`."""
    s, axes = _lengths(a, s, axes, is_half=True)
    # NumPy's order: the first axis first.
    for n, axis in zip(s[:-1], axes[:-1], strict=True):
        a = _along(IFFT, a, n, axis, norm)
    return _along(IRFFT, a, s[-1], axes[-1], norm)


@implements(np.fft.fft2)
def fft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """Compose a transform over two axes."""
    return fftn(a, s, axes, norm)


@implements(np.fft.ifft2)
def ifft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """Compose an inverse transform over two axes."""
    return ifftn(a, s, axes, norm)


@implements(np.fft.rfft2)
def rfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """Compose a half spectrum over two axes."""
    return rfftn(a, s, axes, norm)


@implements(np.fft.irfft2)
def irfft2(a: Any, s: Any = None, axes: Any = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    """Compose the inverse of `rfft2`."""
    return irfftn(a, s, axes, norm)


def _shifted(x: Any, axes: Any, sign: int) -> Any:
    axes = tuple(range(x.ndim)) if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    axes = tuple(normalize_axis_index(axis, x.ndim) for axis in axes)
    return np.roll(x, tuple(sign * (x.shape[axis] // 2) for axis in axes), axes)


@implements(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    """Compose the move of the zero frequency to the middle of a roll."""
    return _shifted(x, axes, 1)


@implements(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    """Compose the inverse of `fftshift`."""
    return _shifted(x, axes, -1)
