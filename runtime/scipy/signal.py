"""scipy.signal with derivatives: convolution and correlation in any dimensions, linear filters, the analytic signal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.signal

from .. import phantom
from ..array import Array, apply
from ..errors import MissingRuleError
from ..op import define
from .replace import PATCHES, refuse, replaces


def _run(a: Any, b: Any, mode: str, method: str) -> np.ndarray:
    return np.ascontiguousarray(scipy.signal.convolve(a, b, mode, method))


def _rule_a(g: Any, b: Any, mode: str, method: str) -> Any:
    return _convolved(g, np.flip(b), "valid" if mode == "full" else "full", method)


def _rule_b(g: Any, a: Any, mode: str, method: str) -> Any:
    if mode == "full":
        return _convolved(g, np.flip(a), "valid", method)
    return np.flip(_convolved(a, np.flip(g), "valid", method))


def _infer(a: np.ndarray, b: np.ndarray, mode: str, method: str) -> np.ndarray:
    sign = 1 if mode == "full" else -1
    shape = tuple(n + sign * (m - 1) for n, m in zip(a.shape, b.shape, strict=True))
    return phantom.contiguous(shape, np.result_type(a, b))


def _flops(out: np.ndarray, a: np.ndarray, b: np.ndarray, mode: str, method: str) -> float:
    if method == "direct":
        return 2.0 * min(a.size, out.size) * b.size
    return 25.0 * max(a.size, out.size) * math.log2(max(a.size, out.size, 2))


CONVOLVE = define(
    "convolve_nd",
    _run,
    inputs="a b",
    parameters=("mode", "method"),
    rules=(_rule_a, _rule_b),
    jvp="multilinear",
    infer=_infer,
    flops=_flops,
    workspace=lambda out, a, b, mode, method: 8 * max(out.nbytes, a.nbytes) + a.nbytes + b.nbytes,
)


def _convolved(a: Any, b: Any, mode: str, method: str) -> Any:
    """Return the full convolution, or the part of it where `b` lies wholly within `a`."""
    return apply(CONVOLVE, (a, b), {"mode": mode, "method": method})


def _pair(in1: Any, in2: Any, name: str) -> tuple[Any, Any]:
    a, b = (x if type(x) is Array else np.asarray(x) for x in (in1, in2))
    if a.ndim != b.ndim:
        raise ValueError(f"{name}: the inputs should have the same number of dimensions, not {a.ndim} and {b.ndim}")
    dtype = np.result_type(a.dtype, b.dtype)
    dtype = dtype if dtype.char in "fdFD" else np.result_type(dtype, np.float32)
    return a.astype(dtype), b.astype(dtype)


def _centred(y: Any, shape: tuple[int, ...]) -> Any:
    """Return the middle of a full convolution, of a given shape."""
    starts = [(n - m) // 2 for n, m in zip(y.shape, shape, strict=True)]
    return y[tuple(slice(start, start + m) for start, m in zip(starts, shape, strict=True))]


@replaces("scipy.signal", "convolve")
def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Convolve two arrays of as many dimensions; directly or by Fourier transforms, as SciPy would choose."""
    a, b = _pair(in1, in2, "convolve")
    if not a.ndim:
        return a * b
    if method == "auto":
        # By shapes alone, for floating-point numbers.
        chosen: Any = scipy.signal.choose_conv_method(*(phantom.contiguous(x.shape, x.dtype) for x in (a, b)), mode=mode)
        method = chosen
    if mode == "valid":
        if any(n < m for n, m in zip(a.shape, b.shape, strict=True)):
            a, b = b, a
        if any(n < m for n, m in zip(a.shape, b.shape, strict=True)):
            raise ValueError(
                "convolve: for 'valid' mode, one input must be at least as large as the other in every dimension"
            )
        return _convolved(a, b, "valid", method)
    if mode not in ("full", "same"):
        raise ValueError(f"convolve: mode {mode!r} is none of 'full', 'valid', 'same'")
    y = _convolved(a, b, "full", method)
    return y if mode == "full" else _centred(y, a.shape)


