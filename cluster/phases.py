"""Makes where the time of a run's steps went, and which workers the others waited for, from its metrics rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from statistics import fmean, median
from typing import Any

Row = Mapping[str, Any]
_UNUSUAL = 10.0


@dataclass(frozen=True)
class Phases:
    """Seconds of a step: waiting for data, computing gradients, waiting for slower workers, adding up gradients, and the rest
    (clipping, the update, checks). The first three are means over the workers; together they are the whole step."""

    data: float
    gradients: float
    wait: float
    reduce: float
    update: float

    def shares(self) -> dict[str, float]:
        """The phases by name, as shares of the step."""
        whole = sum(vars(self).values())
        return {name: seconds / whole if whole else 0.0 for name, seconds in vars(self).items()}


@dataclass(frozen=True)
class Rank:
    """What the steps say of one worker: its mean ``gradient_seconds``, how long the others waited for it or it for them.

    ``slowest_share`` is how often it was the last; among equals that is one over the number of workers.
    """

    rank: int
    gradient_seconds: float
    wait_seconds: float
    slowest_share: float


def usual(rows: Iterable[Row]) -> list[Row]:
    """The steps among ``rows``, without those that took far longer than most: they made a plan, or were interrupted."""
    steps = [row for row in rows if "step_seconds" in row]
    limit = _UNUSUAL * median(row["step_seconds"] for row in steps) if steps else 0.0
    return [row for row in steps if row["step_seconds"] <= limit]


def phases(row: Row) -> Phases:
    """The phases of one step. ``row`` is that of a step.

    >>> row = {"step_seconds": 1.0, "gradient_seconds": 0.5, "reduce_seconds": 0.4, "data_seconds": 0.1}
    >>> phases(row | {"seconds_by_rank": [0.5, 0.7]}).shares()["wait"].__round__(3)
    0.1
    """
    own = row["gradient_seconds"]
    by_rank = row.get("seconds_by_rank") or [own]
    mean, slowest = fmean(by_rank), max(by_rank)
    data = min(row.get("data_seconds", 0.0), mean)
    waited = min(slowest - by_rank[0], row["reduce_seconds"])
    return Phases(
        data=data,
        gradients=mean - data,
        wait=slowest - mean,
        reduce=row["reduce_seconds"] - waited,
        update=max(0.0, row["step_seconds"] - own - row["reduce_seconds"]),
    )


def mean_phases(rows: Iterable[Row]) -> Phases:
    """The means over the usual steps among ``rows``, of which there is at least one."""
    each = [phases(row) for row in usual(rows)]
    return Phases(**{field.name: fmean(getattr(one, field.name) for one in each) for field in fields(Phases)})


def by_rank(rows: Iterable[Row]) -> list[Rank]:
    """What the usual steps say of each worker; only those with as many workers as the last one are looked at."""
    tables = [row["seconds_by_rank"] for row in usual(rows) if row.get("seconds_by_rank")]
    tables = [table for table in tables if len(table) == len(tables[-1])]
    found = []
    for rank in range(len(tables[-1]) if tables else 0):
        own = [table[rank] for table in tables]
        waits = [max(table) - seconds for table, seconds in zip(tables, own, strict=True)]
        last = sum(1 for table, seconds in zip(tables, own, strict=True) if seconds == max(table))
        found.append(Rank(rank, fmean(own), fmean(waits), last / len(tables)))
    return found
