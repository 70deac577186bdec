"""The keeper that runs a known program by its plan, as long as the program calls what it called before."""

from __future__ import annotations

from typing import Any
from weakref import ref

import numpy as np

from ..checkpoint.loops.share import Share
from ..runtime.array import Array
from ..runtime.op import Op
from ..runtime.parameters import is_same
from ..runtime.tape import Tape
from .captures import Captures
from .executor import Executor
from .keeper import OnlineKeeper
from .known import Known


class Follower:
    """Carries out a known program's script call by call. Nothing is recorded: the tape shows the known program's calls.

    A call that is not the expected one, constants' layouts included, leaves the plan: from there on the tape is recorded,
    and the online policy goes on from what is in memory.
    """

    def __init__(self, tape: Tape, budget: int, executor: Executor, captures: Captures, known: Known) -> None:
        assert known.plan is not None
        self.tape = tape
        self.budget = budget
        self.executor = executor
        self.captures = captures
        self.known = known
        self.limit = known.plan.projected_peak_bytes
        self.cursor = 0
        self._handed: list[ref[Array]] = []
        self._given: list[int] = []  # numbers of the arrays that the next call may overwrite
        tape.share(known.tape)
        for slot, value in known.constants.items():  # now, for what the plan hoists may read them
            tape.values[slot] = value
        executor.hold(known.record_bytes, self.limit)

    def follow(self, op: Op, args: Any, parameters: dict | None) -> int:
        """Carry out a call and return its output's slot, or leave the plan and return -1."""
        cursor = self.cursor
        if cursor < self.known.forward_calls:
            expected, slots, known_parameters, output, actions = self.known.script[cursor]
            if (
                op is expected
                and (parameters is known_parameters or is_same(parameters, known_parameters))
                and self._takes(args, slots)
            ):
                self.cursor = cursor + 1
                if self._given:
                    self._given.clear()
                if actions:
                    try:
                        self.executor.perform(actions, self.limit)
                    except Exception:
                        self.cursor = cursor  # the call has not happened
                        self.leave()
                        raise
                return output
        self.leave()
        return -1

    def _takes(self, args: Any, slots: tuple[int, ...]) -> bool:
        """Tell whether a call's operands are those foreseen in `slots`; if so, its constants are in place."""
        if len(args) != len(slots):
            return False
        tape = self.tape
        for a, slot in zip(args, slots, strict=True):
            kind = type(a)
            if kind is Array:
                if a._slot != slot or a._level is not tape:
                    return False
                continue
            then = tape.phantoms[slot]
            if kind is float or kind is int:
                if type(then) is not kind:
                    return False
                tape.values[slot] = a
            elif not self._takes_constant(a, slot, then):
                return False
        return True

    def _takes_constant(self, a: Any, slot: int, then: Any) -> bool:
        if not self.known.is_constant[slot]:
            return False
        if hasattr(a, "phantom"):  # what runs a loop: made for the loop that is expected here, or for another one
            self.tape.values[slot] = a
            return a.phantom is then
        if isinstance(a, np.ndarray):
            if (
                not isinstance(then, np.ndarray)
                or a.shape != then.shape
                or a.dtype != then.dtype
                or a.strides != then.strides
            ):
                return False
        elif isinstance(a, np.generic):
            if not isinstance(then, np.ndarray) or then.shape != () or a.dtype != then.dtype:
                return False
        elif type(a) is not type(then):
            return False
        self.tape.values[slot] = a
        nbytes = self.captures.weigh(slot, a)
        if nbytes:
            if self.captures.held_bytes > self.known.program.held_bytes - self.known.record_bytes:
                return False
            self.executor.hold(nbytes, self.limit)
        return True

    def next_share(self) -> Share:
        """Return the share that the plan gives to the loop that comes next."""
        lowering = self.known.lowering
        runner = self.known.script[self.cursor][1][0]
        return lowering.program.loops[list(lowering.loops).index(runner)].share

    def leave(self) -> OnlineKeeper:
        """Hand over to the online policy: from the call at hand on, the program takes another path than the known one."""
        tape, executor = self.tape, self.executor
        executor.settle()
        executor.drop(self.tape.calls.outputs[self.known.forward_calls :])  # what the plan has hoisted
        lowering = self.known.lowering.until(self.cursor, tape)
        tape.cut(self.cursor)
        keeper = OnlineKeeper(tape, self.budget, lowering, executor, self.captures, self.known.record_bytes)
        tape.keeper = keeper
        given = set(self._given)
        for handed in self._handed:
            array = handed()
            if array is not None and array._level is tape and id(array) not in given:
                keeper.watch(array)
        self._handed.clear()
        return keeper

    def admit(self, call: int) -> None:
        """Do nothing: no call is recorded while the plan is followed."""

    def capture(self, slot: int) -> None:
        """Do nothing: no constant is recorded while the plan is followed."""

    def watch(self, array: Any) -> None:
        """Remember an array that the program holds, in case the plan is left."""
        self._handed.append(ref(array))

    def unwatch(self, array: Any) -> None:
        """Remember that the program gives the value of an array up to the next call."""
        self._given.append(id(array))

    def value(self, slot: int) -> Any:
        """Return the value in `slot`; where it is not in memory, the plan is left, and it is made again."""
        tape = self.tape
        root = slot if tape.aliases[slot] < 0 else tape.aliases[slot]
        if tape.values[root] is None:
            return self.leave().value(slot)
        found = self.executor.resolve(slot)
        is_own = root not in tape.inputs and not self.known.is_constant[root]
        return found.copy() if isinstance(found, np.ndarray) and is_own else found

    @property
    def is_at_end(self) -> bool:
        """Tell whether the program has made all calls that were expected of it."""
        return self.cursor == self.known.forward_calls

    def finish(self) -> None:
        """Run the reverse sweep: what the plan does after the program has returned."""
        self.executor.perform(self.known.rest, self.limit)
