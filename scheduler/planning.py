"""plan: by which steps a function's gradient would be computed, found out without computing it where that can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Unpack

import numpy as np

from ..checkpoint.plan import Plan
from ..checkpoint.planners import PLANNERS
from ..runtime import trees
from ..runtime.arguments import Arguments, check_function, check_scalar, split_aux
from ..runtime.array import Array
from ..runtime.errors import NeedsValueError
from ..runtime.streams import Rehearsal
from ..runtime.tape import ShapesOnly, Tape
from .captures import weighed
from .following import called_seconds, projected_seconds
from .known import Known, complete
from .loops.record import Loops
from .loops.states import Files
from .options import Budget, Options, read_options
from .run import Request, run


def plan(
    f: Callable,
    *args: Any,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    **budget: Unpack[Budget],
) -> Plan:
    """Return the plan by which `grad(f, memory_budget=...)` would run on arguments like `args`; see `grad` for the budget.

    `f` is recorded by shapes alone where it can be; a program whose path depends on values is run once, inside the
    budget. Where a call takes less than 0.4 s, some are made by the plan, to tell what they take; of longer ones, and of
    those that would write to a disk or run functions of `rt.primitive`, each operation is timed on arrays like its own.
    Without a budget the plan keeps everything, and nothing is run. Raises `MemoryBudgetError` when no plan fits, and what
    `grad` raises for a budget that cannot be read.

    >>> import numpy as np, retape as rt
    >>> made = rt.plan(lambda w: np.sum(np.tanh(np.tanh(w))), np.zeros(1000), memory_budget="1MiB")
    >>> made.planner, made.projected_peak_bytes <= made.budget_bytes
    ('keep_all', True)
    """
    options = read_options("plan", budget)
    known = recorded(f, args, argnums, has_aux, options)
    if options is None:
        made = PLANNERS["keep_all"](known.plannable, float("inf"))
        assert made is not None
        return replace(made, projected_seconds=projected_seconds(made, known))
    made = known.settle(options)
    expected = projected_seconds(made, known)
    called = called_seconds(Request(f, args, {}, argnums, options, has_aux), known, expected)
    return replace(made, projected_seconds=expected if called is None else called)


def recorded(f: Callable, args: tuple, argnums: int | Sequence[int], has_aux: bool, options: Options | None = None) -> Known:
    """Return the program of a function: by shapes alone where that can be, else run once, inside the budget."""
    check_function(f)
    try:
        with Rehearsal():
            return known_by_shapes(f, args, argnums, has_aux, options)
    except NeedsValueError:
        within = Options(2**62) if options is None else replace(options, planning_effort=0, subscriber=None)
        with Rehearsal():
            known = run(Request(f, args, {}, argnums, within, has_aux), None).known
        assert known is not None
        known.plan = None  # found in passing, with the least effort
        return known


def known_by_shapes(f: Callable, args: tuple, argnums: int | Sequence[int], has_aux: bool, options: Options | None) -> Known:
    """Return a program recorded without computing anything. Raises `NeedsValueError` when its path depends on values."""
    budget, folder = (math.inf, None) if options is None else (options.budget_bytes, options.spill)
    with Tape(ShapesOnly()) as tape:
        tape.loops = Loops(budget, None if folder is None else Files(folder))
        arguments = Arguments(args, argnums, tape.input)
        slots = [array._slot for array in arguments.arrays]
        output, aux = split_aux(f(*arguments.traced), has_aux)
        check_scalar(output)
        end = output._slot if type(output) is Array and output._level is tape else None
        kept = [leaf._slot for leaf in trees.flatten(aux)[0] if type(leaf) is Array and leaf._level is tape]
        tape.values[: len(slots)] = [None] * len(slots)
        passed_in = [leaf for leaf in trees.flatten(args)[0] if isinstance(leaf, np.ndarray)]
        captures = weighed(tape, passed_in, args)
        known = complete(tape, None, end, kept, slots, captures.held_bytes)
        known.held_elsewhere = captures.held_elsewhere
        return known
