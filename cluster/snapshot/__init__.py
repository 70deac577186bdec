"""Makes saved training state (snapshots): their bytes, the folder that keeps them, and their way to other programs."""

from .export import export_parameters
from .format import FORMAT_VERSION, Packed, Snapshot, check_same_run, load, pack, read
from .store import BEST_NAME, Best, after, latest, remove_partial, save
from .writer import Writer

__all__ = [
    "BEST_NAME",
    "FORMAT_VERSION",
    "Best",
    "Packed",
    "Snapshot",
    "Writer",
    "after",
    "check_same_run",
    "export_parameters",
    "latest",
    "load",
    "pack",
    "read",
    "remove_partial",
    "save",
]
