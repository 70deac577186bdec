"""Makes the one shape of a model that the training script can run: functions and data, nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..data import Source
from ..tables import UsedRows


@dataclass(frozen=True)
class ModelOptions:
    """What a model's builder may use; a builder ignores what does not concern it.

    ``context`` is in bytes; ``data`` is a file or folder, or ``None`` for the model's own;
    ``data_limit_bytes`` bounds how much of it is read.
    """

    layers: int = 4
    width: int = 128
    heads: int = 4
    context: int = 128
    data: str | None = None
    data_limit_bytes: int = 8 * 2**20


@dataclass(frozen=True)
class Model:
    """A model with its data.

    ``init(seed)`` makes the parameters; ``loss(params, batch)`` is the mean loss over the batch's leading
    axis; ``evaluate(params, batch)`` returns means by name for validation; ``units`` is how many tokens one
    example counts for in throughput. ``goal`` names the figure of ``evaluate`` to report and the value it
    should reach, from below (``"<"``) or above (``">"``). ``sample(params, seed)`` makes a text to look at.
    ``facts`` is printed before the run. ``used_rows`` names the tables whose gradients travel by rows, and the rows that a
    batch uses.
    """

    name: str
    init: Callable[[int], Any]
    loss: Callable[[Any, Any], Any]
    evaluate: Callable[[Any, Any], dict[str, float]]
    train: Source
    validation: Source
    units: int
    unit: str
    goal: tuple[str, str, float, str]
    facts: dict[str, str]
    sample: Callable[[Any, int], str]
    used_rows: UsedRows | None = None
