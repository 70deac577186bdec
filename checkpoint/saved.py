"""A saved plan: a file of numbers, from which the plan of a program is made again if it is the same program."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import MemoryBudgetError
from .plan import Plan
from .planners import best
from .program import Program
from .steps import Compute, Drop, Load, Spill, Step
from .units import format_bytes

_FORMAT = "retape plan"
_VERSION = 3
_SPILL, _LOAD = -1, -2


class PlanMismatchError(ValueError):
    """A saved plan is used for another program than it was made for, or its file is not one of a plan."""


@dataclass(frozen=True)
class SavedPlan:
    """The steps of a plan and the fingerprint of its program; give it to `grad(f, memory_budget=..., planner=saved)`.

    `numbers` is the order of steps: v for computing value v, -1 - v for dropping it, (v, u) for computing v in the buffer
    of u, (v, -1) for writing v to disk and (v, -2) for reading it back. `shares` are those of its loops, by their places on
    their ladders.
    """

    fingerprint: str
    numbers: tuple[int | tuple[int, int], ...]
    planner: str
    source: str = ""
    shares: tuple[int, ...] = ()

    @property
    def is_spilling(self) -> bool:
        """Whether the plan writes values to disk, so that it needs a folder to spill into."""
        return any(isinstance(number, tuple) and number[1] == _SPILL for number in self.numbers)

    def plan(self, program: Program, budget: int) -> Plan:
        """Return the plan of `program`, which must be the one that it was made for; it is checked step by step.

        Raises `PlanMismatchError` for another program, `MemoryBudgetError` where the plan needs more than `budget` bytes.
        """
        ladders = [loop.costs.in_memory().ladder() for loop in program.loops]
        if len(ladders) == len(self.shares) and all(k < len(s) for k, s in zip(self.shares, ladders, strict=True)):
            program = program.with_shares([ladder[k] for k, ladder in zip(self.shares, ladders, strict=True)])
        found = fingerprint(program)
        if found != self.fingerprint:
            raise PlanMismatchError(
                f"the plan{self.where()} was made for another program: its fingerprint is {self.fingerprint[:12]}, that of "
                f"this program, of {len(program)} values, is {found[:12]}. Shapes, dtypes, operations and their order "
                "must be those of rt.plan(f, *args); make a new plan and save it"
            )
        plan = Plan(program, tuple(map(_step, self.numbers)), self.planner, budget)
        if not is_sound(plan):
            raise PlanMismatchError(f"the plan{self.where()} is damaged: it reads what is not in memory. Make a new one")
        needed = plan.projected_peak_bytes
        if needed > budget:
            raise MemoryBudgetError(
                f"the plan{self.where()} needs {format_bytes(needed)} ({needed} bytes), the budget is "
                f"{format_bytes(budget)} ({budget} bytes): raise the budget, or make a plan for this one",
                needed_bytes=needed,
                budget_bytes=budget,
            )
        return plan

    def where(self) -> str:
        """Return where the plan was read from, in words."""
        return f" of {self.source}" if self.source else ""


def fingerprint(program: Program) -> str:
    """Return a hash of what a plan depends on: bytes, workspaces, wiring, operations and outputs, but no times."""
    parts = (program.sizes, program.inputs, program.workspaces, program.overwrites, program.labels)
    text = json.dumps([*parts, program.outputs, program.forward], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def save_plan(plan: Plan, path: Any) -> None:
    """Write a plan into the file `path` (JSON), to be read by `load_plan`; an existing file is replaced at once.

    Raises `FileNotFoundError` for a missing folder, `ValueError` for a plan that goes on from the middle of a run, or whose
    loops keep states on disk.
    """
    if plan.start_position:
        raise ValueError("only whole plans are saved: this one goes on from the middle of a run")
    if plan.program.loops_on_disk_bytes():
        raise ValueError("a plan whose loops keep states on disk holds for one disk, and is not saved")
    target = Path(path)
    record = {
        "format": _FORMAT,
        "version": _VERSION,
        "fingerprint": fingerprint(plan.program),
        "planner": plan.planner,
        "shares": [loop.costs.in_memory().ladder().index(loop.share) for loop in plan.program.loops],
        "steps": [_number(step) for step in plan.steps],
    }
    partial = target.with_name(target.name + ".partial")
    partial.write_text(json.dumps(record, separators=(",", ":")))
    partial.replace(target)


def load_plan(path: Any) -> SavedPlan:
    """Return the plan in the file `path`, for ``grad(f, memory_budget=..., planner=saved)``. Nothing in it is executed.

    Raises `PlanMismatchError` for files that hold no plan or one of another version, `FileNotFoundError`.
    """
    try:
        record = json.loads(Path(path).read_text())
        if not isinstance(record, dict) or record.get("format") != _FORMAT:
            raise PlanMismatchError(f"{path} holds no plan: it was not written by plan.save")
        if record["version"] != _VERSION:
            raise PlanMismatchError(
                f"{path} has version {record['version']} of the format of plans, this retape reads {_VERSION}: save it anew"
            )
        numbers = tuple(_checked(number) for number in record["steps"])
        return SavedPlan(
            str(record["fingerprint"]),
            numbers,
            str(record["planner"]),
            str(path),
            tuple(_checked(k) for k in record["shares"]),
        )
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise PlanMismatchError(f"{path} holds no whole plan: {error!r}") from None


def make_plan(program: Program, budget: int, planner: str | SavedPlan, *, effort: int | None = None) -> Plan:
    """Return the plan by a planner's name or by a saved plan. Raises what `best` and `SavedPlan.plan` raise."""
    return best(program, budget, planner, effort=effort) if isinstance(planner, str) else planner.plan(program, budget)


def is_sound(plan: Plan) -> bool:
    """Tell whether every step of a plan finds what it needs in memory or on disk, and all outputs are there at the end."""
    program = plan.program
    live: set[int] = set()
    on_disk: set[int] = set()
    for step in plan.steps:
        v = step.value
        if not 0 <= v < len(program):
            return False
        if isinstance(step, Compute):
            victim = step.overwrites
            if v in live or not live.issuperset(program.inputs[v]):
                return False
            if victim >= 0:
                if victim != program.overwrites[v] or victim in program.outputs:
                    return False
                live.discard(victim)
            live.add(v)
        elif isinstance(step, Load):
            if v in live or v not in on_disk:
                return False
            live.add(v)
        elif v not in live:
            return False
        elif isinstance(step, Drop):
            live.discard(v)
        elif v in on_disk:
            return False
        else:
            on_disk.add(v)
    return live.issuperset(program.outputs)


def _number(step: Step) -> int | tuple[int, int]:
    if isinstance(step, Compute):
        return step.value if step.overwrites < 0 else (step.value, step.overwrites)
    if isinstance(step, Drop):
        return -1 - step.value
    return step.value, _SPILL if isinstance(step, Spill) else _LOAD


def _step(number: int | tuple[int, int]) -> Step:
    if isinstance(number, int):
        return Compute(number) if number >= 0 else Drop(-1 - number)
    value, other = number
    return Spill(value) if other == _SPILL else Load(value) if other == _LOAD else Compute(value, other)


def _checked(number: Any) -> Any:
    if isinstance(number, list) and len(number) == 2:
        return _checked(number[0]), _checked(number[1])
    if type(number) is not int:
        raise TypeError(f"a step is a number, not {number!r}")
    return number
