"""A loop as one call of a tape: the storages that stand for it there, and how the reverse sweep comes by.

A loop makes one storage, a bundle of its results and of the states that it holds for its reverse sweep; its results are
parts of that, as views where they are large, as copies where they are not, so that the bundle may go. Its reverse makes
another bundle, of the cotangents of what came into the loop. How steps are run is the business of the `Runner`, the first
operand of both calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from .. import phantom
from ..array import record
from ..op import define


class Outline(Protocol):
    """What stands for a `Runner` on tapes of shapes: bytes and seconds of the loop by the share of memory that it has."""

    def states_bytes(self) -> int:
        """Return the bytes of the bundle of results and states."""
        ...

    def forward_workspace(self) -> int:
        """Return the bytes that running the loop takes beside that bundle."""
        ...

    def reverse_workspace(self) -> int:
        """Return the bytes that reversing the loop takes beside the bundle of cotangents."""
        ...

    def forward_seconds(self) -> float:
        """Return the estimated seconds of running the loop."""
        ...

    def reverse_seconds(self) -> float:
        """Return the estimated seconds of reversing the loop."""
        ...


class Runner(Protocol):
    """Runs a loop of one call. Its `phantom` is an `Outline`."""

    phantom: Any

    def forward(self, operands: Sequence) -> Bundle:
        """Run all steps from the arrays that came in; return the results and what is held for the reverse."""
        ...

    def reverse(
        self, states: Bundle, operands: Sequence, seeds: dict[int, Any], before: dict[int, Any], wanted: Sequence[int]
    ) -> Bundle:
        """Return the cotangents of the operands whose numbers are `wanted`.

        `seeds` are those of results, by number; `before` those that operands have from elsewhere, to be added to.
        """
        ...


@dataclass(eq=False, slots=True)
class Bundle:
    """Arrays that come and go together; `nbytes` is what they are counted as, `held` the states by block."""

    parts: list[Any]
    nbytes: int
    held: Any = None


def _part(bundle: Bundle, number: int, shape: tuple[int, ...], dtype: Any) -> Any:
    return bundle.parts[number]


def _copied_part(bundle: Bundle, number: int, shape: tuple[int, ...], dtype: Any) -> Any:
    part = bundle.parts[number]
    return np.copy(part) if shape else part


def _reverse(runner: Runner, *arrays: Any, seeds: tuple, before: tuple, wanted: tuple) -> Bundle:
    count = len(arrays) - 1 - len(seeds) - len(before)
    middle = count + 1 + len(seeds)
    given = dict(zip(seeds, arrays[count + 1 : middle], strict=True))
    sums = dict(zip(before, arrays[middle:], strict=True))
    return runner.reverse(arrays[count], arrays[:count], given, sums, wanted)


def _pull_loop(tape: Any, call: tuple, g: dict[int, Any], sums: list, handle: Callable) -> None:
    """Record the reverse of a loop; what has come to its operands so far goes in, and adds up as it would step by step."""
    _, (runner, *operands), _, output = call
    wanted = tuple(k for k, slot in enumerate(operands) if tape.active[slot])
    before = tuple(k for k in wanted if sums[operands[k]] is not None)
    arrays = [handle(slot) for slot in (runner, *operands, output)]
    arrays += [*g.values(), *(sums[operands[k]] for k in before)]
    made = record(tape, REVERSE, tuple(arrays), {"seeds": tuple(g), "before": before, "wanted": wanted})
    for number, k in enumerate(wanted):
        kind = {"shape": tape.shapes[operands[k]], "dtype": tape.dtypes[operands[k]]}
        sums[operands[k]] = record(tape, PART, (made,), {"number": number, **kind})


def _pull_part(tape: Any, call: tuple, g: Any, sums: list, handle: Callable) -> None:
    """Hand the cotangent of one result to the loop, which steps back from all of them at once."""
    _, (bundle,), parameters, _ = call
    found = sums[bundle]
    if found is None:
        found = sums[bundle] = {}
    number = parameters["number"]
    found[number] = found[number] + g if number in found else g


def _gradients(runner: Outline, *arrays: Any, seeds: tuple, before: tuple, wanted: tuple) -> Any:
    return phantom.contiguous((sum(phantom.nbytes(arrays[k]) for k in wanted),), np.uint8)


def _any_rule(g: Any, y: Any, operands: tuple, runner: Any) -> Any:
    raise AssertionError("a loop steps back as a whole")


LOOP = define(
    "loop",
    lambda runner, *operands: runner.forward(operands),
    inputs="runner operands*",
    rules=(None, _any_rule),
    infer=lambda runner, *_: phantom.contiguous((runner.states_bytes(),), np.uint8),
    workspace=lambda made, runner, *_: runner.forward_workspace(),
    pull=_pull_loop,
)
REVERSE = define(
    "loop_reverse",
    _reverse,
    inputs="runner arrays*",
    parameters=("seeds", "before", "wanted"),
    infer=_gradients,
    workspace=lambda made, runner, *_, seeds, before, wanted: runner.reverse_workspace(),
    zero_gradient=True,
)
PART = define(
    "loop_part",
    _part,
    inputs="bundle",
    parameters=("number", "shape", "dtype"),
    rules=lambda g: g,
    infer=lambda bundle, number, shape, dtype: (phantom.contiguous(shape, dtype), True),
    is_view=True,
    pull=_pull_part,
)
COPIED_PART = define(
    "loop_result",
    _copied_part,
    inputs="bundle",
    parameters=("number", "shape", "dtype"),
    rules=lambda g: g,
    infer=lambda bundle, number, shape, dtype: phantom.contiguous(shape, dtype),
    pull=_pull_part,
)


CONSTANT_PART = define(
    "loop_constant",
    _copied_part,
    inputs="bundle",
    parameters=("number", "shape", "dtype"),
    infer=lambda bundle, number, shape, dtype: phantom.contiguous(shape, dtype),
    zero_gradient=True,
)
ELEMENT = define(
    "element",
    lambda x, at: np.asarray(x).flat[at],
    inputs="x at",
    infer=lambda x, at: phantom.contiguous((), x.dtype),
    flops=lambda *_: 1.0,
    zero_gradient=True,
)
TAKING_NO_ARRAYS = frozenset([LOOP, REVERSE, PART, COPIED_PART, CONSTANT_PART])
