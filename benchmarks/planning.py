"""Makes the tables of planning: work by graph, budget and rule, ours beside them; the smallest budgets; what planning costs.

`python benchmarks/planning.py [--logs FOLDER] [--budgets 50,35,20] [--effort STEPS]`. A dash: no plan within the budget.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import tables
from operator_logs import read_log

import retape as rt
from retape.checkpoint.plan import Plan
from retape.checkpoint.planners import PLANNERS, best, smallest_budget
from retape.checkpoint.planners.search import search
from retape.checkpoint.program import Program
from retape.scheduler.records import record_bytes

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import graphs  # noqa: E402

RULES = ("staleness", "ancestors", "next_use", "uniform", "boundaries")
LARGE: dict[str, Callable[[], Program]] = {
    "transformer, 24 layers": partial(graphs.transformer, 24),
    "U-Net, 6 levels": partial(graphs.unet, 6, 4),
    "LSTM, 500 steps": partial(graphs.lstm, 500),
    "DenseNet, 4 blocks": partial(graphs.densenet, 4, 16),
    "Inception, 30 blocks": partial(graphs.inception, 30),
    "tree-LSTM, 128 leaves": partial(graphs.tree_lstm, 7),
}


def largest_op(program: Program) -> int:
    """The bytes that the largest single op reads, makes and works in."""
    sizes = program.sizes
    needs = (sum(sizes[u] for u in inputs) + sizes[v] + program.workspaces[v] for v, inputs in enumerate(program.inputs))
    return max(needs) + program.held_bytes


def cell(plan: Plan | None) -> str:
    return "-" if plan is None else f"{1 + plan.extra_work:.4f}"


def table(*, quick: bool = False) -> dict[str, list]:
    """Print the tables; return their rows."""
    made = {name: make() for name, make in list(LARGE.items())[: 2 if quick else None]}
    work = compare(made, [0.5, 0.2] if quick else [0.8, 0.5, 0.35, 0.2], None)
    return {"work": work, "floors": floors(made), "seconds": scale(quick=quick), "policy": policy(quick=quick)}


def compare(programs: dict[str, Program], shares: list[float], effort: int | None) -> list:
    """Print the table of work by program, budget and rule; return its rows."""
    rows = []
    for name, program in programs.items():
        whole = PLANNERS["keep_all"](program, math.inf)
        assert whole is not None
        peak = whole.projected_peak_bytes
        floor = 1.15 * largest_op(program)
        for share, label in [
            *((s, f"{100 * s:.0f} %") for s in shares),
            (floor / peak, f"{100 * floor / peak:.1f} % (floor)"),
        ]:
            budget = int(share * peak)
            plans = {rule: PLANNERS[rule](program, budget) for rule in RULES}
            begun = time.process_time()
            ours = search(program, budget, effort=effort)
            seconds = time.process_time() - begun
            least = min((plan.extra_work for plan in plans.values() if plan), default=math.inf)
            verdict = (
                "-" if ours is None else "less" if ours.extra_work < least else "same" if ours.extra_work == least else "MORE"
            )
            rows.append((name, str(len(program)), label, *map(cell, plans.values()), cell(ours), verdict, f"{seconds:.2f}"))
    columns = ("graph", "values", "budget", *RULES, "search", "than rules", "CPU s")
    notes = (
        "budget: share of the unbudgeted peak; floor: 1.15 times the largest op's bytes; work: over the unbudgeted work",
    )
    tables.table("Work under a budget", columns, rows, notes=notes)
    return rows


def floors(programs: dict[str, Program]) -> list:
    """Print the table of the smallest budgets, what is proved of them, and by which value; return its rows."""
    rows = []
    for name, program in programs.items():
        begun = time.process_time()
        needed, plan = smallest_budget(program)
        seconds = time.process_time() - begun
        proved, outputs = program.lower_bound_bytes(), sum(program.sizes[v] for v in program.outputs) + program.held_bytes
        by = "all outputs" if proved == outputs else "the largest op"
        row = (
            needed,
            f"{needed / largest_op(program):.2f}",
            proved,
            f"{needed / proved:.2f}",
            by,
            f"{1 + plan.extra_work:.2f}",
        )
        rows.append((name, str(len(program)), *map(str, row), f"{seconds:.1f}"))
    columns = (
        "graph",
        "values",
        "smallest\nbudget",
        "over the\nlargest op",
        "proved",
        "over the\nproved",
        "by",
        "work",
        "CPU s",
    )
    tables.table("The smallest budgets, in bytes", columns, rows)
    return rows


def scale(*, quick: bool = False) -> list:
    """Print the table of seconds of planning by size; return its rows."""
    rows = []
    for layers in (4, 24) if quick else (4, 24, 71, 240, 715):
        program = graphs.transformer(layers)
        whole = PLANNERS["keep_all"](program, math.inf)
        assert whole is not None
        budget = int(0.3 * whole.projected_peak_bytes)
        seconds = []
        for make in (PLANNERS["next_use"], best):
            begun = time.process_time()
            make(program, budget)
            seconds.append(time.process_time() - begun)
        rows.append((str(program.forward), str(len(program)), *(f"{s:.2f}" for s in seconds)))
    tables.table("Seconds of planning at 30 % (CPU)", ("forward ops", "values", "next_use alone", "best"), rows, texts=0)
    return rows


def policy(*, quick: bool = False) -> list:
    """Print the table of what evicting costs in a first call, which is not planned; return its rows."""
    count = 2_000 if quick else 10_000
    x = np.linspace(0.0, 1.0, 128)

    def chain(x: np.ndarray) -> np.ndarray:
        values = [x]
        for _ in range(count):
            values.append(np.sin(values[-1]))
        return np.sum(values[-1])

    def first_call(budget: int) -> tuple[float, float]:
        step = rt.grad(chain, memory_budget=budget)
        begun = time.process_time()
        step(x)
        assert step.report is not None
        return time.process_time() - begun, step.report.extra_work

    ops = 3 * count  # forward and reverse
    first_call(2**40)
    without, _ = first_call(2**40)
    rows = [("room for all", f"{1e6 * without / ops:.1f}", "-", "1.000")]
    for share in (0.9, 0.5, 0.25):
        seconds, extra = first_call(int(share * count * x.nbytes) + record_bytes(ops))
        rows.append(
            (
                f"{100 * share:.0f} %",
                f"{1e6 * seconds / ops:.1f}",
                f"{1e6 * (seconds - without) / ops:.1f}",
                f"{1 + extra:.3f}",
            )
        )
    columns = ("budget", "CPU us\nan op", "more than\nwith room", "work")
    notes = (
        f"A first call, recorded and evicted as it goes: {count:,} live values of 1 KiB, {ops:,} ops with the reverse sweep.",
    )
    tables.table("The policy's cost", columns, rows, notes=notes)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=Path, help="a folder of operator logs (*.log), to plan too")
    parser.add_argument("--budgets", default="80,50,40,30,20", help="percent of the unbudgeted peak")
    parser.add_argument("--effort", type=int, help="simulated steps of searching")
    parser.add_argument("--only", default="", help="graphs whose name contains this")
    options = parser.parse_args()
    shares = [float(text) / 100 for text in options.budgets.split(",") if text]
    programs = {name: make() for name, make in LARGE.items() if options.only in name}
    if options.logs:
        logs = sorted(path for path in options.logs.glob("*.log") if options.only in path.name)
        programs = {path.name.split("-")[0]: read_log(path) for path in logs}
    if shares:
        compare(programs, shares, options.effort)
    floors(programs)
    if not options.logs and not options.only:
        scale()
        policy()


if __name__ == "__main__":
    main()
