"""The tape: a straight-line program recorded from NumPy code, with derivative rules for every op."""

from . import ops  # noqa: F401  (fills the table of ops)
from .operators import install

install()
