"""Makes bfloat16 words from float32 arrays and back, by their bits: half the bytes for a slow link.

bfloat16 is the upper half of a float32. NumPy's own float16 conversions are slower than the links they would save.
"""

import numpy as np


def rounded(values: np.ndarray, error: np.ndarray | None = None) -> np.ndarray:
    """The nearest bfloat16 (ties to even) of each float32, as uint16; with ``error``, of values plus the error left over
    before.

    ``error`` is then what this rounding left over, to be added next time (error feedback: Seide et al., "1-bit stochastic
    gradient descent", Interspeech 2014). NaN stays NaN, and finite numbers above the largest bfloat16 become infinite.

    >>> rounded(np.array([1.0, 1.00390625, 3.0], np.float32)).tolist()
    [16256, 16256, 16448]
    """
    if error is not None:
        values = values + error
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    words = bits >> np.uint32(16)
    words &= np.uint32(1)
    words += np.uint32(0x7FFF)
    words += bits
    words >>= np.uint32(16)
    made = words.astype(np.uint16)
    nan = np.isnan(values)
    if nan.any():
        made[nan] = 0x7FC0
    if error is not None:
        np.subtract(values, widened(made), out=error)
        # An infinite or NaN gradient must not poison the steps after it.
        np.nan_to_num(error, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    return made


def widened(words: np.ndarray) -> np.ndarray:
    """The float32 values of bfloat16 words.

    >>> widened(np.array([16256, 16448], np.uint16)).tolist()
    [1.0, 3.0]
    """
    made = words.astype(np.uint32)
    made <<= np.uint32(16)
    return made.view(np.float32)
