"""Seconds of a program's calls, measured on stand-ins of the arrays they read: what a plan will take on this machine."""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from ..checkpoint.plan import Plan
from ..checkpoint.steps import Compute, Drop
from ..runtime.loops.on_tape import TAKING_NO_ARRAYS
from ..runtime.op import OPS, Op
from .buffers import SMALLEST, takes_buffer
from .lowering import Lowering
from .memory import pin_allocator

_ROUNDS, _MOST_REPEATS = 3, 1024
_LEAST_SECONDS = 1.5e-4  # of one round: reading the clock takes up to some microseconds
_MOST_SECONDS = 0.5
_MOST_COPIES, _MOST_COPIED_BYTES = 8, 4 * 2**20
_NUMBERS = 65_537

Place = Literal["fresh", "buffer", "operand"]  # where a result goes: into new memory, a recycled buffer, over an input


def ops_seconds(plan: Plan, lowering: Lowering, kinds: dict[Any, float | None] | None = None) -> tuple[float, float]:
    """Return the seconds that a plan's ops take, those that make values of the forward sweep and those of the reverse sweep.

    Each is measured on arrays of its own shape, calls of one kind together; whether the result goes into fresh memory, into
    a buffer that was in use before or over an operand makes a difference. What half a second is not enough for, or what
    does not run on stand-ins, is taken from its estimate, in the proportion found for other calls. It takes the memory of
    one call at a time, and up to 4 MiB for more of the same arrays where the plan holds so much: caches shall be as cold
    as they are then. `kinds` keeps what was measured for the next plan of the program.
    """
    pin_allocator()
    tape, costs = lowering.tape, plan.program.costs
    kinds = {} if kinds is None else kinds
    left, measured, estimated = _MOST_SECONDS, [0.0, 0.0], 0.0
    unmeasured = [0.0, 0.0]
    pool, held_bytes = _Pool(), plan.projected_peak_bytes
    counts = Counter(_made(plan, lowering))
    for value, place in sorted(counts, key=lambda made: -counts[made] * costs[made[0]]):
        count, sweep = counts[value, place], int(value >= plan.program.forward)
        op, inputs, parameters, output = tape.calls[lowering.call_of[value]]
        phantoms = [tape.phantoms[slot] for slot in inputs]
        kind = (op, place, *map(_layout, phantoms), repr(parameters))
        if kind not in kinds and left > 0:
            start = time.thread_time()
            kinds[kind] = _measured(
                op, phantoms, parameters, tape.phantoms[output], place=place, held_bytes=held_bytes, pool=pool
            )
            left -= time.thread_time() - start
        seconds = kinds.get(kind)
        if seconds is None:
            unmeasured[sweep] += count * costs[value]
        else:
            estimated += count * costs[value]
            measured[sweep] += count * seconds
    ratio = sum(measured) / estimated if estimated else 1.0
    forward, later = (found + ratio * guessed for found, guessed in zip(measured, unmeasured, strict=True))
    return forward, later


def _made(plan: Plan, lowering: Lowering) -> Iterator[tuple[int, Place]]:
    """Yield the values in the order of computing, and where each goes: as the ledger recycles buffers."""
    sizes = plan.program.sizes
    idle: Counter[int] = Counter()
    idle_bytes = 0
    for step, during, live in plan.memory():
        size = sizes[step.value]
        if isinstance(step, Compute):
            place: Place = "operand" if step.overwrites >= 0 else "fresh" if size >= SMALLEST else "buffer"
            op, made = _call(lowering, step.value)
            if place == "fresh" and idle[size] and takes_buffer(op, made):
                idle[size] -= 1
                idle_bytes -= size
                place = "buffer"
            yield step.value, place
            excess = during + idle_bytes - plan.projected_peak_bytes
            for other in sorted(idle, reverse=True) if excess > 0 else ():
                while idle[other] and excess > 0:
                    idle[other] -= 1
                    idle_bytes -= other
                    excess -= other
        elif isinstance(step, Drop) and size >= SMALLEST and live + idle_bytes + size <= plan.projected_peak_bytes:
            idle[size] += 1
            idle_bytes += size


