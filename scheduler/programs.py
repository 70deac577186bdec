"""Programs: what a function was seen to do under one set of options, so that a call like an earlier one runs by a plan."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np

from ..checkpoint.errors import MemoryBudgetError
from ..runtime import trees
from .events import Finished, Planned
from .known import Known
from .options import Options
from .paths import Paths
from .report import Report
from .run import Outcome, Request, run

_MOST_KNOWN = 32


class Programs:
    """The programs seen by the form of their arguments, up to 32; `report` tells of the last call.

    The same program with arguments of the same form is planned once, when it comes for the second time (see `Paths`).
    """

    def __init__(self) -> None:
        self.report: Report | None = None
        self._seen: OrderedDict[Any, Paths] = OrderedDict()

    def known(self) -> list[Known]:
        """Return the programs that are remembered."""
        return [path for paths in self._seen.values() for path in paths.known]

    def run(self, request: Request) -> Outcome:
        """Run a request by the plan of the program that it was seen to be, or see what it is."""
        options = request.options
        key = signature(request.args, request.keywords, request.argnums)
        paths = self._seen.get(key) or Paths()
        expected = paths.expected()
        start = time.perf_counter()
        outcome = run(request, None if expected is None else _planned(expected, options))
        self.report = replace(outcome.report, seconds=time.perf_counter() - start)
        if options.subscriber is not None:
            options.subscriber(Finished(self.report))
        paths.note(expected, outcome.known)
        self._seen[key] = paths
        self._seen.move_to_end(key)
        while len(self.known()) > _MOST_KNOWN:
            oldest = next(iter(self._seen.values()))
            oldest.forget(oldest.known[0])
            if not oldest.known:
                self._seen.popitem(last=False)
        return outcome


def _planned(known: Known, options: Options) -> Known | None:
    """Plan a program that is seen for the second time; None where only the online policy finds a way."""
    if known.is_planless:
        return None
    if known.script:
        return known
    try:
        plan = known.settle(options)
    except MemoryBudgetError:
        if options.planner != "best":
            raise
        known.is_planless = True
        return None
    known.write_script()
    if options.subscriber is not None:
        options.subscriber(Planned(plan))
    return known


def signature(args: tuple, keywords: dict, argnums: Any) -> Any:
    """Return what must be equal for two calls to be compared at all: containers, shapes and dtypes of all arguments."""
    leaves, treedef = trees.flatten((args, keywords))
    kinds = tuple(
        (leaf.shape, leaf.dtype, leaf.strides) if isinstance(leaf, np.ndarray) else type(leaf).__name__ for leaf in leaves
    )
    return treedef, kinds, argnums if isinstance(argnums, int) else tuple(argnums)
