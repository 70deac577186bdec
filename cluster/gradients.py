"""Makes the mean gradient of a global batch from a rank's shards of it, reduced while the last ones are being computed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..runtime import random
from ..scheduler.microbatch import Accumulate
from ..scheduler.report import Report
from .comm.buckets import buckets
from .comm.group import Group
from .comm.overlap import Overlap


class Gradients:
    """One rank's gradients in one formation.

    They are born in the arena, shard by shard. In the first step the order is seen in which the first rank's reverse sweep
    finishes them; from then on they are reduced in that order, bucket by bucket, while the sweep goes on. That pays
    where the sum travels: within one node it is as fast as a copy, and its cores have the sweep to do, so that there
    everything is reduced at the end.
    """

    def __init__(self, step: Accumulate, group: Group, *, seed: int) -> None:
        """Computes nothing yet. ``step`` is of the loss, ``seed`` that of its random draws."""
        self._step, self._group, self._seed = step, group, seed
        self._overlap: Overlap | None = None
        self._order: list[int] = []
        self.report: Report | None = None

    def compute(self, params: Any, step: int, batch: Callable[[], Any], pieces: Sequence[np.ndarray]) -> list[float]:
        """Computes the gradients of this rank's ``pieces`` of the global batch; returns their losses, shard by shard.

        ``batch()`` gives the examples of one piece after the other, but for those that have none.
        The sum of all ranks is divided by the number of shards, so that a shard of uneven size is scaled.
        """
        group, losses, total = self._group, [], sum(map(len, pieces))
        is_even = len({len(piece) for piece in pieces}) == 1
        self._order = []
        if self._overlap is not None:
            self._overlap.begin(divisor=len(pieces))
        for number, put in enumerate(group.puts):
            piece = pieces[put.shard]
            # What the loss draws depends on the shard, not on the worker that happens to have it.
            np.random.seed([self._seed % 2**32, step, put.shard])
            random.seed([self._seed % 2**64, step, put.shard])
            scale = 1.0 if is_even else len(piece) * len(pieces) / total
            if not len(piece):
                # An epoch's last batch may have fewer examples than there are shards.
                landing = group.landing(number, 1.0, self._ready)
                for leaf, place in enumerate(group.result):
                    landing.on_gradient(leaf, np.zeros((), place.dtype))
                losses.append(0.0)
                continue
            landing = group.landing(number, scale, self._ready)
            losses.append(float(self._step.into(landing, params, batch())))
            group.beat()
            self.report = self._step.report
        return losses

    def reduce(self, shards: int) -> None:
        """Sums all ranks' gradients up; the mean is in the group's result after its ``finish``."""
        if self._overlap is not None:
            self._overlap.finish()
        else:
            self._group.reduce(divisor=shards)

    def learn(self) -> None:
        """Agrees on the buckets, after a first step; does nothing where they are of no use."""
        changes = self._group.travelling is not self._group.layout  # buckets are places, and rows have others in each step
        if self._overlap is not None or len(self._group.formation.nodes) == 1 or changes:
            return
        sizes = [leaf.nbytes for leaf in self._group.result]
        order = self._group.finish([float(leaf) for leaf in self._order])[0, : len(sizes)]
        self._overlap = Overlap(self._group, buckets([int(leaf) for leaf in order], sizes))

    def close(self) -> None:
        """Ends the thread that reduces, if there is one."""
        if self._overlap is not None:
            self._overlap.close()

    def _ready(self, leaf: int) -> None:
        self._order.append(leaf)
        if self._overlap is not None:
            self._overlap.ready(leaf)
