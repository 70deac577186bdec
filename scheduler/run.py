"""One call under a budget: record by a plan or online, plan the reverse sweep, check the schedule, run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..checkpoint.errors import DoesNotFit, MemoryBudgetError
from ..checkpoint.plan import Plan
from ..checkpoint.planners import refusal
from ..checkpoint.residency import Step
from ..checkpoint.units import format_bytes
from ..runtime import trees
from ..runtime.arguments import Arguments, check_scalar, split_aux
from ..runtime.array import Array
from ..runtime.errors import InputError, NeedsValueError, TapeError
from ..runtime.reverse import record_reverse
from ..runtime.tape import ShapesOnly, Tape
from .buffers import pin_allocator
from .keeper import BudgetKeeper, Known
from .lowering import Lowering
from .report import Report
from .schedule import replay, schedule


class StartOver(Exception):
    """The online policy got stuck where a plan exists: the call starts over under that plan."""

    def __init__(self, known: Known) -> None:
        super().__init__("the call starts over under a plan")
        self.known = known


def complete(
    tape: Tape, lowering: Lowering | None, end: int | None, kept: list[int], slots: list[int], held_bytes: int
) -> Known:
    """Return the whole program of a recorded forward sweep: its reverse sweep recorded by shapes, and both lowered.

    `end` is the loss's slot, `kept` are those of auxiliary outputs, `slots` those of the inputs to differentiate.
    """
    lowering = lowering or Lowering(tape)
    lowering.add_calls()
    forward_calls, forward_slots = len(tape.calls), len(tape.values)
    lowering.program = replace(lowering.program, forward=len(lowering.program))
    gradients, disconnected = record_reverse(tape, end, slots)
    lowering.add_calls()
    held_bytes += sum(v.nbytes for v in tape.values[forward_slots:] if isinstance(v, np.ndarray))
    ends = tuple(slot for slot in (end, *kept) if slot is not None)
    value_of = lowering.value_of
    returned = dict.fromkeys(v for slot in (*ends, *gradients) if slot < len(value_of) and (v := value_of[slot]) >= 0)
    lowering.program = replace(lowering.program, outputs=tuple(returned), held_bytes=held_bytes)
    return Known(tape, lowering, forward_calls, forward_slots, ends, gradients, disconnected)


class Attempt:
    """One run of a function under a budget. After `run`: `report`, and `learned` if the program was new."""

    def __init__(
        self,
        f: Callable,
        args: tuple,
        keywords: dict,
        argnums: int | Sequence[int],
        has_aux: bool,
        budget: int,
        planner: str,
        known: Known | None,
        *,
        allow_int: bool = False,
        disconnected: str = "zeros",
    ) -> None:
        self.f = f
        self.args = args
        self.keywords = keywords
        self.argnums = argnums
        self.has_aux = has_aux
        self.budget = budget
        self.planner = planner
        self.known = known
        self.allow_int = allow_int
        self.disconnected = disconnected
        self.learned: Known | None = None
        self.report: Report | None = None

    def run(self) -> tuple[Any, Any, Any]:
        """Return ``(value, aux, gradients)``. Raises `MemoryBudgetError`, `InputError`, `StartOver`."""
        pin_allocator()
        leaves = trees.flatten((self.args, self.keywords))[0]
        if any(type(leaf) is Array for leaf in leaves):
            raise InputError(
                "a function with a memory_budget was called inside another transform: put the budget on the outermost one"
            )
        tape = Tape(ShapesOnly())
        roots = [*self.args, *self.keywords.values(), getattr(self.f, "__self__", None)]
        keeper = BudgetKeeper(tape, self.budget, [leaf for leaf in leaves if isinstance(leaf, np.ndarray)], roots, self.known)
        tape.keeper = keeper
        try:
            with tape:
                return self._run(tape, keeper)
        finally:
            keeper.executor.values.clear()
            keeper.ledger.clear()
            tape.values = []

    def _run(self, tape: Tape, keeper: BudgetKeeper) -> tuple[Any, Any, Any]:
        arguments = Arguments(self.args, self.argnums, tape.input, allow_int=self.allow_int)
        slots = [array._slot for array in arguments.arrays]
        traced = arguments.traced
        arguments.traced, arguments.arrays = [], []
        output, aux = split_aux(self._call(keeper, traced), self.has_aux)
        del traced
        check_scalar(output)
        end = output._slot if type(output) is Array and output._level is tape else None
        constant = None if end is not None else output
        aux_leaves, aux_tree = trees.flatten(aux)
        aux_slots = [leaf._slot if type(leaf) is Array and leaf._level is tape else None for leaf in aux_leaves]
        del output, aux
        if tape.failed:
            raise TapeError(
                f"{tape.failed} raised an error that the function caught and went on after: under a memory_budget a program "
                "cannot go on after an op that failed. Test for the condition before the call, or leave the budget out"
            )
        keeper.close()
        kept = [slot for slot in aux_slots if slot is not None]
        known = self._finish(keeper, end, kept, slots)
        if self.disconnected == "error" and known.disconnected:
            arguments.require_connected(known.disconnected[0])
        executor = keeper.executor
        value = constant if end is None else executor.resolve(end)
        aux_leaves = [
            leaf if slot is None else executor.resolve(slot) for leaf, slot in zip(aux_leaves, aux_slots, strict=True)
        ]
        gradients = [executor.resolve(slot) for slot in known.gradients]
        return value, trees.unflatten(aux_tree, aux_leaves), arguments.assemble(gradients)

    def _call(self, keeper: BudgetKeeper, traced: list) -> Any:
        try:
            output = self.f(*traced, **self.keywords)
        except NeedsValueError:
            if not keeper.refused_bytes:
                raise
            raise MemoryBudgetError(
                f"the forward sweep needs at least {format_bytes(keeper.refused_bytes)} ({keeper.refused_bytes} bytes) at "
                f"one point, the budget is {format_bytes(self.budget)} ({self.budget} bytes). Raise the budget, or make the "
                "batch smaller: retape.accumulate(f, microbatch='auto', memory_budget=...) splits it until a plan fits",
                needed_bytes=keeper.refused_bytes,
                budget_bytes=self.budget,
            ) from None
        return output

    def _finish(self, keeper: BudgetKeeper, end: int | None, kept: list[int], slots: list[int]) -> Known:
        """Run the reverse sweep and return the program; by the known plan where it was followed to the end."""
        tape, known = keeper.tape, keeper.known
        ends = tuple(slot for slot in (end, *kept) if slot is not None)
        if known is not None and len(tape.calls) == known.forward_calls and ends == known.ends:
            assert known.plan is not None
            known.extend(tape)
            keeper.executor.lowering = known.lowering
            keeper.executor.perform(known.plan.steps[keeper.cursor :], known.plan.projected_peak_bytes)
            plan = known.plan
            self.report = Report(self.budget, plan.projected_peak_bytes, keeper.ledger.peak, plan.extra_work, plan.planner)
            return known
        if known is not None:
            keeper.leave_plan()
        new = complete(tape, keeper.lowering, end, kept, slots, keeper.held_bytes)
        if keeper.refused_bytes:
            raise self._refused(new)
        residency = keeper.residency
        assert residency is not None
        before = residency.peak
        residency.program = new.program
        start_position = new.program.forward
        steps: list[Step] = []
        extra = new.program.held_bytes - keeper.held_bytes
        start = frozenset(residency.resident())
        try:
            steps += residency.hold(extra)
            steps += residency.reveal(new.program.outputs)
            for v in range(start_position, len(new.program)):
                steps += residency.make(v)
            for v in new.program.outputs:
                if not residency.is_resident(v):
                    steps += residency.make(v)
        except DoesNotFit:
            raise self._refused(new) from None
        rest = Plan(new.program, tuple(steps), "online", self.budget, start, start_position)
        replay(schedule(rest, new.lowering.call_of))
        keeper.executor.lowering = new.lowering
        keeper.ledger.count(extra)
        projected = max(before, rest.projected_peak_bytes)
        keeper.executor.perform(rest.steps, projected)
        counts = keeper.executor.runs
        once = new.program.work_seconds()
        again = sum((n - 1) * new.program.costs[v] for v, n in counts.items() if n > 1)
        self.report = Report(self.budget, projected, keeper.ledger.peak, again / once if once else 0.0, "online")
        self.learned = new.without_values()
        self.learned.held_elsewhere = keeper.held_elsewhere
        return new

    def _refused(self, new: Known) -> Exception:
        """Return what to raise when the online policy found no way: start over under a plan, or the budget's error."""
        try:
            new.settle(self.budget, self.planner)
        except MemoryBudgetError as error:
            return error
        if self.known is not None:
            return refusal(new.program, self.budget)
        return StartOver(new.without_values())
