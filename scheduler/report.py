"""The report of one call: what was allowed, what the plan said, what was measured."""

from __future__ import annotations

from dataclasses import dataclass

from ..checkpoint.units import format_bytes


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of the last call under a budget: ``peak_bytes <= projected_bytes <= budget_bytes``.

    `extra_work` is estimated work beyond computing everything once, as a fraction (0.3 is 30 % more). `planner` is
    "online" where no plan was known or the program left it. `microbatch` is the number of rows of one microbatch, or None.
    `spilled_bytes` were written to disk. `seconds` is what the call took, planning included.
    """

    budget_bytes: int
    projected_bytes: int
    peak_bytes: int
    extra_work: float
    planner: str
    microbatch: int | None = None
    spilled_bytes: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        size = f", microbatches of {self.microbatch}" if self.microbatch is not None else ""
        spilled = f", {format_bytes(self.spilled_bytes)} spilled" if self.spilled_bytes else ""
        return (
            f"peak {format_bytes(self.peak_bytes)} <= projected {format_bytes(self.projected_bytes)} <= budget "
            f"{format_bytes(self.budget_bytes)}, {100 * self.extra_work:.1f} % extra work, by {self.planner}{size}{spilled}, "
            f"in {self.seconds:.3g} s"
        )
