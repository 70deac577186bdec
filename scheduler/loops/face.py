"""scan, fori_loop and while_loop: loops of equal steps whose gradient holds some states and runs the other steps again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from typing import Any

import numpy as np

from ...checkpoint.loops.binomial import capacity
from ...checkpoint.loops.mixed import best_split
from ...checkpoint.loops.online import OnlineCheckpoints
from ...checkpoint.loops.turns import Turn, forward, turns
from ...runtime import trees
from ...runtime.array import Array
from ...runtime.errors import InputError
from ...runtime.loops.body import Body
from ...runtime.loops.run import run

_ONLINE_SLOTS = 32


def scan(
    step: Callable, carry: Any, xs: Any = None, *, length: int | None = None, checkpoints: int | None = None
) -> tuple[Any, Any]:
    """Run ``carry, y = step(carry, x)`` over the rows of `xs`; return the last carry and the outputs, stacked.

    `carry` is a container of arrays whose shapes and dtypes no step changes; `xs` a container of arrays with a common
    leading axis, or None with `length` given (then `x` is the number of the step). `y` may be None. `step` may use traced
    values from around it, branch on values, draw from `retape.random`, and contain loops; it must do the same when it is run
    again.

    Under a gradient at most `checkpoints` carries are held, the first included, and the other steps are run again in the
    reverse sweep: the fewest runs that are possible (Griewank and Walther 2000), or fewer still where holding tapes of steps
    in the same memory pays. By default as many are held as it takes to run no step more than twice, about
    sqrt(2 x length x bytes of a tape / bytes of a carry). Derivatives of second order hold all steps. Under a
    `memory_budget` the plan decides, and `checkpoints` is not used: a loop of over 1,500 calls is one operation to it, with
    a share of the budget that makes for the least work in all, and with ``spill=`` a share of the disk, too, where its steps
    make carries slower than the disk brings them (Aupy, Herrmann, Hovland and Robert 2016). A shorter one is recorded as a
    Python loop is.

    Raises `InputError` for a step that returns no pair or changes the form of its carry or output, and for xs without a
    common leading axis; `TapeError` for a step that does not do the same again.

    >>> import numpy as np, retape as rt
    >>> def total(x):
    ...     return rt.scan(lambda carry, row: (np.sin(carry + row), carry), 0.0, x, checkpoints=2)[0]
    >>> rt.grad(total)(np.zeros(5)).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    leaves, treedef = trees.flatten(xs)
    leaves = [leaf if isinstance(leaf, (Array, np.ndarray)) else np.asarray(leaf) for leaf in leaves]
    lengths = {leaf.shape[0] if leaf.shape else None for leaf in leaves}
    if length is not None:
        lengths.add(_count(length, "length"))
    if not lengths:
        raise InputError("scan needs xs, or length= for steps without")
    if None in lengths or len(lengths) > 1:
        shapes = ", ".join(str(leaf.shape) for leaf in leaves)
        wanted = "" if length is None else f" of length={length}"
        raise InputError(f"the xs of scan need a common leading axis{wanted}; their shapes are {shapes}")
    body = Body("scan", step, leaves, treedef if leaves else None, length=lengths.pop())
    return run(body, carry, _chooser(checkpoints))


def fori_loop(lower: int, upper: int, body: Callable, carry: Any, *, checkpoints: int | None = None) -> Any:
    """Return the carry after ``carry = body(i, carry)`` for i from `lower` to before `upper`; see `scan`.

    >>> import numpy as np, retape as rt
    >>> float(rt.grad(lambda x: rt.fori_loop(0, 3, lambda i, c: c * x, 1.0))(2.0))
    12.0
    """
    count = max(_count(upper, "upper", least=None) - _count(lower, "lower", least=None), 0)
    made = Body("fori_loop", lambda c, i: (body(i, c), None), [], None, length=count, start=lower)
    return run(made, carry, _chooser(checkpoints))[0]


def while_loop(condition: Callable, body: Callable, carry: Any, *, checkpoints: int | None = None) -> Any:
    """Return the carry after ``carry = body(carry)`` for as long as ``condition(carry)`` is true; see `scan`.

    As the number of steps is not known, the held carries (32 by default) are chosen anew as the loop goes on: the reverse
    sweep runs as few steps as with a known number up to (s + 1)(s + 2) / 2 steps, and a few per cent more beyond.

    >>> import numpy as np, retape as rt
    >>> float(rt.grad(lambda x: rt.while_loop(lambda c: c < 100.0, lambda c: c * x, 1.0))(3.0))
    405.0
    """
    made = Body("while_loop", lambda c, _: (body(c), None), [], None, condition=condition)
    return run(made, carry, _chooser(checkpoints))[0]


def _count(value: Any, name: str, least: int | None = 0) -> int:
    try:
        count = value.__index__()
    except (AttributeError, TypeError):
        raise InputError(f"{name} of a loop must be an integer, not {type(value).__name__}") from None
    if least is not None and count < least:
        raise InputError(f"{name}={count} of a loop must be at least {least}")
    return count


class KnownLength:
    """Holds the states of the binomial schedule of `length` steps, or of the mixed one where tapes take few slots."""

    def __init__(self, length: int, slots: int, tape_slots: int) -> None:
        self._slots = slots
        self._tape_slots = tape_slots
        self._split = best_split(length, slots, tape_slots)
        made = forward(length, slots, tape_slots=tape_slots, split=self._split)
        self.first: int | None = made.first
        self._holds = frozenset(made.holds)

    def visit(self, state: int) -> int | None:
        """Return None for a state to hold, the state itself for another."""
        return None if state in self._holds else state

    def turns(self, held: tuple[int, ...], stop: int) -> Iterator[Turn]:
        """Yield the turns that reverse the steps before `stop`."""
        return turns(held, stop, self._slots, tape_slots=self._tape_slots, split=self._split)


class UnknownLength:
    """Holds the states from which the steps so far are reversed with the fewest runs."""

    first: int | None = None

    def __init__(self, slots: int) -> None:
        self._online = OnlineCheckpoints(slots)

    def visit(self, state: int) -> int | None:
        """Return the state to release for this one."""
        return self._online.visit(state)

    def turns(self, held: tuple[int, ...], stop: int) -> Iterator[Turn]:
        """Yield the turns that reverse the steps before `stop`, from the states that are held at the end."""
        return turns(held, stop, self._online.slots)


def _chooser(checkpoints: int | None) -> Callable[[int | None, int, int], KnownLength | UnknownLength]:
    """Return what chooses a schedule once the number of blocks of steps is known, and the bytes of a state and of a tape."""
    if checkpoints is not None:
        _count(checkpoints, "checkpoints", least=1)

    def choose(blocks: int | None, state_bytes: int, tape_bytes: int) -> KnownLength | UnknownLength:
        if blocks is None:
            return UnknownLength(checkpoints or _ONLINE_SLOTS)
        # A tape as large as a state is one slot, though its records come on top.
        tape_slots = max(ceil(tape_bytes / max(state_bytes, 1) - 1 / 64), 1)
        slots = checkpoints or least_slots(blocks, tape_slots)
        return KnownLength(blocks, slots, tape_slots if tape_slots <= slots else 0)

    return choose


def least_slots(length: int, tape_slots: int) -> int:
    """Return the fewest slots with which no step of `length` is run more than twice."""
    low, high = 0, 1
    while capacity(high, 2, tape_slots) < length:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if capacity(middle, 2, tape_slots) < length else (low, middle)
    return high
