"""The schedule: a plan with its means (which call, which buffer is taken over), readable, and replayed without arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..checkpoint.plan import Plan
from ..checkpoint.steps import Compute, Drop, Load, Spill
from ..checkpoint.units import format_bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Run the call that makes `value` for the first time, into the buffer of `overwrites` if that is not -1."""

    value: int
    call: int
    overwrites: int = -1


@dataclass(frozen=True, slots=True)
class Rerun:
    """Run the call that makes `value` again, because it was freed before its next use."""

    value: int
    call: int
    overwrites: int = -1


@dataclass(frozen=True, slots=True)
class Free:
    """Free the buffer of `value`."""

    value: int


@dataclass(frozen=True, slots=True)
class Write:
    """Begin to write `value` to the spill file."""

    value: int


@dataclass(frozen=True, slots=True)
class Read:
    """Take a buffer for `value` and begin to read it from the spill file."""

    value: int


Action = Run | Rerun | Free | Write | Read


@dataclass(frozen=True, eq=False)
class Schedule:
    """Actions in order, for one plan. `print` reads them out as sentences."""

    plan: Plan
    actions: Iterable[Action]

    def __str__(self) -> str:
        program = self.plan.program
        lines = []
        for action in self.actions:
            v = action.value
            size = format_bytes(program.sizes[v])
            if not isinstance(action, (Run, Rerun)):
                lines.append(f"{_VERBS[type(action)]} v{v} ({size})")
                continue
            verb = "run" if isinstance(action, Run) else "run again"
            into = f" into the buffer of v{action.overwrites}" if action.overwrites >= 0 else ""
            where = f", {program.lines[v]}" if program.lines[v] else ""
            lines.append(f"{verb} {program.labels[v]} to make v{v} ({size}){into}{where}")
        return "\n".join(lines)


_VERBS = {Free: "free", Write: "write to disk", Read: "read from disk"}
_KINDS = {Drop: Free, Spill: Write, Load: Read}


def schedule(plan: Plan, call_of: Sequence[int]) -> Schedule:
    """Return the schedule of `plan`; `call_of[value]` is the tape's call that makes a value."""
    return Schedule(plan, _Actions(plan, call_of))


@dataclass(frozen=True, slots=True, eq=False)
class _Actions:
    """The actions of a plan, made when they are walked through: all at once they would take more memory than the tape."""

    plan: Plan
    call_of: Sequence[int]

    def __iter__(self) -> Iterator[Action]:
        plan = self.plan
        seen = _made_before(plan)
        for step in plan.steps:
            v = step.value
            if isinstance(step, Compute):
                yield (Rerun if seen[v] else Run)(v, self.call_of[v], step.overwrites)
                seen[v] = 1
            else:
                yield _KINDS[type(step)](v)


def _made_before(plan: Plan) -> bytearray:
    """Return marks, by value, of those that were made before the plan begins."""
    made = min(plan.start_position, len(plan.program))
    return bytearray(b"\1") * made + bytes(len(plan.program) - made)


def replay(made: Schedule) -> int:
    """Check a schedule without arrays and return its peak in bytes.

    A fake executor made of asserts (the device of checkpoint_schedules' validity test): whatever an action reads is
    there, nothing is freed twice, first runs are said to be such, the budget is never passed, all outputs exist at the end.
    """
    plan = made.plan
    program = plan.program
    there = set(plan.start)
    live = program.held_bytes + sum(program.sizes[v] for v in there)
    peak = live
    seen = _made_before(plan)
    on_disk: set[int] = set()
    for action in made.actions:
        v = action.value
        if isinstance(action, Free):
            assert v in there, f"v{v} is freed, but is not in memory"
            there.remove(v)
            live -= program.sizes[v]
            continue
        if isinstance(action, Write):
            assert v in there, f"v{v} is written to disk, but is not in memory"
            on_disk.add(v)
            continue
        assert v not in there, f"v{v} is made, but is in memory already"
        if isinstance(action, Read):
            assert v in on_disk, f"v{v} is read from disk, but was not written"
            there.add(v)
            live += program.sizes[v]
            peak = max(peak, live)
            continue
        for u in program.inputs[v]:
            assert u in there, f"v{v} reads v{u}, which is not in memory"
        assert isinstance(action, Run) is not bool(seen[v]), f"v{v} is run first, or again, where it is said otherwise"
        seen[v] = 1
        saved = 0
        if action.overwrites >= 0:
            assert action.overwrites in there, f"v{v} overwrites v{action.overwrites}, which is not in memory"
            assert action.overwrites not in program.outputs, f"v{v} overwrites the output v{action.overwrites}"
            saved = program.sizes[action.overwrites]
            there.remove(action.overwrites)
        peak = max(peak, live + program.sizes[v] + program.workspaces[v] - saved)
        live += program.sizes[v] - saved
        there.add(v)
    for v in program.outputs:
        assert v in there, f"the output v{v} is not in memory at the end"
    if plan.budget_bytes is not None:
        assert peak <= plan.budget_bytes, f"the peak of {peak} bytes is over the budget of {plan.budget_bytes}"
    return peak
