"""Makes the table of what plans promise against what runs take: peaks in bytes, and seconds, of programs of every kind."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import cells
import measure
import numpy as np
import programs
import tables

_SHARES = (0.9, 0.5)
_ROUNDS, _CALLS = 3, 3
_COLUMNS = (
    "",
    "calls",
    "budget\nMiB",
    "peak,\nMiB",
    "projected\n/ measured",
    "CPU s\na call",
    "spread",
    "projected\n/ measured",
)
_NOTES = (
    "Each row in a fresh process: a plan made without running, then calls under it. The budget is a share of the need.",
    f"Peak: by the ledger, of every buffer. CPU s: the median of {_ROUNDS * _CALLS} calls; spread: the range of the middle",
    f"half, as a share of it. Projected seconds: the median of {_ROUNDS} plans, in turns with {_CALLS} calls each.",
)


def table(*, quick: bool) -> list[dict[str, Any]]:
    """Measure and print a row for each program and budget, and return their records."""
    records = [
        cells.ask("certificate", {"program": name, "share": share, "quick": quick})
        for name in (*programs.NAMES[:5], *_SMALL)
        for share in _SHARES
    ]
    rows = [
        [
            f"{row['program']}, {100 * row['share']:.0f} %",
            f"{row['calls']:,}",
            f"{row['budget_bytes'] / 2**20:.2f}",
            f"{row['peak_bytes'] / 2**20:.2f}",
            f"{row['projected_bytes'] / row['peak_bytes']:.4f}",
            f"{row['seconds']:.4f}",
            f"{100 * row['spread']:.0f} %",
            f"{row['projected_seconds'] / row['seconds']:.2f}",
        ]
        for row in records
    ]
    tables.table("What a plan promises, and what its calls take", _COLUMNS, rows, notes=_NOTES)
    return records


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure one row in this process."""
    import retape as rt

    loss, args = _program(spec["program"], spec["quick"])
    budget = int(rt.plan(loss, *args).projected_peak_bytes * spec["share"])
    try:
        plan = rt.plan(loss, *args, memory_budget=budget)
    except rt.MemoryBudgetError as error:
        budget = error.needed_bytes
        plan = rt.plan(loss, *args, memory_budget=budget)
    step = rt.value_and_grad(loss, memory_budget=budget)
    for _ in range(2):
        step(*args)
    calls, projections = [], []
    for _ in range(_ROUNDS):
        projections.append(rt.plan(loss, *args, memory_budget=budget).projected_seconds or 0.0)
        calls += [measure.cpu_seconds(lambda: step(*args)) for _ in range(_CALLS)]
    low, middle, high = statistics.quantiles(calls)
    report = step.report
    assert report is not None
    return {
        **spec,
        "calls": len(plan.program),
        "budget_bytes": budget,
        "projected_bytes": plan.projected_peak_bytes,
        "peak_bytes": report.peak_bytes,
        "projected_seconds": statistics.median(projections),
        "seconds": middle,
        "spread": (high - low) / middle,
    }


def _program(name: str, quick: bool) -> tuple[Callable, tuple]:
    if name in _SMALL:
        return _SMALL[name]
    made = programs.make(name, quick=quick)
    return made.loss, (made.params, made.batch)


def _chain_of_small_ops(x: Any) -> Any:
    y = x
    for k in range(400):
        y = np.sin(y) + y * (1.0 + 0.001 * k)
    return np.sum(y)


def _ragged_loops(x: Any) -> Any:
    total = 0.0
    for length in range(20, 400, 20):
        row = x[:length]
        for _ in range(length // 20):
            row = np.tanh(row * 1.1)
        total = total + np.sum(row)
    return total


def _elementwise(x: Any) -> Any:
    y = x
    for _ in range(20):
        y = np.exp(-np.square(y)) + 0.5 * np.sqrt(1.0 + y * y)
    return np.mean(y)


def _views_and_writes(x: Any) -> Any:
    y = x.copy()
    for k in range(30):
        y[k] = y[k - 1] * 0.5 + np.cos(y[k])
        y = y.T.reshape(y.shape) * 0.9
    return np.sum(y * y)


def _solves(x: Any) -> Any:
    y = x
    for _ in range(6):
        y = np.linalg.solve(x @ x.T + 200.0 * np.eye(200), y) + x
    return np.sum(y * y)


def _sorts_and_gathers(x: Any) -> Any:
    y = x
    for k in range(10):
        y = np.where(y > 0, np.sort(y), 0.3 * y) + np.roll(y, k) * np.max(y[k:])
    return np.sum(y)


_GENERATOR = np.random.default_rng(0)
_SMALL: dict[str, tuple[Callable, tuple]] = {
    "small ops": (_chain_of_small_ops, (np.linspace(0.0, 1.0, 100),)),
    "ragged loops": (_ragged_loops, (np.linspace(-1.0, 1.0, 400),)),
    "elementwise": (_elementwise, (_GENERATOR.standard_normal(500_000),)),
    "views and writes": (_views_and_writes, (_GENERATOR.standard_normal((400, 400)),)),
    "solves": (_solves, (_GENERATOR.standard_normal((200, 200)),)),
    "sorts and gathers": (_sorts_and_gathers, (_GENERATOR.standard_normal(100_000),)),
}

if __name__ == "__main__":
    cells.answer(cell)
