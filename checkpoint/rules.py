"""Rules of eviction: how the cost of getting a value back and its age are counted, and which values are held back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

NEVER = float("inf")


class Hold(NamedTuple):
    """A planner's wish to keep a value, because a whole segment can be recomputed from it and its neighbours.

    It counts as used at position `until`, and is evicted `weight` times less readily than its cost says.
    """

    weight: float
    until: float


@dataclass(frozen=True, slots=True)
class Rule:
    """How the value to evict is chosen: the one with the least cost of getting it back x weight / (bytes x age ** power).

    `cost` counts its evicted "ancestors", or the evicted "classes" next to it (see `classes`). `age` is the distance to the
    "next use", the time since the "last use" (staleness), or "none"; `power` is 1, 1/2 or 1/4.
    """

    cost: Literal["ancestors", "classes"] = "ancestors"
    age: Literal["next use", "last use", "none"] = "next use"
    power: float = 1.0


NEXT_USE = Rule()
ONLINE = Rule(age="last use")
