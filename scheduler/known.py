"""Known programs: what is kept of a call, so that the next one like it runs by a plan from its first op on."""

from __future__ import annotations

from typing import Any

from ..checkpoint.plan import Plan
from ..checkpoint.program import Program
from ..checkpoint.residency import Step
from ..checkpoint.saved import SavedPlan, make_plan
from ..runtime.op import Op
from ..runtime.tape import ShapesOnly, Tape
from .actions import Action, Layout
from .lowering import Lowering
from .schedule import replay, schedule

# What the program is expected to call, and what is done then: op, input slots, parameters, output slot, actions.
Line = tuple[Op, tuple[int, ...], dict | None, int, tuple[Action, ...]]


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
        self.constants = {k: value for k, value in enumerate(tape.values) if k >= forward_slots and value is not None}
        self.is_constant = bytearray(b"\1") * len(tape.values)
        for slot in (*tape.inputs, *(output for _, _, _, output in tape.calls)):
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

    def forget_values(self) -> None:
        """Let go of the user's arrays: only the reverse sweep's own constants stay."""
        skeleton = Tape(ShapesOnly())
        skeleton.inputs = self.tape.inputs
        skeleton.share(self.tape)
        for slot, value in self.constants.items():
            skeleton.values[slot] = value
        skeleton.close()
        self.tape = self.lowering.tape = skeleton

    def settle(self, budget: int, planner: str | SavedPlan) -> Plan:
        """Plan the program, and check the plan's schedule without arrays before anything runs by it.

        Raises `MemoryBudgetError` when no plan fits.
        """
        if self.plan is None:
            plan = make_plan(self.program, budget, planner)
            replay(schedule(plan, self.lowering.call_of))
            self.plan = plan
        return self.plan

    def write_script(self) -> None:
        """Lay the plan out along the calls of the forward sweep."""
        assert self.plan is not None
        tape, layout = self.tape, Layout(self.lowering)
        steps = self.plan.steps
        value = done = 0
        for op, inputs, parameters, output in tape.calls[: self.forward_calls]:
            due: tuple[Step, ...] = ()
            if tape.aliases[output] < 0:
                stop = self.plan.stops[value]
                due, done = steps[done:stop], stop
                value += 1
            self.script.append((op, inputs, parameters, output, tuple(layout.actions(due))))
        self.rest = tuple(layout.actions(steps[done:]))


def is_same(a: Any, b: Any) -> bool:
    """Tell whether two static parameters are the same in every respect that a call could tell: 1 is not 1.0, 0.0 not -0.0."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is dict:
        return a.keys() == b.keys() and all(is_same(a[key], b[key]) for key in a)
    if type(a) is tuple or type(a) is list:
        return len(a) == len(b) and all(map(is_same, a, b))
    if type(a) is slice:
        return is_same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if type(a) is float or type(a) is complex:
        return repr(a) == repr(b)
    try:
        return bool(a == b)
    except ValueError:  # arrays
        return False
