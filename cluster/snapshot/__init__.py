"""Makes saved training state (snapshots): their bytes, the place that keeps them, and their way to other programs."""

from .claim import CLAIM_NAME, claimed
from .export import export_parameters
from .format import FORMAT_VERSION, Packed, Snapshot, pack
from .places import Where, absolute, is_url, join, local_path
from .reading import check_same_run, load, read, settings, verify
from .shares import Share
from .store import BEST_NAME, Best, after, best_of, latest, move_aside, of_step, remove_partial, save, step_of
from .writer import Writer

__all__ = [
    "BEST_NAME",
    "CLAIM_NAME",
    "FORMAT_VERSION",
    "Best",
    "Packed",
    "Share",
    "Snapshot",
    "Where",
    "Writer",
    "absolute",
    "after",
    "best_of",
    "check_same_run",
    "claimed",
    "export_parameters",
    "is_url",
    "join",
    "latest",
    "load",
    "local_path",
    "move_aside",
    "of_step",
    "pack",
    "read",
    "remove_partial",
    "save",
    "settings",
    "step_of",
    "verify",
]
