"""The error of a budget that cannot hold a program."""

from __future__ import annotations


class MemoryBudgetError(MemoryError):
    """A program does not fit into its budget; raised before the memory is taken.

    `needed_bytes` is what the cheapest plan needs (or a lower bound of it), `budget_bytes` what was allowed.
    """

    def __init__(self, message: str, *, needed_bytes: int, budget_bytes: int) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.budget_bytes = budget_bytes


class DoesNotFit(Exception):
    """Raised by the residency when nothing can be evicted any more; carries what was needed at that point."""

    def __init__(self, value: int, needed_bytes: int) -> None:
        super().__init__(f"value {value} needs {needed_bytes} bytes")
        self.value = value
        self.needed_bytes = needed_bytes
