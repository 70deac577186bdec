"""grad, value_and_grad and plan: a function becomes a tape, a plan, a schedule, and gradients inside a budget."""

from __future__ import annotations

import functools
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from ..checkpoint.errors import MemoryBudgetError
from ..checkpoint.plan import Plan
from ..checkpoint.planners import PLANNERS, check_effort, check_name
from ..checkpoint.saved import SavedPlan, make_plan
from ..checkpoint.units import parse_bytes
from ..runtime import trees
from ..runtime.arguments import Arguments, check_disconnected, check_scalar, split_aux
from ..runtime.array import Array
from ..runtime.errors import InputError, NeedsValueError
from ..runtime.streams import Rehearsal
from ..runtime.tape import ShapesOnly, Tape
from ..runtime.transforms import plain_value_and_grad
from ..runtime.watch import is_watched
from .captures import constants_bytes
from .events import Finished, Planned, Subscriber
from .known import Known
from .loops.record import Loops
from .machine import budget_bytes
from .report import Report
from .run import Request, complete, run
from .spill import spill_folder
from .timing import projected_seconds

_MOST_KNOWN = 32


def grad(
    f: Callable,
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    allow_int: bool = False,
    disconnected: str = "zeros",
    memory_budget: int | str | None = None,
    planner: str | SavedPlan = "best",
    planning_effort: int | None = None,
    spill: str | PathLike | None = None,
    spill_budget: int | str | None = None,
    subscriber: Subscriber | None = None,
) -> Gradient:
    """Return a function that computes the gradient of `f`, a scalar function of nested containers of arrays.

    The gradient has the containers, shapes and dtypes of the arguments that `argnums` names (a tuple of gradients for
    several). With `has_aux`, `f` returns ``(loss, auxiliary)`` and the result is ``(gradient, auxiliary)``. Of complex
    arguments it is ``df/dx - i df/dy``. Leaves of integers raise unless `allow_int`, which gives them zeros;
    `disconnected` is "zeros" or "error", for arguments that the output does not depend on.

    `memory_budget` (bytes, or a text such as "512MiB") bounds every buffer that the call creates, the returned
    gradients included; what does not fit is freed and computed again, with the same numbers bit for bit (but for
    single complex numbers, of whose products NumPy rounds the last bit otherwise than in arrays). "auto" is what this
    machine or the process's control group has free as `grad` is called, less a tenth. `planner` names who plans, or is a
    plan from `load_plan`; a search for one takes about `planning_effort` simulated steps (100,000 by default, which are
    about a second; more may find a plan with less extra work).

    With `spill`, a folder, what does not fit goes to disk and back instead where that is faster, up to `spill_budget`
    bytes (without one, half of what is free there); the file has no name and is gone however the call ends. `subscriber`
    is called with the events of a call under a budget (`scheduler/events.py`), as it goes on; an error that it raises
    ends the call. See `.report` of the returned function.

    Raises `MemoryBudgetError` before the memory is taken when no plan fits, `SpillError` for a folder that cannot be
    written to and for a disk that fails while values are on it, `InputError` for arguments or outputs that have no
    derivative, `DisconnectedError`, `PlanMismatchError` for a loaded plan of another program, `ValueError` for a budget
    that cannot be read.

    >>> import numpy as np, retape as rt
    >>> rt.grad(lambda w: np.sum(np.tanh(w) ** 2), memory_budget="1MiB")(np.zeros(2)).tolist()
    [0.0, 0.0]
    """
    options: dict[str, Any] = {"has_aux": has_aux, "allow_int": allow_int, "disconnected": disconnected}
    options |= {"planning_effort": planning_effort, "spill": spill, "spill_budget": spill_budget, "subscriber": subscriber}
    return Gradient(f, argnums, memory_budget=memory_budget, planner=planner, with_value=False, **options)


