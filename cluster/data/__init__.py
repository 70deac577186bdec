"""Makes batches from data of many kinds, and the order in which its examples are used."""

from .choice import as_source
from .feed import Feed, fetch
from .files import ArrayFiles
from .images import ImageFolder
from .order import Order, permutation, shard, take
from .parquet import ParquetFiles
from .source import Arrays, Examples, Source, check_length
from .texts import TextFiles

__all__ = [
    "ArrayFiles",
    "Arrays",
    "Examples",
    "Feed",
    "ImageFolder",
    "Order",
    "ParquetFiles",
    "Source",
    "TextFiles",
    "as_source",
    "check_length",
    "fetch",
    "permutation",
    "shard",
    "take",
]
