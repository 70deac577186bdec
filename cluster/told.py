"""Makes numbers of what each rank tells of a step, and the part of a step's metrics row that tells of all ranks."""

from typing import Any, NamedTuple

import numpy as np

from ..scheduler.report import Report
from .comm.group import Group


class Told(NamedTuple):
    """What a rank tells of a step, before the figures of its shards; of all ranks, each is an array.

    Without a budget nothing is measured: ``peak_bytes`` and ``projected_bytes`` are then -1. ``held_bytes`` is what the rank
    keeps besides shared memory, ``rows_checksum`` tells which rows of tables the step uses.
    """

    digest_high: Any
    digest_low: Any
    peak_bytes: Any
    projected_bytes: Any
    stop: Any
    compute_seconds: Any
    held_bytes: Any
    rows_checksum: Any

    @staticmethod
    def by_all(table: np.ndarray) -> "Told":
        """What all ranks have told, from the table of their figures, (world, columns)."""
        return Told(*table.T[:COLUMNS])

    @property
    def digests(self) -> np.ndarray:
        """The digests of the ranks' parameters, (world, 2)."""
        return np.stack([self.digest_high, self.digest_low], axis=1)

    def row(self, group: Group, report: Report | None) -> dict[str, Any]:
        """The figures of memory and time that a step's row takes from all ranks; ``report`` is one rank's."""
        first_node = slice(group.formation.nodes[0])
        return {
            "projected_bytes": int(self.projected_bytes.max()) if report is not None else None,
            "peak_bytes": int(self.peak_bytes.max()) if report is not None else None,
            # The first node's, but for what the process itself takes: its budgets, its shared memory and what it keeps.
            "host_bytes": int(self.held_bytes[first_node].sum()) + group.arena.total_bytes if report is not None else None,
            "seconds_by_rank": [round(seconds, 6) for seconds in self.compute_seconds.tolist()],
        }


COLUMNS = len(Told._fields)