def _call(lowering: Lowering, value: int) -> tuple[Op, Any]:
    calls, number = lowering.tape.calls, lowering.call_of[value]
    return calls[number][0], lowering.tape.phantoms[calls.outputs[number]]


def _layout(phantom: Any) -> Any:
    return (phantom.shape, phantom.dtype, phantom.strides) if isinstance(phantom, np.ndarray) else type(phantom)


def _measured(
    op: Op, phantoms: list, parameters: dict | None, made: Any, *, place: Place, held_bytes: int, pool: _Pool
) -> float | None:
    """Return the least seconds of a few runs of `op`, whose result is like `made`; None where it does not run.

    Runs take turns in arrays of `held_bytes` in all, within bounds. Nothing of the user's own is run.
    """
    if OPS.get(op.name) is not op or not _is_ours(op.run) or op in TAKING_NO_ARRAYS:
        return None
    is_fresh, is_update = place == "fresh", place == "operand" and op.reads_target
    into = op.run_into if not is_fresh and (is_update or not op.reads_target) else None
    function = into or op.run
    if parameters:
        function = functools.partial(function, **parameters)
    nbytes = made.nbytes + sum(getattr(phantom, "nbytes", 0) for phantom in phantoms)
    copies = max(1, min(_MOST_COPIES, min(held_bytes, _MOST_COPIED_BYTES) // max(nbytes, 1)))
    arrays = [pool.take(phantom, copies) for phantom in phantoms]
    if into is not None:
        arrays.insert(0, arrays[op.overwrites or 0] if is_update else [np.full_like(made, 0) for _ in range(copies)])
    turns = itertools.cycle(list(zip(*arrays, strict=True)) or [()])
    held = max(1, _MOST_COPIED_BYTES // max(made.nbytes, 1)) if is_fresh else 1
    least, rounds, repeats = math.inf, 0, min(held, 2 * _MOST_COPIES)
    with np.errstate(all="ignore"):
        while rounds < _ROUNDS:
            # Results are held for a round: memory that was just let go would be handed out again, and not be fresh.
            results: deque = deque(maxlen=held)
            start = time.thread_time()
            try:
                for args in itertools.islice(turns, repeats):
                    results.append(function(*args))
            except (ArithmeticError, IndexError, TypeError, ValueError, np.linalg.LinAlgError):
                return None
            seconds = time.thread_time() - start
            if seconds < _LEAST_SECONDS and repeats < _MOST_REPEATS:
                repeats *= 4
                continue
            rounds += 1
            least = min(least, seconds / repeats)  # as other processes only ever add to it
    return least


def _is_ours(function: Callable) -> bool:
    return isinstance(function, np.ufunc) or (getattr(function, "__module__", "") or "").split(".")[0] in ("retape", "numpy")


class _Pool:
    """Stand-ins by layout, kept for the next call measured as long as they are not too many bytes."""

    def __init__(self) -> None:
        self._arrays: dict[Any, list] = {}
        self._nbytes = 0

    def take(self, phantom: Any, count: int) -> list:
        """Return `count` stand-ins like `phantom`."""
        if not isinstance(phantom, np.ndarray):
            return [phantom] * count
        if self._nbytes > _MOST_COPIED_BYTES:
            self._arrays.clear()
            self._nbytes = 0
        kept = self._arrays.setdefault(_layout(phantom), [])
        while len(kept) < count:
            kept.append(_stand_in(phantom))
            self._nbytes += phantom.nbytes
        return kept[:count]


@functools.cache
def _numbers() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.05, 0.95, _NUMBERS)


def _stand_in(phantom: Any) -> Any:
    """Return an array like `phantom`: of numbers between 0 and 1 in no order, and of zeros where they may be indices."""
    made = np.zeros_like(phantom)
    if phantom.dtype.kind in "fc":
        made[...] = np.resize(_numbers(), phantom.shape)
        if phantom.ndim > 1 and phantom.shape[-1] == phantom.shape[-2]:
            made[..., range(phantom.shape[-1]), range(phantom.shape[-1])] += phantom.shape[-1]  # for it may be inverted
    elif phantom.dtype.kind == "b":
        made[...] = np.resize(_numbers() > 0.5, phantom.shape)
    return made