def value_and_grad(
    f: Callable,
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    allow_int: bool = False,
    disconnected: str = "zeros",
    memory_budget: int | str | None = None,
    planner: str | SavedPlan = "best",
    planning_effort: int | None = None,
    spill: str | PathLike | None = None,
    spill_budget: int | str | None = None,
    subscriber: Subscriber | None = None,
) -> Gradient:
    """Return a function that computes ``(value, gradient)`` of `f`, or ``((value, auxiliary), gradient)``; see `grad`.

    >>> import numpy as np, retape as rt
    >>> value, gradient = rt.value_and_grad(lambda x: x**2)(3.0)
    >>> float(value), float(gradient)
    (9.0, 6.0)
    """
    options: dict[str, Any] = {"has_aux": has_aux, "allow_int": allow_int, "disconnected": disconnected}
    options |= {"planning_effort": planning_effort, "spill": spill, "spill_budget": spill_budget, "subscriber": subscriber}
    return Gradient(f, argnums, memory_budget=memory_budget, planner=planner, with_value=True, **options)


class Gradient:
    """A function's gradient, made by `grad` or `value_and_grad`. `report` tells of the last call under a budget.

    Programs that were seen before are kept, up to 32: the same program with the same shapes is planned once.
    """

    def __init__(
        self,
        f: Callable,
        argnums: int | Sequence[int],
        *,
        has_aux: bool,
        allow_int: bool,
        disconnected: str,
        memory_budget: int | str | None,
        planner: str | SavedPlan,
        with_value: bool,
        planning_effort: int | None = None,
        spill: str | PathLike | None = None,
        spill_budget: int | str | None = None,
        subscriber: Subscriber | None = None,
    ) -> None:
        if not callable(f):
            raise InputError(f"a gradient is taken of a function, not of {type(f).__name__}")
        if not isinstance(planner, SavedPlan):
            check_name(planner)
        check_effort(planning_effort)
        check_disconnected(disconnected)
        if subscriber is not None and not callable(subscriber):
            raise InputError(f"subscriber= is called with each event of a call, which {subscriber!r} cannot be")
        functools.update_wrapper(self, f, updated=())
        self.function = f
        self.argnums = argnums
        self.has_aux = has_aux
        self.options: dict[str, Any] = {"allow_int": allow_int, "disconnected": disconnected}
        self.budget_bytes = None if memory_budget is None else budget_bytes(memory_budget)
        self.spill = None
        if spill is not None:
            if memory_budget is None:
                raise ValueError("spill= says where values go that a memory_budget has no room for: give a memory_budget too")
            most_bytes = None if spill_budget is None else parse_bytes(spill_budget, name="spill_budget")
            self.spill = spill_folder(spill, most_bytes)
        elif spill_budget is not None:
            raise ValueError("spill_budget= bounds what spill= writes: name a folder with spill= too")
        self.planner = planner
        self.planning_effort = planning_effort
        self.with_value = with_value
        self.subscriber = subscriber
        self.report: Report | None = None
        self._known: OrderedDict[Any, Known] = OrderedDict()

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        """Return the gradient (and the value) at the arguments."""
        if self.budget_bytes is None or is_watched(trees.flatten((args, keywords))[0]):
            value, aux, gradients = plain_value_and_grad(
                self.function, args, self.argnums, keywords, has_aux=self.has_aux, **self.options
            )
        else:
            value, aux, gradients = self._within_budget(args, keywords, self.budget_bytes)
        if not self.with_value:
            return (gradients, aux) if self.has_aux else gradients
        return ((value, aux), gradients) if self.has_aux else (value, gradients)

    def _within_budget(self, args: tuple, keywords: dict, budget: int) -> tuple[Any, Any, Any]:
        key = signature(args, keywords, self.argnums)
        known = self._known.get(key)
        more = {"effort": self.planning_effort, "spill": self.spill, **self.options}
        request = Request(self.function, args, keywords, self.argnums, budget, self.planner, self.has_aux, **more)
        start = time.perf_counter()
        outcome = run(request, None if known is None else self._planned(known, budget), self.subscriber)
        self.report = replace(outcome.report, seconds=time.perf_counter() - start)
        if self.subscriber is not None:
            self.subscriber(Finished(self.report))
        if outcome.known is not None and (known is None or not known.is_planless):
            self._known[key] = outcome.known
            self._known.move_to_end(key)
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return outcome.value, outcome.aux, outcome.gradients

    def _planned(self, known: Known, budget: int) -> Known | None:
        """Plan a program that is seen for the second time; None where only the online policy finds a way."""
        if known.is_planless:
            return None
        if known.script:
            return known
        try:
            known.settle(budget, self.planner, self.spill, effort=self.planning_effort)
        except MemoryBudgetError:
            if self.planner != "best":
                raise
            known.is_planless = True
            return None
        known.write_script()
        if self.subscriber is not None and known.plan is not None:
            self.subscriber(Planned(known.plan))
        return known


