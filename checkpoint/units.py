"""Bytes as people write them: ``512MiB`` to a number, and back."""

from __future__ import annotations

import re

from ..runtime.text import format_bytes

__all__ = ["format_bytes", "parse_bytes"]

_UNITS = {"": 1, "B": 1}
for _power, _letter in enumerate("KMGT", start=1):
    _UNITS[f"{_letter}IB"] = 1024**_power
    _UNITS[f"{_letter}B"] = 1000**_power
    _UNITS[_letter] = 1024**_power


def parse_bytes(text: int | float | str, *, name: str = "memory_budget") -> int:
    """Return a number of bytes from an integer or a text such as ``"512MiB"`` or ``"1.5GB"``.

    Raises `ValueError` for what cannot be read and for sizes that are not positive, `TypeError` for other types.

    >>> parse_bytes("1.5KiB"), parse_bytes("2MB"), parse_bytes(4096)
    (1536, 2000000, 4096)
    """
    if isinstance(text, bool) or not isinstance(text, (int, float, str)):
        raise TypeError(f"{name} must be a number of bytes or a text such as '512MiB', not {type(text).__name__}")
    if isinstance(text, str):
        match = re.fullmatch(r"\s*([-+]?[0-9]*\.?[0-9]+(?:e[-+]?[0-9]+)?)\s*([a-z]*)\s*", text, re.IGNORECASE)
        unit = match.group(2).upper() if match else None
        if match is None or unit not in _UNITS:
            raise ValueError(
                f"{name}={text!r} cannot be read: write a number of bytes, or a number and one of "
                "B, KiB, MiB, GiB, TiB, KB, MB, GB, TB, such as '512MiB'"
            )
        count = float(match.group(1)) * _UNITS[unit]
    else:
        count = text
    if not 0 < count < float("inf"):
        raise ValueError(f"{name}={text!r} must be more than 0 bytes and finite, such as '512MiB'")
    if count < 1:
        raise ValueError(f"{name}={text!r} is less than one byte: did you mean a unit, such as '{text}GiB'?")
    return int(count)
