"""The Tape: a straight-line program recorded from plain NumPy code, with a derivative rule for every op."""

from . import ops  # noqa: F401  (fills the table of ops)
from .operators import install

install()
