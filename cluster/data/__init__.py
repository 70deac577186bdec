"""Makes batches from data of many kinds, and the order in which its examples are used."""

from .choice import as_source
from .files import ArrayFiles
from .order import Order, permutation, shard, take
from .source import Arrays, Examples, Source, check_length

__all__ = [
    "ArrayFiles",
    "Arrays",
    "Examples",
    "Order",
    "Source",
    "as_source",
    "check_length",
    "permutation",
    "shard",
    "take",
]
