"""Makes bfloat16 words from float32 arrays and back, by their bits: half the bytes for a slow link.

bfloat16 is the upper half of a float32. NumPy's own float16 conversions are slower than the links they would save.
"""

import numpy as np

# Small enough for the cache, and for the allocator to keep instead of asking the system for fresh pages.
_BLOCK = 2**15


def rounded(values: np.ndarray, error: np.ndarray | None = None) -> np.ndarray:
    """The nearest bfloat16 (ties to even) of each float32, as uint16; with ``error``, of values plus the error left over
    before.

    ``error`` is then what this rounding left over, to be added next time (error feedback: Seide et al., "1-bit stochastic
    gradient descent", Interspeech 2014). NaN stays NaN, and finite numbers above the largest bfloat16 become infinite.

    >>> rounded(np.array([1.0, 1.00390625, 3.0], np.float32)).tolist()
    [16256, 16256, 16448]
    """
    values = np.ascontiguousarray(values, np.float32)
    made = np.empty(values.size, np.uint16)
    flat, left = values.reshape(-1), None if error is None else error.reshape(-1)
    for start in range(0, values.size, _BLOCK):
        here = slice(start, start + _BLOCK)
        _round_block(flat[here], made[here], None if left is None else left[here])
    return made.reshape(values.shape)


def _round_block(values: np.ndarray, out: np.ndarray, error: np.ndarray | None) -> None:
    if error is not None:
        values = np.add(values, error)
    bits = values.view(np.uint32)
    words = bits >> np.uint32(16)
    words &= np.uint32(1)
    words += bits
    words += np.uint32(0x7FFF)
    words >>= np.uint32(16)
    np.copyto(out, words, casting="unsafe")
    is_finite = bool(np.isfinite(values).all())
    if not is_finite:
        out[np.isnan(values)] = 0x7FC0
    if error is not None:
        words <<= np.uint32(16)
        np.subtract(values, words.view(np.float32), out=error)
        if not is_finite or not np.isfinite(error).all():
            # An infinite or NaN gradient must not poison the steps after it.
            np.nan_to_num(error, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def widened(words: np.ndarray) -> np.ndarray:
    """The float32 values of bfloat16 words.

    >>> widened(np.array([16256, 16448], np.uint16)).tolist()
    [1.0, 3.0]
    """
    made = words.astype(np.uint32)
    made <<= np.uint32(16)
    return made.view(np.float32)
