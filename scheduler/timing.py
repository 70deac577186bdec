"""Seconds of a program's calls, measured on stand-ins of the arrays they read: what a plan will take on this machine."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np

from ..checkpoint.plan import Plan
from ..checkpoint.steps import Compute, Drop
from ..runtime.loops.on_tape import TAKING_NO_ARRAYS
from ..runtime.op import OPS, Op
from .buffers import SMALLEST
from .lowering import Lowering
from .memory import pin_allocator

_ROUNDS = 3
_MOST_SECONDS = 0.5
_NUMBERS = np.linspace(0.05, 0.95, 61)
_OVERHEAD_SECONDS = 4e-6  # of recording, of the plan and of the ledger, a call


def projected_seconds(plan: Plan, lowering: Lowering, kinds: dict[Any, float | None] | None = None) -> float:
    """Return the seconds that `plan` takes by measured times of the calls of its program, each on arrays of its own shape.

    Calls of one kind are measured together, the median of a few counts; whether the result goes into a buffer that was in
    use before or into fresh memory makes a difference. What half a second is not enough for, or what does not run on
    stand-ins (a factorisation), is taken from its estimate, in the proportion found for other calls. The memory is that of
    one call at a time. `kinds` keeps what was measured for the next plan of the program.
    """
    pin_allocator()
    tape, costs = lowering.tape, plan.program.costs
    kinds = {} if kinds is None else kinds
    left = _MOST_SECONDS
    measured = estimated = unmeasured = 0.0
    for (value, is_fresh), count in Counter(_made(plan)).items():
        op, inputs, parameters, output = tape.calls[lowering.call_of[value]]
        phantoms = [tape.phantoms[slot] for slot in inputs]
        kind = (op, is_fresh, *map(_layout, phantoms), repr(parameters))
        if kind not in kinds and left > 0:
            start = time.perf_counter()
            kinds[kind] = _measured(op, phantoms, parameters, None if is_fresh else tape.phantoms[output])
            left -= time.perf_counter() - start
        seconds = kinds.get(kind)
        if seconds is None:
            unmeasured += count * costs[value]
        else:
            estimated += count * costs[value]
            measured += count * (seconds + _OVERHEAD_SECONDS)
    return measured + unmeasured * (measured / estimated if estimated else 1.0)


def _made(plan: Plan) -> Iterator[tuple[int, bool]]:
    """Yield the values in the order of computing, and whether each goes into fresh memory: as the ledger recycles buffers."""
    sizes = plan.program.sizes
    idle: Counter[int] = Counter()
    idle_bytes = 0
    for step, during, live in plan.memory():
        size = sizes[step.value]
        if isinstance(step, Compute):
            is_fresh = size >= SMALLEST and step.overwrites < 0
            if is_fresh and idle[size]:
                idle[size] -= 1
                idle_bytes -= size
                is_fresh = False
            yield step.value, is_fresh
            excess = during + idle_bytes - plan.projected_peak_bytes
            for other in sorted(idle, reverse=True) if excess > 0 else ():
                while idle[other] and excess > 0:
                    idle[other] -= 1
                    idle_bytes -= other
                    excess -= other
        elif isinstance(step, Drop) and size >= SMALLEST and live + idle_bytes + size <= plan.projected_peak_bytes:
            idle[size] += 1
            idle_bytes += size


def _layout(phantom: Any) -> Any:
    return (phantom.shape, phantom.dtype, phantom.strides) if isinstance(phantom, np.ndarray) else type(phantom)


def _measured(op: Op, phantoms: list, parameters: dict | None, made: Any) -> float | None:
    """Return the median seconds of a few runs of `op`, into an array like `made` unless None; None where it does not run.

    Nothing of the user's own is run.
    """
    if OPS.get(op.name) is not op or not _is_ours(op.run) or op in TAKING_NO_ARRAYS:
        return None
    args = [_stand_in(phantom) for phantom in phantoms]
    if made is not None and op.run_into is not None and not op.reads_target:
        call = functools.partial(op.run_into, np.full_like(made, 0), *args, **(parameters or {}))
    else:
        call = functools.partial(op.run, *args, **(parameters or {}))
    times = []
    with np.errstate(all="ignore"):
        for _ in range(_ROUNDS):
            start = time.perf_counter()
            try:
                call()
            except (ArithmeticError, IndexError, TypeError, ValueError, np.linalg.LinAlgError):
                return None
            times.append(time.perf_counter() - start)
    return median(times)


def _is_ours(function: Callable) -> bool:
    return isinstance(function, np.ufunc) or (getattr(function, "__module__", "") or "").split(".")[0] in ("retape", "numpy")


def _stand_in(phantom: Any) -> Any:
    """Return an array like `phantom`: of numbers between 0 and 1, and of zeros where they may be indices."""
    if not isinstance(phantom, np.ndarray):
        return phantom
    made = np.zeros_like(phantom)
    if phantom.dtype.kind in "fc":
        made[...] = np.resize(_NUMBERS, phantom.shape[-1:])
    return made
