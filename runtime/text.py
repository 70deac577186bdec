"""Text for people: bytes, seconds and tables, from numbers and cells."""

from __future__ import annotations

from collections.abc import Sequence


def format_bytes(count: float) -> str:
    """Return a number of bytes as a short text.

    >>> format_bytes(1536), format_bytes(12)
    ('1.5 KiB', '12 B')
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """Return a time as a short text.

    >>> format_seconds(0.0123), format_seconds(4.2e-6), format_seconds(75.0)
    ('12.3 ms', '4.2 us', '75.0 s')
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "us")):
        if abs(seconds) * factor >= 0.9995:
            return f"{seconds * factor:.1f} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds else "0"


def table(rows: Sequence[Sequence[str]], sides: str, *, gap: str = "  ") -> list[str]:
    """Return rows of cells as lines with aligned columns; `sides` has an ``l`` or an ``r`` for each column.

    >>> table([["op", "calls"], ["matmul", "12"]], "lr")
    ['op      calls', 'matmul     12']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        gap.join(
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, sides, strict=True)
        ).rstrip()
        for row in rows
    ]


def shortened(text: str, most: int) -> str:
    """Return `text` on one line, cut in its middle where it has more than `most` characters.

    >>> shortened("array([0, 1, 2, 3, 4, 5])", 15)
    'array([..., 5])'
    """
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    head = (most - 3) * 3 // 5
    return f"{text[:head]}...{text[len(text) - (most - 3 - head) :]}"
