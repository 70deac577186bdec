"""The suite's own plumbing of argument numbers and names."""

from .borrowed import borrow

borrow("wrap_util", globals())
