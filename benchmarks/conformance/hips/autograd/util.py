"""The suite's own helpers for argument tuples."""

from .borrowed import borrow

borrow("util", globals())