@replaces("scipy.signal", "fftconvolve", "oaconvolve")
def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """Convolve by Fourier transforms, over all dimensions or over `axes`, the others being broadcast."""
    if axes is None:
        return convolve(in1, in2, mode, "fft")
    a, b = _pair(in1, in2, "fftconvolve")
    chosen = sorted({range(a.ndim)[k] for k in ((axes,) if isinstance(axes, int) else axes)})
    lengths = [a.shape[k] + b.shape[k] - 1 for k in chosen]
    forward, backward = (np.fft.fftn, np.fft.ifftn) if a.dtype.kind == "c" else (np.fft.rfftn, np.fft.irfftn)
    spectrum = forward(a, s=lengths, axes=chosen) * forward(b, s=lengths, axes=chosen)
    y = backward(spectrum, s=lengths, axes=chosen)
    if mode == "full":
        return y
    shape = list(y.shape)
    for k in chosen:
        shape[k] = a.shape[k] if mode == "same" else abs(a.shape[k] - b.shape[k]) + 1
    return _centred(y, tuple(shape))


def _reversed_kernel(in2: Any) -> Any:
    b = in2 if type(in2) is Array else np.asarray(in2)
    return np.conjugate(np.flip(b)) if b.dtype.kind == "c" else np.flip(b)


