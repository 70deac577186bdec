"""Makes the means of a user's figures over validation data, from what each rank finds on its shards of it."""

from reprlib import repr as shown
from typing import Any

import numpy as np

from .comm.group import Group
from .data import fetch
from .errors import RunError
from .job import Job
from .replica import Replica
from .shards import by_shard, cut
from .verdicts import check_best, check_names, name_word

# The most figures that `evaluate` may return.
MOST_NAMES = 16


def validated(job: Job, replica: Replica, group: Group, *, is_whole: bool) -> tuple[dict[str, float], int]:
    """The means that ``evaluate`` gives, by name, and over how many examples: all of them, or an even sample.

    Every rank calls this at the same step. Raises ``RunError`` for more than 16 names, ``MismatchError`` for names that
    differ between the ranks, ``ConfigError`` where the figure for the best snapshot is not among them.
    """
    assert job.validation is not None and job.evaluate is not None
    config, total = replica.config, len(job.validation)
    count = total if is_whole else min(total, config.validate_examples)
    chosen = np.arange(count, dtype=np.int64) * total // count
    pieces = cut(chosen, config.shard_count)
    size = replica.microbatch if isinstance(replica.microbatch, int) else config.shard_batch
    names: list[str] = []
    figures: list[float] = []
    for put in group.puts:
        # A shard without examples looks at one for the names, and counts it for nothing.
        piece, weight = (pieces[put.shard], 1) if len(pieces[put.shard]) else (chosen[:1], 0)
        sums: dict[str, float] = {}
        for start in range(0, len(piece), size):
            indices = piece[start : start + size]
            for name, mean in _means(job.evaluate(replica.params, fetch(job.validation, indices))).items():
                sums[name] = sums.get(name, 0.0) + mean * len(indices) * weight
            group.beat()
        names = sorted(sums)
        if len(names) > MOST_NAMES:
            raise RunError(f"evaluate returned {len(names)} figures ({', '.join(names)}); a run records at most {MOST_NAMES}")
        figures += [sums[name] for name in names] + [0.0] * (MOST_NAMES - len(names))
    table = group.finish((name_word(names), *figures))
    check_names(table[:, 0], names, group.rank)
    check_best(config.best, names)
    means = np.sum(by_shard(group.formation.runs, table[:, 1:], MOST_NAMES), axis=0) / count
    return {name: float(mean) for name, mean in zip(names, means[: len(names)], strict=True)}, count


def _means(returned: Any) -> dict[str, float]:
    """What ``evaluate`` returned, as plain numbers by name."""
    try:
        if all(isinstance(name, str) for name in returned):
            return {name: float(mean) for name, mean in returned.items()}
    except (AttributeError, TypeError, ValueError):
        pass
    raise RunError(f"evaluate returned {shown(returned)}; it must be a dict of numbers by name")
