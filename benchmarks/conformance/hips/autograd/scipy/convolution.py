"""autograd's own form of convolve, which SciPy does not have: over some axes, summed over others, outer over the rest."""

from __future__ import annotations

from typing import Any

import numpy as np


def convolve(a: Any, b: Any, axes: Any = None, dot_axes: Any = ((), ()), mode: str = "full") -> Any:
    """Convolve `axes` pairwise, sum over `dot_axes` pairwise; the result has a's other axes, b's, and the convolved ones."""
    ours, theirs = axes if axes is not None else (range(a.ndim), range(b.ndim))
    ours, theirs = list(ours), list(theirs)
    widths = [(0, 0)] * a.ndim
    for i, j in zip(ours, theirs, strict=True):
        widths[i] = (b.shape[j] - 1, b.shape[j] - 1)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(a, widths), [b.shape[j] for j in theirs], ours)
    inner = [a.ndim + k for k in range(len(ours))]
    product = np.tensordot(windows, np.flip(b, tuple(theirs)), (inner + list(dot_axes[0]), theirs + list(dot_axes[1])))
    left = [k for k in range(a.ndim) if k not in dot_axes[0]]
    product = np.moveaxis(product, [left.index(k) for k in ours], range(product.ndim - len(ours), product.ndim))
    middle = [slice(None)] * (product.ndim - len(ours))
    for i, j in zip(ours, theirs, strict=True):
        n, m = a.shape[i], b.shape[j]
        start, count = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (min(n, m) - 1, abs(n - m) + 1)}[mode]
        middle.append(slice(start, start + count))
    return product[tuple(middle)]
