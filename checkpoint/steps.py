"""The steps of a plan: values are computed, dropped, written to disk and read back."""

from __future__ import annotations

from typing import NamedTuple


class Compute(NamedTuple):
    """Make `value`, in the buffer of the value `overwrites` if that is not -1."""

    value: int
    overwrites: int = -1


class Drop(NamedTuple):
    """Free the memory of `value`."""

    value: int


class Spill(NamedTuple):
    """Begin to write `value` to disk; it stays in memory, unchanged, until it is dropped."""

    value: int


class Load(NamedTuple):
    """Take memory for `value` and begin to read it back from disk."""

    value: int


Step = Compute | Drop | Spill | Load
