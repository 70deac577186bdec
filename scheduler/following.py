"""Seconds that a plan will take here: of a few calls by it where they are short, else of its ops and of following it."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np

from ..checkpoint.plan import Plan
from ..runtime.primitives import is_opaque
from ..runtime.streams import Rehearsal
from .known import Known
from .options import Options
from .programs import Programs
from .run import Request, run
from .timing import ops_seconds

_LENGTH = 40
_ROUNDS = 7
_ROOM = 2**40
_MOST_SECONDS, _MOST_CALLS = 0.4, 9


def called_seconds(request: Request, known: Known, expected: float) -> float | None:
    """Return the seconds of a call by a known program's plan, the median of a few; None where they are not made.

    That is where they are `expected` to take over 0.4 s, or would do more than compute: write to a disk, or run a primitive
    that the user wrote. The request's arguments are computed with, within its budget. What fails here says so when it is
    called in earnest.
    """
    assert known.plan is not None
    on_disk = known.plan.spilled_bytes or known.plan.program.loops_on_disk_bytes()
    if expected > _MOST_SECONDS or on_disk or any(is_opaque(op) for op, *_ in known.tape.calls):
        return None
    known.forget_values()
    if not known.script:
        known.write_script()
    request = replace(request, options=replace(request.options, subscriber=None))
    calls: list[float] = []
    try:
        with Rehearsal(), np.errstate(all="ignore"):
            while len(calls) < _MOST_CALLS and (len(calls) < 2 or sum(calls) < _MOST_SECONDS):
                start = time.thread_time()
                outcome = run(request, known)
                if outcome.known is not None:
                    return None
                del outcome
                calls.append(time.thread_time() - start)
    except Exception:
        return None
    return median(calls[len(calls) // 2 :])  # the first ones touch new memory, and run new code


def projected_seconds(plan: Plan, known: Known, kinds: dict[Any, float | None] | None = None) -> float:
    """Return the seconds that `plan` takes on this machine, when nothing else runs there; see `ops_seconds` for `kinds`."""
    return sum(ops_seconds(plan, known.lowering, kinds)) + _following().seconds(plan, known) + plan.waiting_seconds


@dataclass(frozen=True, slots=True)
class _Following:
    """Seconds besides its op of a call in the forward sweep, of a later one, of views there, and of every run."""

    forward: float
    later: float
    forward_view: float
    later_view: float
    run: float

    def seconds(self, plan: Plan, known: Known) -> float:
        forward, later, forward_views, later_views = _counts(plan, known)
        seconds = self.run + forward * self.forward + later * self.later
        return seconds + forward_views * self.forward_view + later_views * self.later_view


def _counts(plan: Plan, known: Known) -> tuple[int, int, int, int]:
    """Return how many calls a plan makes in the forward sweep and later, and how many views are made in either."""
    tape, forward = known.tape, known.program.forward
    is_view = [tape.aliases[output] >= 0 for output in tape.calls.outputs]
    forward_views = sum(is_view[: known.forward_calls])
    return forward, sum(plan.computed) - forward, forward_views, sum(is_view) - forward_views


@functools.cache
def _following() -> _Following:
    """Take it from three programs: of nothing, of small ops, and of views."""
    (nothing, least), (ops, of_ops), (views, of_views) = _measured(_nothing), _measured(_ops), _measured(_views)
    forward = (of_ops[0] - least[0]) / (ops[0] - nothing[0])
    later = (of_ops[1] - least[1]) / (ops[1] - nothing[1])
    forward_view = (of_views[0] - least[0]) / (views[2] - nothing[2])
    later_view = (of_views[1] - least[1]) / (views[3] - nothing[3])
    run = sum(least) - nothing[0] * forward - nothing[1] * later
    return _Following(*(max(seconds, 0.0) for seconds in (forward, later, forward_view, later_view, run)))


def _nothing(x: Any) -> Any:
    return np.sum(x)


def _ops(x: Any) -> Any:
    y = x
    for _ in range(_LENGTH):
        y = np.tanh(y) * 1.5 + x
    return np.sum(y)


def _views(x: Any) -> Any:
    y = x
    for _ in range(_LENGTH):
        y = np.transpose(np.transpose(y))
    return np.sum(y)


def _measured(f: Callable) -> tuple[tuple[int, int, int, int], tuple[float, float]]:
    """Return the counts of `f`, and the seconds that its forward sweep and what follows take besides their ops."""
    returned = 0.0

    def timed(x: Any) -> Any:
        nonlocal returned
        y = f(x)
        returned = time.thread_time()
        return y

    programs = Programs()
    request = Request(timed, (np.linspace(0.1, 0.8, 8).reshape(2, 4),), {}, 0, Options(_ROOM))
    known = programs.run(request).known
    assert known is not None
    programs.run(request)
    forward, later = [], []
    for _ in range(_ROUNDS):
        start = time.thread_time()
        programs.run(request)
        forward.append(returned - start)
        later.append(time.thread_time() - returned)
    assert known.plan is not None
    of_forward, of_later = ops_seconds(known.plan, known.lowering)
    return _counts(known.plan, known), (min(forward) - of_forward, min(later) - of_later)
