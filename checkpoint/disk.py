"""A disk as planners see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Disk:
    """Where values may be spilled: how many bytes it takes, and how many it writes and reads in a second."""

    capacity_bytes: int
    write_bytes_per_second: float
    read_bytes_per_second: float
