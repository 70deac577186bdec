"""Known programs: what is kept of a call, so that the next one like it runs by a plan from its first op on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice

import numpy as np

from ..checkpoint.errors import MemoryBudgetError
from ..checkpoint.fences import fenced
from ..checkpoint.plan import Plan
from ..checkpoint.planners import PLANNERS, refusal, with_best_shares
from ..checkpoint.program import Program
from ..checkpoint.saved import PlanMismatchError, SavedPlan, make_plan
from ..checkpoint.spilling import elapsed_seconds, spilling
from ..checkpoint.steps import Compute, Spill, Step, Steps
from ..checkpoint.units import format_bytes
from ..runtime.loops.on_tape import LOOP
from ..runtime.op import Op
from ..runtime.ops.casts import READ
from ..runtime.primitives import is_opaque
from ..runtime.reverse import record_reverse
from ..runtime.tape import Keeper, ShapesOnly, Tape
from .actions import Action, Layout
from .lowering import Lowering
from .options import Options
from .records import record_bytes
from .schedule import replay, schedule
from .spill import SpillError

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
        self.forward_slots = forward_slots
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
        self.held_elsewhere: dict[int, bool] = {}
        self.script: list[Line] = []
        self.rest: tuple[Action, ...] = ()

    @property
    def program(self) -> Program:
        """The planner's view of it."""
        return self.lowering.program

    @cached_property
    def plannable(self) -> Program:
        """The program as planners get it: what it reads while it runs is made in its place."""
        calls, call_of = self.tape.calls, self.lowering.call_of
        return fenced(self.program, {v for v in range(self.program.forward) if calls[call_of[v]][0] is READ})

    def forget_values(self) -> None:
        """Let go of the user's arrays: only the reverse sweep's own constants stay."""
        skeleton = Tape(ShapesOnly())
        skeleton.inputs = self.tape.inputs
        skeleton.share(self.tape)
        for slot, value in self.constants.items():
            skeleton.values[slot] = value
        skeleton.close()
        self.tape = self.lowering.tape = skeleton

    def settle(self, options: Options) -> Plan:
        """Plan the program, and check the plan's schedule without arrays before anything runs by it.

        Raises `MemoryBudgetError` when no plan fits.
        """
        if self.plan is None:
            plan = self._planned(options)
            plan = replace(plan, steps=Steps(plan.steps))
            replay(schedule(plan, self.lowering.call_of))
            self.plan = plan
        return self.plan

    def _planned(self, options: Options) -> Plan:
        budget, folder = options.budget_bytes, options.spill
        if isinstance(options.planner, SavedPlan):
            return self._given(options.planner, options)
        if folder is None:
            return self._recomputing(options)
        program = with_best_shares(self.plannable, budget)
        plan = PLANNERS["keep_all"](program, budget)
        if plan is not None:
            return plan
        failure = None
        try:
            disk, may_spill = folder.disk(), self.lowering.may_spill()
            room = max(disk.capacity_bytes - program.loops_on_disk_bytes(), 0)
            plan = spilling(program, budget, replace(disk, capacity_bytes=room), may_spill)
        except SpillError as error:
            failure = error
        else:
            if plan is not None and plan.work_seconds + plan.waiting_seconds < _NEAR * program.work_seconds():
                return plan
        try:
            other = self._recomputing(options)
        except MemoryBudgetError as refused:
            if plan is None:
                refused.add_note(f"Nor can values be spilled: {failure or 'what one operation needs does not fit'}")
                raise
            return plan
        if plan is None or other.work_seconds < plan.work_seconds + plan.waiting_seconds:
            return other
        return plan

    def _given(self, saved: SavedPlan, options: Options) -> Plan:
        """Return a saved plan. Raises `PlanMismatchError` where it spills what the disk has no room for."""
        plan, folder = self._recomputing(options), options.spill
        if not plan.spilled_bytes:
            return plan
        assert folder is not None, "checked when the options were read"
        disk, may_spill = folder.disk(), self.lowering.may_spill()
        if not all(may_spill[step.value] for step in plan.steps if type(step) is Spill):
            raise PlanMismatchError(
                f"the plan{saved.where()} spills values that do not lie in one piece here: it was made for arrays of "
                "another layout. Make a new plan and save it"
            )
        if plan.spilled_bytes > disk.capacity_bytes:
            raise PlanMismatchError(
                f"the plan{saved.where()} spills {format_bytes(plan.spilled_bytes)}, and {folder.path} takes "
                f"{format_bytes(disk.capacity_bytes)}: raise spill_budget, or name a folder with more room"
            )
        waiting = elapsed_seconds(plan.program, plan.steps, disk) - plan.work_seconds
        return replace(plan, waiting_seconds=max(waiting, 0.0))

    def _recomputing(self, options: Options) -> Plan:
        budget = options.budget_bytes
        plan = make_plan(self.plannable, budget, options.planner, effort=options.planning_effort)
        if not self._is_prompt(plan):
            others = [PLANNERS[name](self.plannable, budget) for name in PLANNERS if name != plan.planner]
            prompt = [other for other in others if other is not None and self._is_prompt(other)]
            plan = min(prompt, key=lambda plan: plan.work_seconds, default=None)
            if plan is None:
                raise refusal(self.plannable, budget)
        return plan

    def spill_into(self, file: Callable[[int], None], options: Options) -> None:
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
                planner = "best" if isinstance(options.planner, SavedPlan) else options.planner
                self.settle(replace(options, spill=None, planner=planner))
            except MemoryBudgetError as refused:
                refused.add_note(f"Nor can values be spilled: {error}")
                raise
            if self.script:
                self.script = []
                self.write_script()

    def _is_prompt(self, plan: Plan) -> bool:
        """Tell whether a plan computes in its place whatever may fail: the program may catch the error there."""
        forward = self.program.forward
        fragile = [v for v, call in enumerate(self.lowering.call_of) if _may_fail(self.tape.calls[call][0])]
        if not fragile:
            return True
        early = {step.value for step in plan.steps[: plan.turn] if type(step) is Compute and step.value >= forward}
        if not early.isdisjoint(fragile):
            return False
        first: dict[int, int] = {}
        for place, step in enumerate(plan.steps, start=1):
            if type(step) is Compute:
                first.setdefault(step.value, place)
        return all(first.get(v, math.inf) <= plan.stops[v] for v in fragile if v < forward)

    def _may_run(self, value: int, output: int) -> bool:
        """Tell whether the constants that a value is made from are there when the call with this output is made."""
        _, inputs, _, _ = self.tape.calls[self.lowering.call_of[value]]
        return all(slot <= output or slot in self.constants for slot in inputs if self.is_constant[slot])

    def adopt(self) -> None:
        """Take over the shares of the loops that were planned."""
        assert self.plan is not None
        self.lowering.program = replace(self.plan.program, inputs=self.program.inputs, outputs=self.program.outputs)

    def write_script(self) -> None:
        """Lay the plan out along the calls of the forward sweep."""
        assert self.plan is not None
        self.adopt()
        tape, layout = self.tape, Layout(self.lowering)
        steps = self.plan.steps
        value = done = 0
        for op, inputs, parameters, output in islice(tape.calls, self.forward_calls):
            due: Sequence[Step] = ()
            if tape.aliases[output] < 0:
                stop = self.plan.stops[value]
                due, done = steps[done:stop], stop
                value += 1
                assert all(self._may_run(step.value, output) for step in due if type(step) is Compute)
            self.script.append((op, inputs, parameters, output, tuple(layout.actions(due))))
        self.rest = tuple(layout.actions(steps[done:], self.gradients))


