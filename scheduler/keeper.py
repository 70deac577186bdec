"""The keeper that holds a budget while a program is recorded: by a plan where one is known, online where not."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..checkpoint.errors import DoesNotFit
from ..checkpoint.plan import Plan
from ..checkpoint.planners import best
from ..checkpoint.program import Program
from ..checkpoint.residency import Compute, Residency, Step
from ..runtime.errors import NeedsValueError, TapeError
from ..runtime.tape import ShapesOnly, Tape
from .buffers import Ledger
from .executor import Executor
from .lowering import Lowering
from .schedule import replay, schedule

_SMALL_CONSTANT = 64 * 1024


class Known:
    """A program seen before: its tape, its lowering, what it returns, and (from its second call on) its plan."""

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
        self.plan: Plan | None = None
        self.is_planless = False
        self.held_elsewhere: dict[int, bool] = {}

    @property
    def program(self) -> Program:
        """The planner's view of it."""
        return self.lowering.program

    def settle(self, budget: int, planner: str) -> None:
        """Plan the program, and check the plan's schedule without arrays before anything runs by it.

        Raises `MemoryBudgetError` when no plan fits.
        """
        plan = best(self.program, budget, planner)
        replay(schedule(plan, self.lowering.call_of))
        self.plan = plan

    def without_values(self) -> Known:
        """Return the same program with the user's arrays forgotten: only the reverse sweep's own constants stay."""
        skeleton = copy.copy(self.tape)
        skeleton.values = [None] * self.forward_slots + self.tape.values[self.forward_slots :]
        skeleton.closed = True
        lowering = copy.copy(self.lowering)
        lowering.tape = skeleton
        known = copy.copy(self)
        known.tape, known.lowering = skeleton, lowering
        return known

    def extend(self, tape: Tape) -> None:
        """Append the reverse sweep's calls to a tape that has recorded the same forward sweep."""
        first = self.forward_slots
        tape.calls.extend(self.tape.calls[self.forward_calls :])
        for name in ("values", "shapes", "dtypes", "active", "phantoms", "aliases"):
            getattr(tape, name).extend(getattr(self.tape, name)[first:])


