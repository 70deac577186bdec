"""The keeper that holds a budget while a program is recorded that nobody has seen before: the online policy, acted out."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..checkpoint.errors import DoesNotFit
from ..checkpoint.residency import Residency
from ..checkpoint.steps import Step
from ..runtime.errors import NeedsValueError
from ..runtime.op import Op
from ..runtime.tape import ShapesOnly, Tape
from .actions import Layout
from .captures import Captures
from .executor import Executor
from .lowering import Lowering
from .records import CALLS_AT_ONCE, record_bytes, require_room


class OnlineKeeper:
    """Computes every recorded call within `budget` bytes, and makes again what was dropped when the program needs it.

    It starts where the tape, its lowering and the executor stand: at nothing, or where a known program's plan was left, of
    whose records `record_bytes` are counted already.
    Where a call does not fit, `Refused` takes its place.
    """

    def __init__(
        self,
        tape: Tape,
        budget: int,
        lowering: Lowering,
        executor: Executor,
        captures: Captures,
        record_bytes: int = 0,
    ) -> None:
        self.tape = tape
        self.budget = budget
        self.lowering = lowering
        self.executor = executor
        self.captures = captures
        self.record_bytes = record_bytes
        self._handles: dict[int, _Handle] = {}
        self._uses: list[int] = []  # by value: the traced arrays that the program holds of it
        self._residual = bytearray()  # by value: whether the reverse sweep reads it
        self._released: list[int] = []
        self._yielded: list[int] = []  # to the next call, which reads them: they may not be dropped before
        self._collected = _forwarder(weakref.ref(self))
        for call in range(len(tape.calls)):
            self._note(call)
        self.layout = Layout(lowering, [1] * len(lowering.program))
        self.residency = self._adopted()

    @property
    def limit(self) -> int:
        """Bytes that live and idle buffers may take now: what the policy has projected so far."""
        return max(self.residency.peak, self.executor.ledger.live)

    @property
    def peak_bytes(self) -> int:
        """The most bytes that the policy has projected so far."""
        return self.residency.peak

    def follow(self, op: Op, args: Any, parameters: dict | None) -> int:
        """Foresee nothing."""
        return -1

    def admit(self, call: int) -> None:
        """Make the output of a call exist, if it is not a view."""
        if call % CALLS_AT_ONCE == 0:
            self.count_records(call + CALLS_AT_ONCE)
            if self.tape.keeper is not self:
                return
        value = self.lowering.add_call(call)
        if value < 0:
            return
        residency = self.residency
        residency.extend()
        self._released += self._yielded
        self._yielded.clear()
        self._drop_released()
        self._note(call)
        residency.expect(value)  # the program is about to receive it
        try:
            steps = residency.make(value)
        except DoesNotFit as error:
            self._refuse(error)
            return
        try:
            self._perform(steps)
        except Exception:
            self._take_back()
            raise

    def _take_back(self) -> None:
        """Forget the last call, which failed; what has been computed or dropped for it stays so."""
        self.lowering.take_back()
        self._uses.pop()
        self._residual.pop()
        self.layout = Layout(self.lowering, self.layout.runs[: len(self.lowering.program)])
        self.residency = self._adopted()

    def _adopted(self) -> Residency:
        """Return a policy that goes on from what is in memory."""
        program = self.lowering.program
        residency = Residency(program, self.budget, knows_future=False)
        for v in range(len(program)):
            if self._residual[v] or self._uses[v]:
                residency.expect(v)
        residency.live = self.captures.held_bytes + self.record_bytes
        residency.adopt([v for v in range(len(program)) if self._is_here(v)], len(program))
        residency.peak = max(residency.peak, self.executor.ledger.peak)
        self.layout.note_views(self.tape.values)
        return residency

    def _is_here(self, v: int) -> bool:
        return self.tape.values[self.tape.calls.outputs[self.lowering.call_of[v]]] is not None

    def _refuse(self, error: DoesNotFit) -> None:
        """Stop computing: the rest of the program is recorded by shapes alone, to find out what it would need."""
        self.executor.drop_all(self.captures.held_bytes)
        self.close()
        self.tape.keeper = Refused(self, error.needed_bytes)

    def _note(self, call: int) -> None:
        """Mark what the reverse sweep will read of this call."""
        tape, value_of = self.tape, self.lowering.value_of
        op, inputs, _, output = tape.calls[call]
        if tape.aliases[output] < 0:
            self._uses.append(0)
            self._residual.append(0)
        if not tape.active[output]:
            return
        mask = tuple([bool(tape.active[slot]) for slot in inputs])
        for read in op.residuals(mask):
            v = value_of[output if read < 0 else inputs[read]]
            if v >= 0:
                self._residual[v] = 1

    def _perform(self, steps: Sequence[Step]) -> None:
        self.executor.perform(self.layout.actions(steps), self.limit)

    def capture(self, slot: int) -> None:
        """Count a constant that the call itself has made; what the caller passed in or already held is not counted."""
        self.hold(self.captures.weigh(slot, self.tape.values[slot]))

    def count_records(self, calls: int) -> None:
        """Make room for the records of so many calls. Raises `MemoryBudgetError` where they alone pass the budget."""
        more = record_bytes(calls) - self.record_bytes
        if more > 0:
            require_room(calls, self.budget, self.captures.held_bytes)
            self.record_bytes += more
            self.hold(more)

    def hold(self, nbytes: int) -> bool:
        """Make room for bytes that stay to the end; return whether that was possible."""
        if not nbytes:
            return True
        self._drop_released()
        try:
            self._perform(self.residency.hold(nbytes))
        except DoesNotFit as error:
            self._refuse(error)
            return False
        self.executor.hold(nbytes, self.limit)
        return True

    def watch(self, array: Any) -> None:
        """Follow a traced array that the program holds: when it is collected, its value may go."""
        key = id(array)
        old = self._handles.pop(key, None)
        if old is not None:
            self._release(old.slot, self._released)
        handle = self._handles[key] = _Handle(array, self._collected)
        handle.key, handle.slot = key, array._slot
        v = self._value_of(array._slot)
        if v >= 0:
            self._uses[v] += 1
            if not self.residency.is_wanted(v):
                self._perform(self.residency.want(v, True))

    def unwatch(self, array: Any) -> None:
        """Take note that the program holds the value of `array` no more; a write may take over its buffer then."""
        old = self._handles.pop(id(array), None)
        if old is not None:
            self._release(old.slot, self._yielded)

    def forget(self, handle: _Handle) -> None:
        """Take note that a traced array was collected."""
        if self._handles.get(handle.key) is handle:
            del self._handles[handle.key]
            self._release(handle.slot, self._released)

    def _value_of(self, slot: int) -> int:
        value_of = self.lowering.value_of
        return value_of[slot] if slot < len(value_of) else -1

    def _release(self, slot: int, pile: list[int]) -> None:
        v = self._value_of(slot)
        if v >= 0:
            self._uses[v] -= 1
            if not self._uses[v] and not self._residual[v]:
                pile.append(v)

    def _drop_released(self) -> None:
        while self._released:
            v = self._released.pop()
            if not self._uses[v] and not self._residual[v]:
                self._perform(self.residency.want(v, False))

    def value(self, slot: int) -> Any:
        """Return the value in `slot`, made again if need be. Arrays are copied: what the user sees is never recycled."""
        v = self._value_of(slot)
        if v >= 0 and not self.residency.is_resident(v):
            try:
                self._perform(self.residency.make(v))
            except DoesNotFit as error:
                self._refuse(error)
                raise NeedsValueError("the value does not fit into the budget") from None
        found = self.executor.resolve(slot)
        return found.copy() if isinstance(found, np.ndarray) and v >= 0 else found

    def bring(self, slots: Iterable[int]) -> None:
        """Make the values in `slots` exist, all at the same time. Raises `NeedsValueError` where they do not fit."""
        values = [v for slot in slots if (v := self._value_of(slot)) >= 0]
        try:
            for v in (*values, *values):  # making one may have dropped another
                if not self.residency.is_resident(v):
                    self._perform(self.residency.make(v))
        except DoesNotFit as error:
            self._refuse(error)
        if not all(self.residency.is_resident(v) for v in values) or self.tape.keeper is not self:
            raise NeedsValueError("what a loop starts from does not fit into the budget")

    def close(self) -> None:
        """Stop following the program: it has returned."""
        self._handles.clear()
        self.tape.keeper = ShapesOnly()


class Refused(ShapesOnly):
    """The keeper of a program that did not fit, once: `needed_bytes` for one call, which the online policy had no way to
    make room for. It computes nothing; what the whole program is shall be known, for a plan of it may well fit.
    """

    def __init__(self, keeper: OnlineKeeper, needed_bytes: int) -> None:
        self.needed_bytes = needed_bytes
        self.lowering = keeper.lowering
        self.layout = keeper.layout
        self.peak_bytes = keeper.peak_bytes
        self._budget = keeper.budget
        self._captures = keeper.captures
        self._tape = keeper.tape

    def admit(self, call: int) -> None:
        """Raise `MemoryBudgetError` where there is no room for the records of so many calls."""
        if call % CALLS_AT_ONCE == 0:
            require_room(call, self._budget, self._captures.held_bytes)

    def capture(self, slot: int) -> None:
        """Count a constant that the call itself has made."""
        self._captures.weigh(slot, self._tape.values[slot])


class _Handle(weakref.ref):
    """A weak reference to a traced array that knows its slot."""

    __slots__ = ("key", "slot")
    key: int
    slot: int


def _forwarder(keeper: Any) -> Any:
    """Return a callback that tells the keeper of a collected array, without keeping the keeper alive."""

    def collected(handle: Any) -> None:
        alive = keeper()
        if alive is not None:
            alive.forget(handle)

    return collected
