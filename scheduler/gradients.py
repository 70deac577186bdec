"""grad, value_and_grad and plan: a function becomes a tape, a plan, a schedule, and gradients inside a budget."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..checkpoint.errors import MemoryBudgetError
from ..checkpoint.plan import Plan
from ..checkpoint.planners import PLANNERS, best, check_name
from ..checkpoint.units import parse_bytes
from ..runtime import trees
from ..runtime.arguments import Arguments, check_disconnected, check_scalar, split_aux
from ..runtime.array import Array
from ..runtime.errors import InputError, NeedsValueError
from ..runtime.streams import Rehearsal
from ..runtime.tape import ShapesOnly, Tape
from ..runtime.transforms import plain_value_and_grad
from ..runtime.watch import is_watched
from .captures import Captures
from .known import Known
from .report import Report
from .run import Request, complete, run
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
    planner: str = "best",
    planning_effort: int | None = None,
) -> Gradient:
    """Return a function that computes the gradient of `f`, a scalar function of nested containers of arrays.

    The gradient has the containers, shapes and dtypes of the arguments that `argnums` names (a tuple of gradients for
    several). With `has_aux`, `f` returns ``(loss, auxiliary)`` and the result is ``(gradient, auxiliary)``. Of complex
    arguments it is ``df/dx - i df/dy``. Leaves of integers raise unless `allow_int`, which gives them zeros;
    `disconnected` is "zeros" or "error", for arguments that the output does not depend on.

    `memory_budget` (bytes, or a text such as "512MiB") bounds every buffer that the call creates, the returned
    gradients included; what does not fit is freed and computed again, with the same numbers bit for bit (but for
    single complex numbers, of whose products NumPy rounds the last bit otherwise than in arrays). See `.report` of the
    returned function. The search for a plan takes about `planning_effort` simulated steps (10,000 are about a tenth of a
    second; 100,000 are usual): fewer plan faster, more may find a plan with less extra work. Raises `MemoryBudgetError` before the memory is taken when no plan fits, `InputError` for
    arguments or outputs that have no derivative, `DisconnectedError`, `ValueError` for a budget that cannot be read.

    >>> import numpy as np, retape as rt
    >>> rt.grad(lambda w: np.sum(np.tanh(w) ** 2), memory_budget="1MiB")(np.zeros(2)).tolist()
    [0.0, 0.0]
    """
    options = {"has_aux": has_aux, "allow_int": allow_int, "disconnected": disconnected}
    plans: dict[str, Any] = {"memory_budget": memory_budget, "planner": planner, "planning_effort": planning_effort}
    return Gradient(f, argnums, with_value=False, **plans, **options)


def value_and_grad(
    f: Callable,
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: bool = False,
    allow_int: bool = False,
    disconnected: str = "zeros",
    memory_budget: int | str | None = None,
    planner: str = "best",
    planning_effort: int | None = None,
) -> Gradient:
    """Return a function that computes ``(value, gradient)`` of `f`, or ``((value, auxiliary), gradient)``; see `grad`.

    >>> import numpy as np, retape as rt
    >>> value, gradient = rt.value_and_grad(lambda x: x**2)(3.0)
    >>> float(value), float(gradient)
    (9.0, 6.0)
    """
    options = {"has_aux": has_aux, "allow_int": allow_int, "disconnected": disconnected}
    plans: dict[str, Any] = {"memory_budget": memory_budget, "planner": planner, "planning_effort": planning_effort}
    return Gradient(f, argnums, with_value=True, **plans, **options)


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
        planner: str,
        planning_effort: int | None,
        with_value: bool,
    ) -> None:
        if not callable(f):
            raise InputError(f"a gradient is taken of a function, not of {type(f).__name__}")
        check_name(planner)
        check_disconnected(disconnected)
        functools.update_wrapper(self, f, updated=())
        self.function = f
        self.argnums = argnums
        self.has_aux = has_aux
        self.options: dict[str, Any] = {"allow_int": allow_int, "disconnected": disconnected}
        self.budget_bytes = None if memory_budget is None else parse_bytes(memory_budget)
        self.planner = planner
        self.planning_effort = planning_effort
        self.with_value = with_value
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
        how = budget, self.planner, self.planning_effort
        request = Request(self.function, args, keywords, self.argnums, *how, self.has_aux, **self.options)
        outcome = run(request, None if known is None else self._planned(known, budget))
        self.report = outcome.report
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
            known.settle(budget, self.planner, self.planning_effort)
        except MemoryBudgetError:
            if self.planner != "best":
                raise
            known.is_planless = True
            return None
        known.write_script()
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
    planner: str = "best",
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
    budget = None if memory_budget is None else parse_bytes(memory_budget)
    try:
        with Rehearsal():
            known = known_by_shapes(f, args, argnums, has_aux)
    except NeedsValueError:
        most = budget if budget is not None else 2**62
        with Rehearsal():
            known = run(Request(f, args, {}, argnums, most, planner, planning_effort, has_aux), None).known
        assert known is not None
    if budget is None:
        made = PLANNERS["keep_all"](known.program, float("inf"))
        assert made is not None
    else:
        made = best(known.program, budget, planner, effort=planning_effort)
    return replace(made, projected_seconds=projected_seconds(made, known.lowering))


def known_by_shapes(f: Callable, args: tuple, argnums: int | Sequence[int], has_aux: bool) -> Known:
    """Return a program recorded without computing anything. Raises `NeedsValueError` when its path depends on values."""
    with Tape(ShapesOnly()) as tape:
        arguments = Arguments(args, argnums, tape.input)
        slots = [array._slot for array in arguments.arrays]
        output, aux = split_aux(f(*arguments.traced), has_aux)
        check_scalar(output)
        end = output._slot if type(output) is Array and output._level is tape else None
        kept = [leaf._slot for leaf in trees.flatten(aux)[0] if type(leaf) is Array and leaf._level is tape]
        tape.values[: len(slots)] = [None] * len(slots)
        return complete(tape, None, end, kept, slots, constants_bytes(tape, args))


def constants_bytes(tape: Tape, args: tuple) -> int:
    """Return an estimate of the bytes of the constants that the program made itself; what is large is looked up."""
    leaves = [leaf for leaf in trees.flatten(args)[0] if isinstance(leaf, np.ndarray)]
    counter = Captures(tape, leaves, args, {})
    for slot, value in enumerate(tape.values):
        if isinstance(value, np.ndarray) and slot not in tape.inputs:
            counter.weigh(slot, value)
    return counter.held_bytes
