"""The outline of a loop: what is known of it by shapes, or from its first step, before it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ...checkpoint.loops.share import LoopCosts, Share


@dataclass(eq=False, slots=True)
class Outline:
    """What stands for a loop on tapes, and outlives the call: no arrays of the user's are in here.

    `signature` is what must be equal for a loop to be this one, `closures` are the slots of arrays that its steps use from
    around it, `is_active` tells of the leaves of its last carry and of its outputs whether they have a derivative,
    `kinds` are their shapes and dtypes. `programs` are those of its blocks.
    """

    signature: tuple
    costs: LoopCosts
    share: Share
    closures: tuple[int, ...]
    results: list[ResultKind]
    output_tree: Any
    programs: dict = field(default_factory=dict)

    def states_bytes(self) -> int:
        """Return the bytes of the loop's results and states."""
        return self.costs.states_bytes(self.share)

    def forward_workspace(self) -> int:
        """Return the bytes that running the loop takes beside them."""
        return self.costs.forward_workspace(self.share)

    def reverse_workspace(self) -> int:
        """Return the bytes that reversing it takes beside its cotangents."""
        return self.costs.reverse_workspace(self.share)

    def forward_seconds(self) -> float:
        """Return the estimated seconds of running the loop."""
        return self.costs.forward_seconds(self.share)

    def reverse_seconds(self) -> float:
        """Return the estimated seconds of reversing it."""
        return self.costs.reverse_seconds(self.share)


@dataclass(slots=True)
class ResultKind:
    """What a result of a loop is: plain ones are no arrays of the tape, and active ones have a derivative."""

    shape: tuple[int, ...]
    dtype: Any
    is_plain: bool
    is_active: bool
    is_number: bool

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        size = self.dtype.itemsize if hasattr(self.dtype, "itemsize") else 0
        for extent in self.shape:
            size *= extent
        return size