def signature(args: tuple, keywords: dict, argnums: Any) -> Any:
    """Return what must be equal for two calls to be compared at all: containers, shapes and dtypes of all arguments."""
    leaves, treedef = trees.flatten((args, keywords))
    kinds = tuple(
        (leaf.shape, leaf.dtype, leaf.strides) if isinstance(leaf, np.ndarray) else type(leaf).__name__ for leaf in leaves
    )
    return treedef, kinds, argnums if isinstance(argnums, int) else tuple(argnums)


def plan(
    f: Callable,
    *args: Any,
    memory_budget: int | str | None = None,
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    planner: str | SavedPlan = "best",
    planning_effort: int | None = None,
) -> Plan:
    """Return the plan by which `grad(f, memory_budget=...)` would run on arguments like `args`.

    `f` is recorded by shapes alone where it can be; a program whose path depends on values is run once, inside the
    budget. Without a budget the plan keeps everything. Raises `MemoryBudgetError` when no plan fits.

    >>> import numpy as np, retape as rt
    >>> made = rt.plan(lambda w: np.sum(np.tanh(np.tanh(w))), np.zeros(1000), memory_budget="1MiB")
    >>> made.planner, made.projected_peak_bytes <= made.budget_bytes
    ('keep_all', True)
    """
    budget = None if memory_budget is None else budget_bytes(memory_budget)
    known = recorded(f, args, argnums, has_aux, budget=budget, planner=planner)
    if budget is None:
        made = PLANNERS["keep_all"](known.program, float("inf"))
        assert made is not None
    else:
        made = make_plan(known.program, budget, planner, effort=planning_effort)
    return replace(made, projected_seconds=projected_seconds(made, known.lowering))


def recorded(
    f: Callable,
    args: tuple,
    argnums: int | Sequence[int],
    has_aux: bool,
    *,
    budget: int | None = None,
    planner: str | SavedPlan = "best",
) -> Known:
    """Return the program of a function: by shapes alone where that can be, else run once, inside the budget."""
    try:
        with Rehearsal():
            return known_by_shapes(f, args, argnums, has_aux, math.inf if budget is None else budget)
    except NeedsValueError:
        most = budget if budget is not None else 2**62
        with Rehearsal():
            known = run(Request(f, args, {}, argnums, most, planner, has_aux, effort=0), None).known
        assert known is not None
        return known


def known_by_shapes(f: Callable, args: tuple, argnums: int | Sequence[int], has_aux: bool, budget: float) -> Known:
    """Return a program recorded without computing anything. Raises `NeedsValueError` when its path depends on values."""
    with Tape(ShapesOnly()) as tape:
        tape.loops = Loops(budget)
        arguments = Arguments(args, argnums, tape.input)
        slots = [array._slot for array in arguments.arrays]
        output, aux = split_aux(f(*arguments.traced), has_aux)
        check_scalar(output)
        end = output._slot if type(output) is Array and output._level is tape else None
        kept = [leaf._slot for leaf in trees.flatten(aux)[0] if type(leaf) is Array and leaf._level is tape]
        tape.values[: len(slots)] = [None] * len(slots)
        return complete(
            tape,
            None,
            end,
            kept,
            slots,
            constants_bytes(tape, [leaf for leaf in trees.flatten(args)[0] if isinstance(leaf, np.ndarray)], args),
        )
