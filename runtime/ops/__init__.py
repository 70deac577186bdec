"""The families of ops; importing this package fills the table."""

from ..operators import install
from . import creation, elementwise, indexing, linear_algebra, methods, reductions, shape, softmax

__all__ = ["creation", "elementwise", "indexing", "linear_algebra", "methods", "reductions", "shape", "softmax"]

install()