def complete(
    tape: Tape,
    lowering: Lowering | None,
    end: int | None,
    kept: list[int],
    slots: list[int],
    held_bytes: int,
    *,
    keeper: Keeper | None = None,
) -> Known:
    """Return the whole program of a recorded forward sweep: its reverse sweep recorded by shapes, and both lowered.

    `end` is the loss's slot, `kept` are those of auxiliary outputs, `slots` those of the inputs to differentiate.
    `keeper` is asked while the reverse sweep is recorded.
    """
    lowering = lowering or Lowering(tape)
    lowering.add_calls()
    forward_calls, forward_slots = len(tape.calls), len(tape.values)
    lowering.program = replace(lowering.program, forward=len(lowering.program))
    gradients, disconnected = record_reverse(tape, end, slots, keeper)
    lowering.add_calls()
    held_bytes += sum(v.nbytes for v in tape.values[forward_slots:] if isinstance(v, np.ndarray))
    held_bytes += record_bytes(len(tape.calls))
    ends = tuple(slot for slot in (end, *kept) if slot is not None)
    returned = dict.fromkeys(v for slot in (*ends, *gradients) if (v := lowering.value(slot)) >= 0)
    lowering.close(tuple(returned), held_bytes)
    return Known(tape, lowering, forward_calls, forward_slots, ends, gradients, disconnected)


_FRAGILE = frozenset(["lapack", "decompositions", "determinants", "eigenvalues", "singular_values"])


def _may_fail(op: Op) -> bool:
    """Tell whether an op may raise for the numbers that it is given: it solves or factors, or runs others' code."""
    home = getattr(op.run, "__module__", "")
    return op is LOOP or is_opaque(op) or home.rpartition(".")[2] in _FRAGILE or "scipy" in home