class BudgetKeeper:
    """Computes every recorded call within `budget` bytes.

    While the calls are those of a `known` program, its plan is followed from the first op on. Where the program takes
    another path, or none is known, the online policy goes on from what is in memory. `passed_in` holds what the caller
    brought: it does not count.
    """

    def __init__(self, tape: Tape, budget: int, passed_in: Iterable[Any], roots: Iterable[Any], known: Known | None) -> None:
        self.tape = tape
        self.budget = budget
        self.lowering = Lowering(tape)
        self.ledger = Ledger()
        self.executor = Executor(self.lowering, self.ledger)
        self.known = known
        self.cursor = 0
        self.residency = None if known else Residency(self.lowering.program, budget, knows_future=False)
        self.held_bytes = 0
        self.refused_bytes = 0
        self.held_elsewhere: dict[int, bool] = {}
        self._owners = {id(_owner(array)) for array in passed_in}
        self._roots = {id(root) for root in roots}
        self._references: dict[int, _Handle] = {}
        self._handles: list[int] = []
        self._residual = bytearray()
        self._released: list[int] = []
        self._yielded: list[int] = []  # to the next call, which reads them: they may not be dropped before
        self._collected = _forwarder(weakref.ref(self))

    @property
    def limit(self) -> int:
        """Bytes that live and idle buffers may take now: what the plan or the policy projects so far."""
        if self.residency is not None:
            return max(self.residency.peak, self.ledger.live)
        assert self.known is not None and self.known.plan is not None
        return self.known.plan.projected_peak_bytes

    def admit(self, call: int) -> None:
        """Make the output of a call exist, if it is not a view."""
        if self.known is not None and not self._is_expected(call):
            self.leave_plan()
        value = self.lowering.add_call(call)
        if value < 0:
            return
        self._handles.append(0)
        self._residual.append(0)
        if self.known is not None:
            self._follow(value)
            self._note_residuals(call)
            self._released.clear()
            self._yielded.clear()
            return
        residency = self.residency
        assert residency is not None
        residency.extend()
        self._released += self._yielded
        self._yielded.clear()
        self._drop_released()
        residency.wanted[value] = 1  # the program is about to receive it
        self._note_residuals(call)
        try:
            self.perform(residency.make(value))
        except DoesNotFit as error:
            self._refuse(error)

    def _refuse(self, error: DoesNotFit) -> None:
        """Stop computing: the rest of the program is recorded by shapes alone, to find out what it would need."""
        self.refused_bytes = error.needed_bytes
        self.executor.values.clear()
        self.ledger.clear()
        self.close()

    def _note_residuals(self, call: int) -> None:
        """Mark what the reverse sweep will read of this call."""
        tape, value_of = self.tape, self.lowering.value_of
        op, inputs, _, output = tape.calls[call]
        if not tape.active[output]:
            return
        mask = tuple([bool(tape.active[slot]) for slot in inputs])
        for read in op.residuals(mask):
            v = value_of[output if read < 0 else inputs[read]]
            if v >= 0 and not self._residual[v]:
                self._residual[v] = 1
                if self.residency is not None:
                    self.residency.wanted[v] = 1

    def _is_expected(self, call: int) -> bool:
        """Tell whether a call is the one that the known program has at this place, constants' layouts included."""
        known = self.known
        assert known is not None
        if call >= known.forward_calls:
            return False
        tape, then = self.tape, known.tape
        op, inputs, parameters, output = tape.calls[call]
        before = then.calls[call]
        if op is not before[0] or inputs != before[1] or output != before[3] or parameters != before[2]:
            return False
        for slot in inputs:
            if tape.phantoms[slot] is not then.phantoms[slot]:
                now, past = tape.phantoms[slot], then.phantoms[slot]
                if isinstance(now, np.ndarray) or isinstance(past, np.ndarray):
                    same = (
                        isinstance(now, np.ndarray)
                        and isinstance(past, np.ndarray)
                        and (now.shape == past.shape and now.dtype == past.dtype and now.strides == past.strides)
                    )
                    if not same:
                        return False
                elif type(now) is not type(past):
                    return False
        return self.held_bytes <= known.program.held_bytes

    def _follow(self, value: int) -> None:
        """Carry out the plan's steps up to the first making of `value`. What it drops after that waits for the next call:
        the program may be about to read the value."""
        assert self.known is not None and self.known.plan is not None
        steps = self.known.plan.steps
        while True:
            step = steps[self.cursor]
            self.cursor += 1
            self.perform((step,))
            if isinstance(step, Compute) and step.value == value:
                return

    def leave_plan(self) -> None:
        """Go on online from what is in memory: the program has taken another path than the known one."""
        self.known = None
        program = self.lowering.program
        residency = Residency(program, self.budget, knows_future=False)
        position = len(program)
        for v in range(position):
            residency.wanted[v] = bool(self._residual[v] or self._handles[v])
        residency.live = self.held_bytes
        residency.adopt(self.executor.values, position)
        residency.peak = max(residency.peak, self.ledger.peak)
        self.residency = residency

    def perform(self, steps: Iterable[Step]) -> None:
        """Carry out the plan's or the policy's steps."""
        self.executor.perform(steps, self.limit)

    def capture(self, slot: int) -> None:
        """Count a constant that the call itself has made; what the caller passed in or already held is not counted."""
        value = self.tape.values[slot]
        if not isinstance(value, np.ndarray):
            if type(value).__name__ == "Array":
                raise TapeError(
                    "a function with a memory_budget uses a traced array of an outer transform: put the budget on the "
                    "outermost transform instead"
                )
            return
        self.tape.freeze(value)
        owner = _owner(value)
        key = id(owner)
        if key in self._owners:
            return
        self._owners.add(key)
        nbytes = owner.nbytes
        if nbytes >= _SMALL_CONSTANT:
            was_held = None if self.known is None else self.known.held_elsewhere.get(slot)
            self.held_elsewhere[slot] = self._is_held_elsewhere(owner) if was_held is None else was_held
            if self.held_elsewhere[slot]:
                return
        self.held_bytes += nbytes
        if self.residency is not None:
            self._drop_released()
            try:
                self.perform(self.residency.hold(nbytes))
            except DoesNotFit as error:
                self._refuse(error)
                return
        self.ledger.admit(max(self.limit, self.ledger.live + nbytes), nbytes)
        self.ledger.count(nbytes)

    def _is_held_elsewhere(self, owner: np.ndarray) -> bool:
        """Tell whether a module, a closure, a class or an argument holds the array: then it was there before the call."""
        known = {id(self), id(self.tape), id(self.tape.values), id(self.tape.frozen)}
        frontier: list[Any] = [owner]
        for _ in range(4):
            found = []
            for holder in gc.get_referrers(*frontier):
                if id(holder) in known or type(holder).__name__ in ("frame", "list_iterator", "tuple_iterator"):
                    continue
                if id(holder) in self._roots or type(holder).__name__ in ("cell", "module", "type", "function"):
                    return True
                if type(holder) is dict and "__name__" in holder and "__builtins__" in holder:
                    return True
                if holder is frontier or holder is found:
                    continue
                known.add(id(holder))
                found.append(holder)
            if not found or len(found) > 64:
                return False
            frontier = found
        return False

    def watch(self, array: Any) -> None:
        """Follow a traced array that the program holds: when it is collected, its value may go."""
        key = id(array)
        slot = array._slot
        old = self._references.pop(key, None)
        if old is not None:
            self._release(old.slot)
        self._references[key] = _Handle(array, self._collected, key, slot)
        v = self.lowering.value_of[slot] if slot < len(self.lowering.value_of) else -1
        if v >= 0:
            self._handles[v] += 1
            if self.residency is not None:
                self.residency.wanted[v] = 1

    def unwatch(self, array: Any) -> None:
        """Take note that the program holds the value of `array` no more; a write may take over its buffer then."""
        old = self._references.pop(id(array), None)
        if old is not None:
            self._release(old.slot, self._yielded)

    def forget(self, handle: _Handle) -> None:
        """Take note that a traced array was collected."""
        if self._references.get(handle.key) is handle:
            del self._references[handle.key]
            self._release(handle.slot)

    def _release(self, slot: int, pile: list[int] | None = None) -> None:
        v = self.lowering.value_of[slot] if slot < len(self.lowering.value_of) else -1
        if v >= 0:
            self._handles[v] -= 1
            if not self._handles[v] and not self._residual[v]:
                (self._released if pile is None else pile).append(v)

    def _drop_released(self) -> None:
        assert self.residency is not None
        while self._released:
            v = self._released.pop()
            if not self._handles[v] and not self._residual[v]:
                self.perform(self.residency.want(v, False))

    def value(self, slot: int) -> Any:
        """Return the value in `slot`, made again if need be. Arrays are copied: what the user sees is never recycled."""
        v = self.lowering.value_of[slot] if slot < len(self.lowering.value_of) else -1
        if v >= 0 and v not in self.executor.values:
            if self.residency is None:
                self.leave_plan()
            assert self.residency is not None
            try:
                self.perform(self.residency.make(v))
            except DoesNotFit as error:
                self._refuse(error)
                raise NeedsValueError("the value does not fit into the budget") from None
        found = self.executor.resolve(slot)
        return found.copy() if isinstance(found, np.ndarray) and v >= 0 else found

    def close(self) -> None:
        """Stop following the program: it has returned."""
        self._references.clear()
        self.tape.keeper = ShapesOnly()


class _Handle(weakref.ref):
    """A weak reference to a traced array that knows its slot."""

    __slots__ = ("key", "slot")

    def __new__(cls, array: Any, collected: Any, key: int, slot: int) -> _Handle:
        return super().__new__(cls, array, collected)

    def __init__(self, array: Any, collected: Any, key: int, slot: int) -> None:
        super().__init__(array, collected)  # pyright: ignore[reportCallIssue]
        self.key = key
        self.slot = slot


def _forwarder(keeper: Any) -> Any:
    """Return a callback that tells the keeper of a collected array, without keeping the keeper alive."""

    def collected(handle: Any) -> None:
        alive = keeper()
        if alive is not None:
            alive.forget(handle)

    return collected


def _owner(array: Any) -> Any:
    while isinstance(getattr(array, "base", None), np.ndarray):
        array = array.base
    return array
