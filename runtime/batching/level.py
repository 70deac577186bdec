"""The batch: a level on which every value stands for many, one for each example, that the program does not see."""

from __future__ import annotations

from threading import get_ident
from typing import Any, NoReturn, Self

from .. import phantom
from ..array import Array, apply, apply_over, is_active, traced
from ..errors import BatchedValueError
from ..layouts import held
from ..levels import Level
from ..lines import place, user_line
from ..op import Op
from ..trail import constant, run_over
from .call import Call, in_pieces, spread
from .indexing import WRITES
from .rules import elementwise, rule_of

_NONE: dict = {}
_MOST_AXES = 65  # NumPy's arrays have fewer
_STAY = (
    "stay with NumPy functions on arrays, make arrays to write into with retape.numpy, and index retape.numpy.array(table) "
    "instead of a plain table"
)
_CURES = {"bool": ("the truth", "choose with np.where(condition, a, b) instead of a branch")}


class _OfExamples:
    """What a level tells of its slots, asked of the array of all examples that a slot is."""

    def __init__(self, find: Any) -> None:
        self.find = find

    def __getitem__(self, values: Any) -> Any:
        return self.find(values)


class _Values:
    """The keeper of a batch, which takes note of nothing: its arrays hold their values."""

    def value(self, slot: Any) -> Any:
        """Return the values of all examples, which are for printing only."""
        return slot

    def watch(self, array: Any) -> None:
        """Follow nothing."""

    def unwatch(self, array: Any) -> None:
        """Follow nothing."""


class Batch(Level):
    """Runs each op on the values of all examples at once, by its batching rule (see `rules`).

    A value's slot is the array of what it is for each of the `size` examples, along a first axis; this may belong to an outer
    transform. What does not differ from example to example is no value of this level, but a plain array or a number.
    """

    __slots__ = ("size", "most_bytes")
    is_batch = True
    keeper = _Values()
    shapes = _OfExamples(lambda values: values.shape[1:])
    dtypes = _OfExamples(lambda values: values.dtype)
    phantoms = _OfExamples(lambda values: phantom.row(held(values)))

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.most_bytes = 0  # that an op has made, for all examples

    def __enter__(self) -> Self:
        self.closed = False  # it keeps no record, and may be entered again
        return super().__enter__()

    def input(self, values: Any) -> Array:
        """Return the traced array of one example for an array of all of them."""
        return traced(self, values, None)

    def is_active(self, array: Any) -> bool:
        """Tell whether the values of the examples depend on an input that an outer transform differentiates by."""
        return is_active(array._slot)

    def check_read(self, array: Any, purpose: str) -> NoReturn:
        """Raise `BatchedValueError`: there is not one value to be read, but one for each example."""
        what, cure = _CURES.get(purpose, (purpose, _STAY))
        raise BatchedValueError(
            f"{what} of a value that differs from example to example was asked for under vmap ({place(user_line())}): "
            f"{cure}, or call the function on one example at a time"
        )

    def record(self, op: Op, args: Any, parameters: dict | None = None, *, gives_up: bool = False) -> Array:
        """Run `op` on all examples. Where no operand differs among them, each gets a result of its own to write into."""
        if self.closed or self.thread != get_ident():
            self.require_open()
        values = []
        is_batched = []
        most, least = 0, _MOST_AXES
        for a in args:
            kind = type(a)
            if kind is Array and a._level is self:
                a = a._slot
                is_batched.append(True)
                axes = a.ndim
                if axes < least:
                    least = axes
            elif kind is float or kind is int:
                is_batched.append(False)
                axes = 0
            else:
                a = constant(a)
                is_batched.append(False)
                axes = getattr(a, "ndim", 0) + 1
            values.append(a)
            if axes > most:
                most = axes
        a = None  # a use more, and what is written to would be copied
        if least == _MOST_AXES:
            return traced(self, spread(apply(op, values, parameters), self.size), None)
        rule = rule_of(op)
        if rule is elementwise and least == most:  # nothing is to be aligned
            y = apply(op, values, parameters)
        else:
            call = Call(op, values, is_batched, parameters or _NONE, self.size)
            if op.name in WRITES:
                values, parameters = WRITES[op.name](call)
                del call
                if not is_batched[0]:  # what the examples shared is a copy of theirs now
                    y = apply_over(op, tuple(values), parameters)
                else:
                    y = (run_over if gives_up else apply)(op, values, parameters)
            else:
                y = rule(call)
        if y.nbytes > self.most_bytes:
            self.most_bytes = y.nbytes
        return traced(self, in_pieces(y), None)
