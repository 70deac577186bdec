"""Fingerprints: from an array, a number that tells whether it is still what it was."""

from __future__ import annotations

import zlib

import numpy as np

_COPIED = 64 * 1024


def fingerprint(array: np.ndarray, before: int = 0) -> int:
    """Return a checksum of an array's bytes in their order; nothing larger than 64 KiB is copied for it."""
    if array.flags.f_contiguous and array.ndim > 1:
        array = array.T
    if array.flags.c_contiguous or array.nbytes <= _COPIED:
        return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data, before)
    for part in array:
        before = fingerprint(part, before)
    return before
