"""rt.tradeoff: what a function's gradient costs in work for each amount of memory, from a recording of its shapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ..checkpoint.tradeoff import Tradeoff, weigh
from .following import projected_seconds
from .planning import recorded


def tradeoff(
    f: Callable,
    *args: Any,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    points: int = 10,
    planner: str = "best",
) -> Tradeoff:
    """Return `points` plans of the gradient of `f` at `args`: from the memory without a budget to the smallest that works.

    `print` shows them as a table of budgets, extra work and seconds; `.plot("tradeoff.png")` draws it; `.plans` are the
    plans. Raises `ValueError` for less than two points.

    >>> import numpy as np, retape as rt
    >>> found = rt.tradeoff(lambda x: np.sum(np.sin(np.sin(np.sin(x)))), np.ones(1000), points=3)
    >>> found.plans[0].extra_work, found.plans[-1].extra_work > 0
    (0.0, True)
    """
    if points < 2:
        raise ValueError(f"points={points} must be at least 2: the memory without a budget, and the smallest that works")
    known = recorded(f, args, argnums, has_aux)
    kinds: dict = {}
    plans = weigh(known.plannable, points, planner).plans
    timed = (replace(plan, projected_seconds=projected_seconds(plan, known, kinds)) for plan in plans)
    return Tradeoff(tuple(timed))
