"""What of NumPy is differentiated: a table made from the code, and a page made from the table."""

from .page import page
from .table import Entry, entries, load_forms

__all__ = ["Entry", "entries", "load_forms", "page"]
