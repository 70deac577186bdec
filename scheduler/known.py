"""Known programs: what is kept of a call, so that the next one like it runs by a plan from its first op on."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import islice

from ..checkpoint.errors import MemoryBudgetError
from ..checkpoint.plan import Plan
from ..checkpoint.planners import PLANNERS, refusal
from ..checkpoint.program import Program
from ..checkpoint.saved import SavedPlan, make_plan
from ..checkpoint.spilling import spilling
from ..checkpoint.steps import Compute, Step
from ..runtime.op import Op
from ..runtime.primitives import is_opaque
from ..runtime.tape import ShapesOnly, Tape
from .actions import Action, Layout
from .lowering import Lowering, record_bytes
from .schedule import replay, schedule
from .spill import SpillError, SpillFolder

# What the program is expected to call, and what is done then: op, input slots, parameters, output slot, actions.
Line = tuple[Op, tuple[int, ...], dict | None, int, tuple[Action, ...]]


_NEAR = 1.05  # times the work of computing everything once: a plan so good is taken without a search for others


class Known:
    """A program seen before: its tape, its lowering, what it returns, and (once it is planned) its script.

    `constants` are the values by slot that its reverse sweep brings itself. The `script` has a line for each call of the
    forward sweep; `rest` are the actions that follow.
    """

    def __init__(
        self,
        tape: Tape,
        lowering: Lowering,
        forward_calls: int,
        forward_slots: int,
        ends: tuple[int, ...],
        gradients: tuple[int, ...],
        disconnected: tuple[int, ...],
    ) -> None:
        self.tape = tape
        self.lowering = lowering
        self.forward_calls = forward_calls
        self.ends = ends
        self.gradients = gradients
        self.disconnected = disconnected
        self.record_bytes = record_bytes(len(tape.calls))
        self.constants = {k: value for k, value in enumerate(tape.values) if k >= forward_slots and value is not None}
        self.is_constant = bytearray(b"\1") * len(tape.values)
        for slot in (*tape.inputs, *tape.calls.outputs):
            self.is_constant[slot] = 0
        self.plan: Plan | None = None
        self.is_planless = False
        self.effort: int | None = None  # of planning
        self.held_elsewhere: dict[int, bool] = {}
        self.script: list[Line] = []
        self.rest: tuple[Action, ...] = ()

    @property
    def program(self) -> Program:
        """The planner's view of it."""
        return self.lowering.program

    def forget_values(self) -> None:
        """Let go of the user's arrays: only the reverse sweep's own constants stay."""
        skeleton = Tape(ShapesOnly())
        skeleton.inputs = self.tape.inputs
        skeleton.share(self.tape)
        for slot, value in self.constants.items():
            skeleton.values[slot] = value
        skeleton.close()
        self.tape = self.lowering.tape = skeleton

    def settle(self, budget: int, planner: str | SavedPlan, folder: SpillFolder | None, *, effort: int | None = None) -> Plan:
        """Plan the program, and check the plan's schedule without arrays before anything runs by it.

        Raises `MemoryBudgetError` when no plan fits.
        """
        if self.plan is None:
            self.effort = effort
            plan = self._planned(budget, planner, folder)
            replay(schedule(plan, self.lowering.call_of))
            self.plan = plan
        return self.plan

    def _planned(self, budget: int, planner: str | SavedPlan, folder: SpillFolder | None) -> Plan:
        if folder is None or isinstance(planner, SavedPlan):
            return self._recomputing(budget, planner)
        program = self.program
        plan = PLANNERS["keep_all"](program, budget)
        if plan is not None:
            return plan
        failure = None
        try:
            disk, may_spill = folder.disk(), self.lowering.may_spill()
            plan = spilling(program, budget, disk, may_spill)
        except SpillError as error:
            failure = error
        else:
            if plan is not None and plan.work_seconds + plan.waiting_seconds < _NEAR * program.work_seconds():
                return plan
        try:
            other = self._recomputing(budget, planner)
        except MemoryBudgetError as refused:
            if plan is None:
                refused.add_note(f"Nor can values be spilled: {failure or 'what one operation needs does not fit'}")
                raise
            return plan
        if plan is None or other.work_seconds < plan.work_seconds + plan.waiting_seconds:
            return other
        return plan

    def _recomputing(self, budget: int, planner: str | SavedPlan) -> Plan:
        plan = make_plan(self.program, budget, planner, effort=self.effort)
        if not self._is_prompt(plan):
            others = [made for name in PLANNERS if (made := PLANNERS[name](self.program, budget)) is not None]
            plan = min(filter(self._is_prompt, others), key=lambda plan: plan.work_seconds, default=None)
            if plan is None:
                raise refusal(self.program, budget)
        return plan

    def spill_into(self, file: Callable[[int], None], budget: int, planner: str | SavedPlan) -> None:
        """Open the plan's spill file by calling `file` with its bytes; where that fails, plan again without one.

        Raises `MemoryBudgetError` when no plan fits without.
        """
        if self.plan is None or not self.plan.spilled_bytes:
            return
        try:
            file(self.plan.spilled_bytes)
        except SpillError as error:
            self.plan = None
            try:
                self.settle(budget, planner, None, effort=self.effort)
            except MemoryBudgetError as refused:
                refused.add_note(f"Nor can values be spilled: {error}")
                raise
            if self.script:
                self.script = []
                self.write_script()

    def _is_prompt(self, plan: Plan) -> bool:
        """Tell whether a plan computes in its place whatever may fail: the program may catch the error there."""
        fragile = [v for v in range(self.program.forward) if _may_fail(self.tape.calls[self.lowering.call_of[v]][0])]
        if not fragile:
            return True
        first: dict[int, int] = {}
        for place, step in enumerate(plan.steps, start=1):
            if type(step) is Compute:
                first.setdefault(step.value, place)
        return all(first.get(v, math.inf) <= plan.stops[v] for v in fragile)

    def write_script(self) -> None:
        """Lay the plan out along the calls of the forward sweep."""
        assert self.plan is not None
        tape, layout = self.tape, Layout(self.lowering)
        steps = self.plan.steps
        value = done = 0
        for op, inputs, parameters, output in islice(tape.calls, self.forward_calls):
            due: tuple[Step, ...] = ()
            if tape.aliases[output] < 0:
                stop = self.plan.stops[value]
                due, done = steps[done:stop], stop
                value += 1
            self.script.append((op, inputs, parameters, output, tuple(layout.actions(due))))
        self.rest = tuple(layout.actions(steps[done:]))


_FRAGILE = frozenset(["lapack", "decompositions", "determinants", "eigenvalues", "singular_values"])


def _may_fail(op: Op) -> bool:
    """Tell whether an op may raise for the numbers that it is given: it solves or factors, or is somebody else's function."""
    home = getattr(op.run, "__module__", "")
    return is_opaque(op) or home.rpartition(".")[2] in _FRAGILE or "scipy" in home
