"""Options: what a call may take and who plans it, read once from the keywords that all transforms share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from os import PathLike
from typing import TypedDict

from ..checkpoint.planners import check_effort, check_name
from ..checkpoint.saved import SavedPlan
from ..checkpoint.units import parse_bytes
from ..runtime.errors import InputError
from .events import Subscriber
from .machine import budget_bytes
from .spill import SpillFolder, spill_folder


class Budget(TypedDict, total=False):
    """The keywords that every transform with a budget takes.

    `memory_budget` (bytes, or a text such as "512MiB") bounds every buffer that a call creates, its results included; what
    does not fit is freed and computed again, with the same numbers bit for bit. "auto" is what this machine or the
    process's control group has free as the transform is made, less a tenth; None, no bound, makes the others idle.
    `planner` names who plans, or is a plan from `load_plan`. A search for a plan takes about `planning_effort` simulated
    steps: 100,000 by default, about a second. With `spill`, a folder, what does not fit goes to disk and back where that is
    faster than computing it again, up to `spill_budget` bytes (by default half of what is free there); the file has no name
    and is gone however the call ends. `subscriber` is called with the events of every call (`scheduler/events.py`); an
    error that it raises ends the call.
    """

    memory_budget: int | str | None
    planner: str | SavedPlan
    planning_effort: int | None
    spill: str | PathLike | None
    spill_budget: int | str | None
    subscriber: Subscriber | None


@dataclass(frozen=True, slots=True)
class Options:
    """What one call may take: `budget_bytes` of memory, and a folder to spill into; who plans, and who is told."""

    budget_bytes: int
    planner: str | SavedPlan = "best"
    planning_effort: int | None = None
    spill: SpillFolder | None = None
    subscriber: Subscriber | None = None

    def less(self, nbytes: int) -> Options:
        """Return the same options with so much less memory."""
        return dataclasses.replace(self, budget_bytes=self.budget_bytes - nbytes)


def read_options(name: str, budget: Budget) -> Options | None:
    """Return the options that the transform of this name was given, or None without a memory budget.

    Everything is checked at once, whether it will be used or not. Raises `TypeError` for a keyword that is none of
    `Budget`'s, `ValueError` for one that cannot be read, `InputError` for a subscriber that cannot be called, `SpillError`
    for a folder that cannot be written to.
    """
    unknown = [word for word in budget if word not in Budget.__annotations__]
    if unknown:
        known = ", ".join(Budget.__annotations__)
        raise TypeError(f"{name}() got an unexpected keyword {unknown[0]!r}; those of a memory budget are: {known}")
    planner, subscriber = budget.get("planner", "best"), budget.get("subscriber")
    if not isinstance(planner, SavedPlan):
        check_name(planner)
    check_effort(budget.get("planning_effort"))
    if subscriber is not None and not callable(subscriber):
        raise InputError(f"subscriber= is called with each event of a call, which {subscriber!r} cannot be")
    memory_budget, spill, spill_budget = budget.get("memory_budget"), budget.get("spill"), budget.get("spill_budget")
    if spill is not None and memory_budget is None:
        raise ValueError("spill= says where values go that a memory_budget has no room for: give a memory_budget too")
    if spill is None and spill_budget is not None:
        raise ValueError("spill_budget= bounds what spill= writes: name a folder with spill= too")
    if memory_budget is None:
        return None
    if spill is None and isinstance(planner, SavedPlan) and planner.is_spilling:
        raise ValueError(f"the plan{planner.where()} writes values to disk: name a folder with spill= too")
    most_bytes = None if spill_budget is None else parse_bytes(spill_budget, name="spill_budget")
    folder = None if spill is None else spill_folder(spill, most_bytes)
    return Options(budget_bytes(memory_budget), planner, budget.get("planning_effort"), folder, subscriber)
