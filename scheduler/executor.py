"""The executor: carries out actions on arrays. It knows slots, buffers and the ledger; no plans, policies or terminals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..runtime.checksum import checksum
from ..runtime.errors import ChangedError, RuleError
from ..runtime.landing import Landing
from ..runtime.tape import Tape
from .actions import (
    COMPARE,
    DELIVER,
    FREE,
    HUSH,
    LET_GO,
    OVERWRITE,
    READ,
    RUN,
    RUN_INTO,
    VIEW,
    WAIT,
    WRITE,
    Action,
)
from .buffers import Ledger
from .events import Stepped, Subscriber
from .spill import SpillFile

_STEPS = frozenset([RUN, FREE, RUN_INTO, OVERWRITE, READ, WRITE])


class Executor:
    """Makes and frees the values of one run of a tape, in the tape's own table of values by slot.

    `ledger.live` is what its values and the captured constants take now.
    """

    def __init__(
        self, tape: Tape, ledger: Ledger, subscriber: Subscriber | None = None, landing: Landing | None = None
    ) -> None:
        self.tape = tape
        self.ledger = ledger
        self.subscriber = subscriber
        self.landing = landing
        self.delivered: set[int] = set()  # numbers of gradients
        self._landed: set[int] = set()  # identities of places in use
        self.done = 0
        self.spill_file: SpillFile | None = None
        self._prints: dict[int, int] = {}  # of what opaque ops have made, by slot

    def perform(self, actions: Iterable[Action], limit: int) -> None:
        """Carry out actions in order; idle buffers stay within `limit` bytes, values in memory included."""
        values, ledger = self.tape.values, self.ledger
        admit, count = ledger.admit, ledger.count
        if self.subscriber is not None:
            actions = self._told(actions, self.subscriber)
        quiet: Any = None
        # No name may be left on an array between two actions: a buffer with another owner is not recycled.
        try:
            for kind, function, operands, parameters, slot, size, more in actions:
                if kind == RUN:
                    admit(limit, size)
                    if parameters is None:
                        values[slot] = function(*[values[s] for s in operands])
                    else:
                        values[slot] = function(*[values[s] for s in operands], **parameters)
                    count(values[slot].nbytes)
                elif kind == FREE:
                    self._free(slot)
                elif kind == RUN_INTO:
                    buffer = self._place(more[3]) if more[3] >= 0 else None
                    if buffer is None:
                        buffer = ledger.take(more[1], more[2], more[0])
                    admit(limit, size)
                    if buffer is None:
                        values[slot] = function[0](*[values[s] for s in operands], **(parameters or {}))
                    else:
                        values[slot] = function[1](buffer, *[values[s] for s in operands], **(parameters or {}))
                    buffer = None
                    count(values[slot].nbytes)
                elif kind == OVERWRITE:
                    self._overwrite(function, operands, parameters, slot, size, more, limit)
                elif kind == VIEW:
                    values[slot] = function(values[operands[0]], **(parameters or {}))
                elif kind == LET_GO:
                    for s in operands:
                        values[s] = None
                elif kind == COMPARE:
                    self._compare(function, slot, more[0], more[1])
                elif kind == DELIVER:
                    self.deliver(more, values[slot])
                elif kind >= WRITE:
                    self._spill(kind, slot, size, more, limit)
                elif kind == HUSH:
                    quiet = np.errstate(all="ignore")
                    quiet.__enter__()
                else:
                    quiet.__exit__(None, None, None)
                    quiet = None
        finally:
            if quiet is not None:
                quiet.__exit__(None, None, None)

    def _place(self, number: int) -> np.ndarray | None:
        place = None if self.landing is None else self.landing.places[number]
        if place is not None:
            self._landed.add(id(place))
        return place

    def deliver(self, number: int, gradient: Any) -> None:
        """Hand a finished gradient over, if the caller wants it before the call is over."""
        if self.landing is not None:
            self.delivered.add(number)
            self.landing.deliver(number, gradient, gradient)

    def _spill(self, kind: int, slot: int, size: int, layout: Any, limit: int) -> None:
        """Begin to write a value to disk or to read it from there, or wait until that is done."""
        file, values, ledger = self.spill_file, self.tape.values, self.ledger
        assert file is not None
        if kind == WAIT:
            file.wait(slot)
        elif kind == WRITE:
            file.write(slot, values[slot])
        else:
            assert kind == READ
            shape, dtype, order = layout
            buffer = ledger.take(shape, dtype, size) if order == "C" else None
            ledger.admit(limit, size)
            values[slot] = np.empty(shape, dtype, order) if buffer is None else buffer
            ledger.count(size)
            file.read(slot, values[slot])

    def close_spill_file(self) -> None:
        """Let go of the spill file, if there is one."""
        if self.spill_file is not None:
            self.spill_file.close()
            self.spill_file = None

    def settle(self) -> None:
        """Wait for everything that is on its way to disk or from there."""
        if self.spill_file is not None:
            self.spill_file.wait_all()

    def _told(self, actions: Iterable[Action], subscriber: Subscriber) -> Iterator[Action]:
        """Yield `actions`, and tell of each that makes or frees a value when the next one is asked for."""
        ledger = self.ledger
        for action in actions:
            yield action
            if action[0] in _STEPS:
                self.done += 1
                subscriber(Stepped(self.done, ledger.live, ledger.idle, ledger.peak))

    def _overwrite(
        self, functions: Any, operands: Any, parameters: dict | None, slot: int, size: int, more: tuple, limit: int
    ) -> None:
        """Run an op into the buffer of one of its inputs; where the array turns out not to be ours to write, beside it."""
        values, ledger = self.tape.values, self.ledger
        victim, workspace = more
        target = values[victim]
        values[victim] = None
        is_own = id(target) in self._landed or ledger.is_own(target)
        values[victim] = target
        if not is_own:
            del target
            ledger.admit(limit, size)
            values[slot] = functions[0](*[values[s] for s in operands], **(parameters or {}))
            ledger.count(values[slot].nbytes)
            self._free(victim)
            return
        ledger.admit(limit, workspace)
        args = [values[s] for s in operands]
        values[victim] = None
        try:
            values[slot] = functions[1](target, *args, **(parameters or {}))
        except BaseException:
            ledger.count(-target.nbytes)  # half written: neither the old value nor the new
            raise

    def _compare(self, name: str, slot: int, line: str, layout: np.ndarray) -> None:
        """Raise `ChangedError` where an opaque op gave another result than before, `RuleError` where one of another kind."""
        made = self.tape.values[slot]
        if made.shape != layout.shape or made.dtype != layout.dtype:
            raise RuleError(
                f"{name} returned shape {made.shape}, dtype {made.dtype} ({line}), where shape {layout.shape}, dtype "
                f"{layout.dtype} was foreseen from a trial on ones: say which with retape.primitive(f, infer=...)"
            )
        now = checksum(np.asarray(made))
        if self._prints.setdefault(slot, now) != now:
            raise ChangedError(
                f"{name} gave another result when it was computed again ({line}): under a memory_budget values are dropped "
                "and computed again, so a primitive must depend on nothing but its inputs. Draw random numbers with "
                "retape.random; read files and clocks first and pass in what they say"
            )

    def hold(self, nbytes: int, limit: int) -> None:
        """Count memory that the program itself has made and that stays to the end."""
        self.ledger.admit(max(limit, self.ledger.live + nbytes), nbytes)
        self.ledger.hold(nbytes)

    def drop_all(self, held_bytes: int) -> None:
        """Let go of every value that a call has made, and of idle buffers; `held_bytes` of constants stay."""
        values, aliases = self.tape.values, self.tape.aliases
        for slot in self.tape.calls.outputs:
            if values[slot] is not None and aliases[slot] < 0:
                self.ledger.forget(values[slot])
            values[slot] = None
        self.ledger.clear()
        self.ledger.live = held_bytes
        self.ledger.trim()

    def drop(self, slots: Iterable[int]) -> None:
        """Let go of the values in `slots`, as far as they are there; views go with their bases."""
        for slot in slots:
            if self.tape.aliases[slot] < 0 and self.tape.values[slot] is not None:
                self._free(slot)
            else:
                self.tape.values[slot] = None

    def _free(self, slot: int) -> None:
        values = self.tape.values
        array = values[slot]
        values[slot] = None
        self.ledger.release(array, array.nbytes)

    def resolve(self, slot: int) -> Any:
        """Return the array in `slot`: an argument, a constant, a value in memory, or a view of one."""
        self.settle()
        tape = self.tape
        chain = []
        while tape.values[slot] is None and tape.aliases[slot] >= 0:
            chain.append(tape.call_of(slot))
            slot = tape.calls[chain[-1]][1][0]
        array = tape.values[slot]
        for number in reversed(chain):
            op, _, parameters, _ = tape.calls[number]
            array = op.run(array, **(parameters or {}))
        return array