@replaces("scipy.signal", "correlate")
def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Correlate two arrays: convolve with the conjugate of the second, reversed."""
    return convolve(in1, _reversed_kernel(in2), mode, method)


_PADDINGS = {
    "fill": "constant",
    "pad": "constant",
    "wrap": "wrap",
    "circular": "wrap",
    "symm": "symmetric",
    "symmetric": "symmetric",
}


@replaces("scipy.signal", "convolve2d")
def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    """Convolve two matrices, the first continued over its edges as `boundary` says."""
    a, b = _pair(in1, in2, "convolve2d")
    if mode == "valid" or _PADDINGS[boundary] == "constant" and type(fillvalue) in (int, float) and fillvalue == 0:
        return convolve(a, b, mode, "direct")
    words = {"constant_values": fillvalue} if _PADDINGS[boundary] == "constant" else {}
    wide: Any = np.pad(a, [(m - 1, m - 1) for m in b.shape], mode=_PADDINGS[boundary], **words)  # pyright: ignore
    y = _convolved(wide, b, "valid", "direct")
    return y if mode == "full" else _centred(y, a.shape)


@replaces("scipy.signal", "correlate2d")
def correlate2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    """Correlate two matrices."""
    return convolve2d(in1, _reversed_kernel(in2), mode, boundary, fillvalue)


def _delayed_sums(w: Any, x: Any, count: int, axis: int) -> Any:
    """Return ``sum(w[n] * x[n - k])`` for k below `count`; the rest of the axes summed too."""
    n = x.shape[axis]
    w, x = np.swapaxes(w, axis, 0), np.swapaxes(x, axis, 0)
    return np.stack([np.sum(w[k:] * x[: max(n - k, 0)]) for k in range(count)])


def _adjoint(b: Any, a: Any, g: Any, axis: int) -> Any:
    return np.flip(_filtered(b, a, np.flip(g, axis), axis), axis)


def _one(a: Any) -> Any:
    return np.ones(1, a.dtype)


LFILTER = define(
    "lfilter",
    lambda b, a, x, axis: np.ascontiguousarray(scipy.signal.lfilter(b, a, x, axis)),
    inputs="b a x",
    parameters=("axis",),
    # The transposed filter runs backwards in time.
    rules=(
        lambda g, a, x, b_shape, axis: _delayed_sums(_adjoint(_one(a), a, g, axis), x, b_shape[0], axis),
        lambda g, a, y, a_shape, axis: -_delayed_sums(_adjoint(_one(a), a, g, axis), y, a_shape[0], axis),
        lambda g, b, a, axis: _adjoint(b, a, g, axis),
    ),
    jvp=(
        lambda t, a, x, axis: _filtered(t, a, x, axis),
        lambda t, a, y, axis: -_filtered(t, a, y, axis),
        lambda t, b, a, axis: _filtered(b, a, t, axis),
    ),
    infer=lambda b, a, x, axis: phantom.contiguous(x.shape, np.result_type(b, a, x)),
    flops=lambda out, b, a, x, axis: 2.0 * out.size * (a.size + b.size),
    workspace=lambda out, b, a, x, axis: 2 * out.nbytes,
)


def _filtered(b: Any, a: Any, x: Any, axis: int) -> Any:
    return apply(LFILTER, (b, a, x), {"axis": axis})


@replaces("scipy.signal", "lfilter")
def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """Filter along an axis by a rational transfer function; with the state `zi`, return the final state too."""
    b, a, x = (v if type(v) is Array else np.asarray(v) for v in (b, a, x))
    dtype = np.result_type(b.dtype, a.dtype, x.dtype, np.float32)
    b, a, x = np.reshape(b, (-1,)).astype(dtype), np.reshape(a, (-1,)).astype(dtype), x.astype(dtype)
    axis = range(x.ndim)[axis]
    y = _filtered(b, a, x, axis)
    if zi is None:
        return y
    order = max(a.shape[0], b.shape[0]) - 1
    n = x.shape[axis]
    if n < order:
        raise MissingRuleError(f"scipy.signal.lfilter of a traced array with zi= takes at least {order} samples, not {n}")
    # The state enters as an input of the all-pole part (transposed direct form II), as if a[0] were 1.
    state = np.swapaxes(zi if type(zi) is Array else np.asarray(zi), axis, 0).astype(dtype) * a[0]
    rest = np.zeros((n - order, *state.shape[1:]), dtype)
    y = y + np.swapaxes(_filtered(_one(a), a, np.concatenate([state, rest]), 0), axis, 0)
    return y, np.swapaxes(_final_state(b / a[0], a / a[0], np.swapaxes(x, axis, 0), np.swapaxes(y, axis, 0), order), axis, 0)


def _final_state(b: Any, a: Any, x: Any, y: Any, order: int) -> Any:
    n = x.shape[0]
    states = []
    for m in range(order):
        total = x[0] * 0
        for j in range(m + 1, order + 1):
            if j < b.shape[0]:
                total = total + b[j] * x[n + m - j]
            if j < a.shape[0]:
                total = total - a[j] * y[n + m - j]
        states.append(total)
    return np.stack(states) if states else x[:0]


@replaces("scipy.signal", "sosfilt")
def sosfilt(sos: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """Filter along an axis by second-order sections, one after the other (their a0 is 1, and SciPy insists)."""
    refuse("scipy.signal.sosfilt", zi=zi is not None)
    sos = sos if type(sos) is Array else np.asarray(sos)
    for k in range(sos.shape[0]):
        x = lfilter(sos[k, :3], sos[k, 3:], x, axis)
    return x


@replaces("scipy.signal", "hilbert")
def hilbert(x: Any, N: int | None = None, axis: int = -1) -> Any:  # noqa: N803
    """Return the analytic signal: the negative frequencies removed, the positive ones doubled."""
    if x.dtype.kind == "c":
        raise ValueError("x must be real.")
    count = x.shape[axis] if N is None else int(N)
    weights = np.zeros(count, x.dtype)
    weights[0] = 1
    weights[1 : (count + 1) // 2] = 2
    if count % 2 == 0:
        weights[count // 2] = 1
    shape = [1] * x.ndim
    shape[axis] = count
    return np.fft.ifft(np.fft.fft(x, count, axis=axis) * weights.reshape(shape), axis=axis)


def __getattr__(name: str) -> Any:
    """Return the function that takes the place of SciPy's of that name, or SciPy's own."""
    found = PATCHES["scipy.signal"].get(name)
    return getattr(scipy.signal, name) if found is None else found
