"""The Tape: a straight-line program recorded from plain NumPy code, with a derivative rule for every op."""

from . import (
    creators,  # noqa: F401  (answers for NumPy's while a transform runs)
    ops,  # noqa: F401  (fills the table of ops)
)
from .batching import custom, examples  # noqa: F401  (what functions go through on a batch that are no ops)
from .operators import install

install()
