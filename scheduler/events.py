"""Events: what a call under a budget tells whoever subscribes, while it goes on (progress bars, memory timelines, traces)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..checkpoint.plan import Plan
from .report import Report


@dataclass(frozen=True, slots=True)
class Planned:
    """A program that was seen before has a plan now, by which this call and later ones run."""

    plan: Plan


@dataclass(frozen=True, slots=True)
class Stepped:
    """A value was made or freed, `done` of them so far in this call; bytes by the ledger, those for reuse in `idle_bytes`."""

    done: int
    live_bytes: int
    idle_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The call has its results."""

    report: Report


Event = Planned | Stepped | Finished
Subscriber = Callable[[Event], None]
