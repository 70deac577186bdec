"""retape: exact gradients of plain NumPy programs inside a memory budget, on one machine or on a Ray cluster."""

from .runtime.ops import creation as numpy
from .runtime.transforms import checkpoint, record, vjp
