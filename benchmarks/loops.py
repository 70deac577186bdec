"""Loops: step runs and seconds to plan, beside checkpoint_schedules where it is installed; then gradients of real loops."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
from tables import table as show

import retape as rt
from retape.checkpoint.loops.binomial import forward_steps
from retape.checkpoint.loops.disk import Prices, forward_with_disk, time_with_disk, turns_with_disk
from retape.checkpoint.loops.mixed import best_split
from retape.checkpoint.loops.online import OnlineCheckpoints
from retape.checkpoint.loops.turns import Forward, forward, turns

SIZES = ((100, 10), (250, 25), (1000, 10), (1000, 40))


def seconds(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return a function's result and its CPU seconds."""
    before = time.process_time()
    made = function()
    return made, time.process_time() - before


def runs(steps: int, slots: int, made: Forward, tape_slots: int = 0, split: Any = None) -> int:
    """Return the step runs of a whole schedule, by walking through it."""
    walked = turns(made.holds, made.first, slots, tape_slots=tape_slots, split=split)
    return steps + sum(turn.stop - turn.start for turn in walked)


def binomial(steps: int, slots: int) -> int:
    return runs(steps, slots, forward(steps, slots))


def mixed(steps: int, slots: int) -> int:
    split = best_split(steps, slots, 1)
    return runs(steps, slots, forward(steps, slots, tape_slots=1, split=split), 1, split)


def online(steps: int, slots: int) -> int:
    policy = OnlineCheckpoints(slots)
    for state in range(1, steps - 1):
        policy.visit(state)
    return runs(steps, slots, Forward(tuple(policy.held), steps - 1))


def disk(steps: int, slots: int) -> float:
    prices = Prices(2, 2)
    made = forward_with_disk(steps, slots, prices)
    for _ in turns_with_disk(made, steps, slots, prices):
        pass
    return time_with_disk(steps, slots, prices) + steps


def peer_runs(schedule: Any) -> int:
    """Return the step runs of a schedule of checkpoint_schedules, by walking through its actions."""
    from checkpoint_schedules import EndReverse, Forward  # pyright: ignore[reportMissingImports]

    total = 0
    for action in schedule:
        if isinstance(action, Forward):
            total += action.n1 - action.n0
        if isinstance(action, EndReverse):
            break
    return total


def peers(steps: int, slots: int) -> dict[str, Callable[[], Any]]:
    """Return the schedules of checkpoint_schedules (LGPL; only run here, if it is installed)."""
    try:
        import checkpoint_schedules as peer  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    return {
        "binomial": lambda: peer_runs(peer.MultistageCheckpointSchedule(steps, slots, 0)),
        "mixed": lambda: peer_runs(peer.MixedCheckpointSchedule(steps, slots, storage=peer.StorageType.RAM)),
    }


def table(*, quick: bool = False) -> dict[str, Any]:
    """Print both tables; return their rows."""
    return {"schedules": schedules(quick), "loops": loops(quick)}


def schedules(quick: bool) -> list:
    """Print the table of step runs and planning times."""
    rows = []
    for steps, slots in SIZES if quick else (*SIZES, (100_000, 20), (1_000_000, 20)):
        others = peers(steps, slots) if steps <= 1000 else {}
        for name, function in (("binomial", binomial), ("mixed", mixed), ("online", online), ("disk", disk)):
            if steps > 1000 and name == "disk":
                continue
            count, taken = seconds(lambda f=function, n=steps, s=slots: f(n, s))
            cells = ["", ""]
            if name in others:
                other, other_taken = seconds(others[name])
                cells = [f"{other}", f"{other_taken:.3f}"]
            ratio = "" if name == "disk" else f"{count / forward_steps(steps, slots):.3f}"
            rows.append(
                [name, f"{steps}", f"{slots}", f"{count:.0f}", ratio, f"{taken:.3f}", f"{1e6 * taken / steps:.2f}", *cells]
            )
    heads = ["schedule", "steps", "slots", "runs", "/ closed form", "seconds", "us a step", "peer runs", "peer seconds"]
    notes = ["disk: the time in step runs, with a price of 2 for each write and read, reverse steps included"]
    show("Loops: step runs and CPU seconds to plan; the peer is checkpoint_schedules", heads, rows, notes=notes)
    return rows


def loops(quick: bool) -> list:
    """Print the table of real loops: CPU time and peak of traced memory of a gradient, beside the Python loop."""
    rows = []
    for size, length in ((10, 1000),) if quick else ((10, 20_000), (10_000, 1000), (200_000, 200)):
        x = np.linspace(0.1, 1.0, size)

        def python(x: Any, length: int = length) -> Any:
            c = x
            for _ in range(length):
                c = np.sin(c * x)
            return np.sum(c)

        def scanned(x: Any, k: int | None, length: int = length) -> Any:
            return np.sum(rt.scan(lambda c, _: (np.sin(c * x), None), x, length=length, checkpoints=k)[0])

        base, whole = measured(python, x)
        rows.append(["Python loop", f"{size}", f"{length}", f"{1e6 * base / length:.1f}", "1.00", f"{whole:.2f}"])
        for k in (None, 10, 3):
            taken, peak = measured(lambda x, k=k: scanned(x, k), x)
            name = f"scan, checkpoints={k}"
            rows.append([name, f"{size}", f"{length}", f"{1e6 * taken / length:.1f}", f"{taken / base:.2f}", f"{peak:.2f}"])
    heads = ["loop", "numbers", "steps", "us a step", "time ratio", "peak MiB"]
    show("Loops: the gradient of c = sin(c * x), step after step; CPU time and peak of traced memory", heads, rows)
    return rows


def measured(f: Callable, x: np.ndarray) -> tuple[float, float]:
    """Return the CPU seconds of a gradient, and in a second call its peak of traced memory in MiB."""
    gradient = rt.grad(f)
    _, taken = seconds(lambda: gradient(x))
    tracemalloc.start()
    try:
        gradient(x)
        return taken, tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
