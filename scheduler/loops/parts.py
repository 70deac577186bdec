"""What goes into a block of a loop's steps and what comes out of it: states, cotangents, and the block's program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...checkpoint.errors import MemoryBudgetError
from ...runtime.array import Array
from ...runtime.errors import TapeError
from ...runtime.loops.body import Body, Form
from ...runtime.tape import Tape
from ..known import Known

ACTIVE, TRACED, PLAIN = "active", "traced", "plain"


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """A carry between two blocks: its leaves, or phantoms of them, and of each what it is to a step.

    `kinds` tell whether a leaf is differentiated by, traced without that, or plain, and whether it is a number in NumPy.
    """

    values: list[Any]
    kinds: tuple[tuple[str, bool], ...]

    def key(self) -> tuple:
        """Return all that a block's program depends on."""
        strides = [v.strides if isinstance(v, np.ndarray) and not v.flags.c_contiguous else None for v in self.values]
        return self.kinds, tuple(strides)


@dataclass(frozen=True, eq=False, slots=True)
class Cotangents:
    """What goes into the reverse of a block: cotangents of its carry, of its outputs by step and number, and of its inputs.

    `before` are those that have come to arrays from around the loop, by slot. None is no cotangent at all.
    """

    carry: tuple[Any, ...]
    outputs: tuple[dict[int, Any], ...]
    before: dict[int, Any]

    def pattern(self) -> tuple:
        """Return which cotangents there are."""
        return tuple([g is not None for g in self.carry]), tuple([tuple(gs) for gs in self.outputs]), tuple(self.before)

    def arrays(self) -> list:
        """Return them in the order in which they go in, as they lie in the phantoms that they were planned with."""
        found = [g for gs in self.outputs for g in gs.values()]
        found += [g for g in self.carry if g is not None]
        found += self.before.values()
        return [np.ascontiguousarray(g) if isinstance(g, np.ndarray) and g.ndim else g for g in found]


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """What all blocks of a loop share: what it does, the tape around it, and which of that tape's arrays its steps use.

    `starts` and `xs` are the slots of the traced leaves of the first carry and of the xs, None for plain ones; `closures`
    the others', in the order in which steps first used them.
    """

    body: Body
    form: Form
    outer: Tape
    starts: tuple[int | None, ...]
    xs: tuple[int | None, ...]
    closures: tuple[int, ...]


@dataclass(eq=False, slots=True)
class Forward:
    """What came of running a block: the next carry, and the leaves and definition of every step's output.

    `traced` tells of each leaf of the outputs whether any step returned a traced array, `active` whether one had a
    derivative. `used` are the slots of the arrays from around the loop that the steps have used, `calls` how many calls
    they made.
    """

    state: State
    outputs: list[tuple[list, Any]]
    traced: list[bool]
    active: list[bool]
    used: tuple[int, ...]
    calls: int


@dataclass(eq=False, slots=True)
class Reverse:
    """What came of reversing a block: the cotangents of the carry before it, of each step's rows, and by outer slot.

    `witness` holds one element of every leaf of the carry behind the block.
    """

    carry: list[Any]
    rows: list[list[Any]]
    sums: dict[int, Any]
    witness: list[float | None]


@dataclass(eq=False, slots=True)
class BlockProgram:
    """A known program of a block, planned for `budget` bytes: where cotangents go in and out, `found` by input slot.

    `misses` counts the blocks before it, one after the other, that took another path each.
    """

    known: Known
    budget: int = -1
    misses: int = 0
    seeds: tuple[int, ...] = ()
    found: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operands:
    """Which operand of the loop's call is what: the leaves of the first carry and of the xs, and the closures by slot."""

    starts: tuple[int, ...]
    xs: tuple[int, ...]
    closures: dict[int, int]


class Unforeseen(TapeError):
    """A step uses an array from around its loop that it did not use before."""

    def __init__(self, array: Array) -> None:
        super().__init__("a loop's step took another path when it was run again: it must do the same each time")
        self.array = array


class Values:
    """What a loop's condition gets for arrays from around the loop: their values."""

    def __init__(self, values: dict[int, Any]) -> None:
        self.values = values

    def enter(self, array: Array) -> Any:
        """Return the value of a traced array. Raises `Unforeseen`."""
        if array._slot not in self.values:
            raise Unforeseen(array)
        return self.values[array._slot]


class ResultsChanged(Exception):
    """Results of a loop have a derivative, by number, that were taken for such without: it must be recorded anew."""

    def __init__(self, numbers: list[int]) -> None:
        super().__init__()
        self.numbers = numbers


class Outgrown(Exception):
    """A block of a loop needs more bytes than were foreseen, `factor` times as many: `cause` says so."""

    def __init__(self, factor: float, cause: MemoryBudgetError) -> None:
        super().__init__()
        self.factor = factor
        self.cause = cause


def place(begin: int, size: int) -> int:
    """Return the element of a leaf that tells whether a block did the same again: another one at each block."""
    return begin * 7919 % size


def witness(leaf: Any, begin: int) -> float | None:
    """Return that element as a number; None of what is no array and of what has no elements."""
    size = getattr(leaf, "size", 0)
    if type(leaf) is Array or not size:
        return None
    element = leaf.item(place(begin, size))
    return element.real + element.imag if type(element) is complex else float(element)
