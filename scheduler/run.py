"""One call under a budget: record by a plan or online, plan the reverse sweep, check the schedule, run it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..checkpoint.errors import MemoryBudgetError
from ..checkpoint.plan import Plan, extra_work
from ..checkpoint.saved import SavedPlan
from ..checkpoint.units import format_bytes
from ..runtime import trees
from ..runtime.arguments import Arguments, check_scalar, split_aux
from ..runtime.array import Array, record
from ..runtime.errors import NeedsValueError
from ..runtime.landing import Landing
from ..runtime.op import OPS
from ..runtime.tape import ShapesOnly, Tape
from .actions import Layout
from .buffers import Ledger
from .captures import Captures
from .executor import Executor
from .follower import Follower
from .keeper import OnlineKeeper, Refused
from .known import Known, complete
from .loops.record import Loops
from .loops.states import Files
from .lowering import Lowering
from .memory import pin_allocator
from .options import Options
from .records import Counting, require_room
from .report import Report
from .rest import going_on
from .schedule import replay, schedule


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of one call: a function at its arguments, its gradient by some of them, and within what means.

    Where the "value" is wanted, all that the function returns is computed, and no derivative: the floating-point leaves of
    the arguments in `argnums` are traced all the same, for the ledger counts what is made of traced arrays.
    """

    f: Callable
    args: tuple
    keywords: dict
    argnums: int | Sequence[int]
    options: Options
    has_aux: bool = False
    allow_int: bool = False
    disconnected: str = "zeros"
    landing: Landing | None = None
    wants: Literal["gradient", "value"] = "gradient"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one call; `known` is the program, if it was another than the one known before.

    Where the value was wanted, it is in `aux`.
    """

    value: Any
    aux: Any
    gradients: Any
    report: Report
    known: Known | None


def run(request: Request, known: Known | None) -> Outcome:
    """Compute what is asked for by the plan of a known program, or find out what the program is.

    Raises `MemoryBudgetError`, `InputError`, `DisconnectedError`, `ChangedError`.
    """
    pin_allocator()
    leaves = trees.flatten((request.args, request.keywords))[0]
    assert not any(type(leaf) is Array for leaf in leaves), "traced arguments take another way (see `bounded`)"
    tape = Tape(ShapesOnly())
    arrays = [leaf for leaf in leaves if isinstance(leaf, np.ndarray)]
    roots = [*request.args, *request.keywords.values(), getattr(request.f, "__self__", None)]
    captures = Captures(tape, arrays, roots, known.held_elsewhere if known is not None else {})
    executor = Executor(tape, Ledger(), request.options.subscriber, request.landing)
    folder = request.options.spill
    files = None if folder is None else Files(folder)
    tape.loops = Loops(request.options.budget_bytes, files)
    try:
        with tape:
            return _Call(request, tape, executor, captures).run(known)
    finally:
        # Whatever happened, and whoever holds on to the error's traceback: the call's memory and its file go.
        executor.close_spill_file()
        if files is not None:
            files.close()
        tape.keeper = ShapesOnly()
        executor.ledger.clear()
        tape.values.clear()


class _Call:
    """One call on its way: the tape, the executor and the captures that all its parts work on."""

    def __init__(self, request: Request, tape: Tape, executor: Executor, captures: Captures) -> None:
        self.request = request
        self.tape = tape
        self.executor = executor
        self.captures = captures

    def run(self, known: Known | None) -> Outcome:
        request, tape, executor, options = self.request, self.tape, self.executor, self.request.options
        wants_gradient = request.wants == "gradient"
        trace = functools.partial(tape.input, is_active=wants_gradient)
        arguments = Arguments(request.args, request.argnums, trace, allow_int=request.allow_int)
        slots = [array._slot for array in arguments.arrays]
        if request.landing is not None:
            request.landing.check(arguments.primals())
        for slot in slots:
            if isinstance(tape.values[slot], np.ndarray):
                self.captures.guard(slot, tape.values[slot])
        if known is not None:
            known.spill_into(self._open_spill_file, options)
            tape.keeper = Follower(tape, options.budget_bytes, executor, self.captures, known)
        else:
            tape.keeper = OnlineKeeper(tape, options.budget_bytes, Lowering(tape), executor, self.captures)
        traced = arguments.traced
        arguments.traced, arguments.arrays = [], []
        if wants_gradient:
            output, aux = split_aux(self._function(traced), request.has_aux)
            check_scalar(output)
        else:
            output, aux = None, _owned(self._function(traced), tape)
        del traced
        end = output._slot if type(output) is Array and output._level is tape else None
        constant = None if end is not None else output
        aux_leaves, aux_tree = trees.flatten(aux)
        aux_slots = [leaf._slot if type(leaf) is Array and leaf._level is tape else None for leaf in aux_leaves]
        del output, aux
        kept = [slot for slot in aux_slots if slot is not None]
        made, report, is_new = self._reverse(end, kept, slots if wants_gradient else [])
        self.captures.check()
        if request.disconnected == "error" and made.disconnected:
            arguments.require_connected(made.disconnected[0])
        value = constant if end is None else executor.resolve(end)
        aux_leaves = [
            leaf if slot is None else executor.resolve(slot) for leaf, slot in zip(aux_leaves, aux_slots, strict=True)
        ]
        gradients = [executor.resolve(slot) for slot in made.gradients]
        if request.landing is not None:
            for number, gradient in enumerate(gradients):
                if number not in executor.delivered:
                    executor.deliver(number, gradient)
        if is_new:
            made.held_elsewhere = self.captures.held_elsewhere
            made.forget_values()
        assembled = arguments.assemble(gradients) if wants_gradient and request.landing is None else None
        return Outcome(value, trees.unflatten(aux_tree, aux_leaves), assembled, report, made if is_new else None)

    def _function(self, traced: list) -> Any:
        try:
            return self.request.f(*traced, **self.request.keywords)
        except NeedsValueError:
            refused, budget = self.tape.keeper, self.request.options.budget_bytes
            if not isinstance(refused, Refused):
                raise
            needed = refused.needed_bytes
            raise MemoryBudgetError(
                f"the forward sweep needs at least {format_bytes(needed)} ({needed} bytes) at "
                f"one point, the budget is {format_bytes(budget)} ({budget} bytes). Raise the budget, or make the "
                "batch smaller: retape.accumulate(f, microbatch='auto', memory_budget=...) splits it until a plan fits",
                needed_bytes=needed,
                budget_bytes=budget,
            ) from None

    def _reverse(self, end: int | None, kept: list[int], slots: list[int]) -> tuple[Known, Report, bool]:
        """Run the reverse sweep; return the program, the report, and whether the program is a new one."""
        budget, ledger, keeper = self.request.options.budget_bytes, self.executor.ledger, self.tape.keeper
        if isinstance(keeper, Follower):
            known, plan = keeper.known, keeper.known.plan
            if keeper.is_at_end and known.ends == tuple(slot for slot in (end, *kept) if slot is not None):
                assert plan is not None
                keeper.finish()
                report = Report(
                    budget,
                    plan.projected_peak_bytes,
                    ledger.peak,
                    plan.extra_work,
                    plan.planner,
                    spilled_bytes=plan.spilled_bytes + self.tape.loops.spilled_bytes,
                )
                return known, report, False
            keeper = keeper.leave()
        assert isinstance(keeper, (OnlineKeeper, Refused))
        new = complete(
            self.tape,
            keeper.lowering,
            end,
            kept,
            slots,
            self.captures.held_bytes,
            keeper=Counting(keeper.count_records) if isinstance(keeper, OnlineKeeper) else keeper,
        )
        rest = None
        if isinstance(keeper, OnlineKeeper):
            # The constants and the records of the reverse sweep are there by now: what they displace goes first.
            is_refused = isinstance(self.tape.keeper, Refused)
            if not is_refused and keeper.hold(new.program.held_bytes - self.captures.held_bytes - keeper.record_bytes):
                rest = going_on(new, keeper.residency, budget)
            keeper.close()
        layout, peak_bytes = keeper.layout, keeper.peak_bytes
        del keeper  # what the online policy knows takes as much memory as the records, and has served its purpose
        if rest is None:
            self.executor.drop_all(new.program.held_bytes)
        plan = self._cheaper(new, rest)
        if plan is not rest:
            self.executor.drop_all(new.program.held_bytes)
            new.adopt()
            new.lowering.share_out(self.tape.values)
            layout = Layout(new.lowering, layout.runs)
        layout.lowering = new.lowering
        projected = max(peak_bytes, plan.projected_peak_bytes)
        self.executor.perform(layout.actions(plan.steps, new.gradients), projected)
        report = Report(
            budget,
            projected,
            ledger.peak,
            extra_work(new.program, layout.runs),
            plan.planner,
            spilled_bytes=plan.spilled_bytes + self.tape.loops.spilled_bytes,
        )
        return new, report, True

    def _settled(self, new: Known) -> Plan:
        new.settle(self.request.options)
        new.spill_into(self._open_spill_file, self.request.options)
        assert new.plan is not None
        return new.plan

    def _open_spill_file(self, nbytes: int) -> None:
        folder = self.request.options.spill
        assert folder is not None
        self.executor.close_spill_file()
        self.executor.spill_file = folder.open(nbytes)

    def _cheaper(self, new: Known, rest: Plan | None) -> Plan:
        """Return the cheaper of going on from what is in memory and of starting over by a plan; checked without arrays.

        Whatever the plan, starting over costs every value once more: a rest that takes no more work than that is not
        compared, except with a saved plan, which is refused at once where it is another program's. Raises
        `MemoryBudgetError` when neither fits.
        """
        if rest is None:
            besides = new.program.lower_bound_bytes() - new.record_bytes
            require_room(len(self.tape.calls), self.request.options.budget_bytes, besides)
        is_given = isinstance(self.request.options.planner, SavedPlan)
        if rest is None or is_given or rest.work_seconds > new.program.work_seconds():
            try:
                whole = self._settled(new)
            except MemoryBudgetError:
                if rest is None:
                    raise
            else:
                if rest is None or whole.work_seconds + whole.waiting_seconds < rest.work_seconds:
                    return whole
            assert rest is not None
        replay(schedule(rest, new.lowering.call_of))
        return rest


def _owned(output: Any, tape: Tape) -> Any:
    """Return an output with copies, made on the tape, of leaves whose memory is an argument's, a constant's or another's."""
    leaves, treedef = trees.flatten(output)
    seen: set[int] = set()
    made = []
    for leaf in leaves:
        if type(leaf) is Array and leaf._level is tape:
            root = leaf._slot if tape.aliases[leaf._slot] < 0 else tape.aliases[leaf._slot]
            call = tape.call_of(root)
            is_made = call < len(tape.calls) and tape.calls.outputs[call] == root
            if root in seen or not is_made:
                leaf = record(tape, OPS["copy"], (leaf,))
                root = leaf._slot
            seen.add(root)
        made.append(leaf)
    return trees.unflatten(treedef, made)
