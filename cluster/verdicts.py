"""Makes errors from what the workers report of a step: losses that are no numbers, replicas that differ, other names."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..runtime.trees import flatten_with_paths
from .errors import ConfigError, DataError, MismatchError, NonFiniteLossError, ReplicaMismatchError
from .snapshot import Best


def check_best(best: str | None, names: Sequence[str]) -> None:
    """Raises ``ConfigError`` when the best snapshot goes by a figure that ``evaluate`` does not return."""
    if best is not None and Best.of(best).name not in names:
        raise ConfigError(
            f"the best snapshot is the one with the {best}, and evaluate returns {', '.join(names) or 'nothing'}"
        )


def nonfinite(step: int, value: float, what: str, limit: float = math.inf) -> NonFiniteLossError | None:
    """The error for a ``what`` that is not finite, or above ``limit``; ``step`` is the one it was computed in."""
    if math.isfinite(value) and value <= limit:
        return None
    found = f"{value}" if not math.isfinite(value) else f"{value:g}, above the limit of {limit:g}"
    return NonFiniteLossError(
        f"step {step + 1}: the {what} is {found}; the parameters were not updated. Lower the rate, lengthen its warm-up, or "
        "look for a division by zero or an overflow in the loss"
    )


def check_replicas(digests: np.ndarray, step: int) -> None:
    """Raises ``ReplicaMismatchError`` unless all rows, the digests of each worker's parameters, are the same."""
    different = [rank for rank in range(len(digests)) if (digests[rank] != digests[0]).any()]
    if different:
        raise ReplicaMismatchError(
            f"after step {step} the parameters of workers {different} differ from worker 0's; a loss that writes into the "
            "parameters, or an update that depends on the worker, does this"
        )


def check_together(steps: np.ndarray) -> None:
    """Raises ``ReplicaMismatchError`` unless all workers have finished the same number of steps."""
    if (steps != steps[0]).any():
        raise ReplicaMismatchError(f"the workers are not at the same step: {steps.astype(int).tolist()}")


def check_data(lengths: np.ndarray) -> None:
    """Raises ``DataError`` unless all workers see the same number of examples."""
    if (lengths != lengths[0]).any():
        raise DataError(
            f"the workers do not see the same data: they have {lengths.astype(int).tolist()} examples; the data must be the "
            "same on all nodes"
        )


def check_names(words: np.ndarray, names: Sequence[str], rank: int) -> None:
    """Raises ``MismatchError`` unless ``evaluate`` returned the same names everywhere."""
    if (words != words[0]).any():
        raise MismatchError(
            f"evaluate returned other names on one worker than on another; on worker {rank} they are "
            f"{', '.join(names) or 'none'}: the names must not depend on the examples"
        )


def check_used_rows(checksums: np.ndarray) -> None:
    """Raises ``MismatchError`` unless all workers have found the same rows in the global batch."""
    if (checksums != checksums[0]).any():
        raise MismatchError(
            "used_rows named other rows on one worker than on another: they must follow from the batch alone, and the batch "
            "from the examples' numbers alone, without random draws"
        )


def name_word(names: Sequence[str]) -> float:
    """A whole number that stands for these names and that a float64 carries exactly."""
    return float(int.from_bytes(hashlib.blake2b("\0".join(names).encode(), digest_size=6).digest(), "little"))


def digest_words(params: Any) -> tuple[float, float]:
    """A checksum of paths and bytes, as two whole numbers below 2**32 that a float64 carries exactly."""
    digest = hashlib.blake2b(digest_size=8)
    paths, leaves, _ = flatten_with_paths(params)
    for path, leaf in zip(paths, leaves, strict=True):
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(leaf).data)
    word = int.from_bytes(digest.digest(), "little")
    return float(word >> 32), float(word & 0xFFFFFFFF)
