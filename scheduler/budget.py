"""Budgets as people write them; the words are defined one floor below, where plans are printed."""

from ..checkpoint.units import format_bytes, parse_bytes

__all__ = ["format_bytes", "parse_bytes"]
