"""Makes the table of time against memory: planners at shrinking budgets, PyTorch's checkpoints beside them.

Every row is measured in a fresh process. A budget is a fraction of what the program needs when everything is
kept.
"""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

import cells
import measure
import tables
import workloads

from retape.checkpoint.planners import PLANNERS

_MIB = 2**20
_FRACTIONS, _QUICK_FRACTIONS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.15), (1.0, 0.5, 0.25)
# The single planners, which take minutes together, are compared at two budgets; the best of them is shown at all.
_SINGLE = tuple(name for name in PLANNERS if name != "keep_all")
_COMPARED_AT = (0.5, 0.25)

_COLUMNS = (
    "budget",
    "planner",
    "CPU s",
    "over no\nbudget",
    "planning\ns",
    "projected\n/ budget",
    "peak /\nprojected",
    "resident\nMiB",
    "resident\n/ budget",
    "first call\n/ budget",
    "extra\nwork",
    "same\nbits",
)
_NOTES = (
    "CPU s: a planned call, value and gradient. Over no budget: over a call without, same process.",
    "Planning s: what the second call, which plans, takes longer. Extra work: as projected.",
    "Resident: growth of the process's resident set during a planned call, everything included.",
    "First call / budget: the same growth in the first call, which records and plans as it goes.",
)
_TORCH_NOTES = (
    "PyTorch: its planner is the number of checkpointed segments; time over its own eager step.",
    "Its memory with MALLOC_MMAP_THRESHOLD_=16384, without which it hardly falls; its time without that.",
)


def table(*, quick: bool) -> list[dict[str, Any]]:
    """Measure and print a table for each workload, and return one record for each row."""
    records = []
    for name in workloads.NAMES:
        made = _rows(name, quick)
        needed = made[0]["unbudgeted_bytes"] / _MIB
        title = f"Time against memory: {made[0]['title']}; {needed:.0f} MiB without a budget"
        tables.table(title, _COLUMNS, [_text(record) for record in made], texts=2)
        records += made
    for note in (*_NOTES, *(_TORCH_NOTES if cells.installed("torch") else ())):
        tables.say(f"  {note}")
    return records


def _rows(name: str, quick: bool) -> list[dict[str, Any]]:
    needed = cells.ask("memory_time", {"workload": name, "quick": quick, "kind": "needed"})
    common = {"workload": name, "quick": quick, **needed}
    records = []
    refused: set[str] = set()
    for fraction in _QUICK_FRACTIONS if quick else _FRACTIONS:
        for planner in (*(_SINGLE if not quick and fraction in _COMPARED_AT else ()), "best"):
            if planner in refused:
                records.append({**common, "fraction": fraction, "planner": planner, "fits": False})
                continue
            records.append(_planned(common, fraction, planner))
            if not records[-1]["fits"]:
                refused.add(planner)
    if cells.installed("torch"):
        records += _torch(common)
    return records


def _planned(common: dict[str, Any], fraction: float, planner: str) -> dict[str, Any]:
    budget = int(common["unbudgeted_bytes"] * fraction)
    spec = {**common, "kind": "planned", "budget_bytes": budget, "planner": planner}
    row = {"fraction": fraction, "planner": planner, "budget_bytes": budget}
    return {**common, **row, **cells.ask("memory_time", spec)}


def _torch(common: dict[str, Any]) -> list[dict[str, Any]]:
    """Two rows: eager, and with a checkpoint every sqrt(n) steps (every block of the transformer)."""
    depth = common["depth"]
    pieces = depth if common["workload"] == "transformer" else round(math.sqrt(depth))
    spec = {**common, "kind": "torch", "segments": [0, pieces]}
    seconds = cells.ask("memory_time", spec)["seconds"]
    resident = cells.ask("memory_time", spec, environment=cells.FAITHFUL_MALLOC)["resident_bytes"]
    return [
        {
            **common,
            "planner": label,
            "seconds": seconds[i],
            "seconds_ratio": seconds[i] / seconds[0],
            "resident_bytes": resident[i],
        }
        for i, label in enumerate(("PyTorch eager", f"PyTorch, {pieces}"))
    ]


def _text(record: dict[str, Any]) -> list[str]:
    if "PyTorch" in record["planner"]:
        figures = [f"{record['seconds']:.2f}", tables.ratio(record["seconds_ratio"]), "-", "-", "-"]
        return [
            "-",
            record["planner"],
            *figures,
            f"{record['resident_bytes'] / _MIB:.1f}",
            "-",
            "-",
            "-",
            "-",
        ]
    head = [f"{100 * record['fraction']:.0f} %", record["planner"]]
    if not record["fits"]:
        return [*head, "does not fit", *["-"] * (len(_COLUMNS) - 3)]
    budget, projected = record["budget_bytes"], record["projected_bytes"]
    if record["planner"] == "best":
        head[1] = f"best: {record['chosen']}"
    return [
        *head,
        f"{record['seconds']:.2f}",
        tables.ratio(record["seconds_ratio"]),
        f"{record['planning_seconds']:.2f}",
        f"{projected / budget:.3f}",
        f"{record['peak_bytes'] / projected:.3f}",
        f"{record['resident_bytes'] / _MIB:.1f}",
        f"{record['resident_bytes'] / budget:.2f}",
        f"{record['first_resident_bytes'] / budget:.2f}",
        f"{100 * record['extra_work']:.1f} %",
        "yes" if record["same_bits"] else "NO",
    ]


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure one row in this process."""
    work = workloads.make(spec["workload"], quick=spec["quick"])
    kinds = {"needed": _needed_cell, "planned": _planned_cell, "torch": _torch_cell}
    return kinds[spec["kind"]](work, spec)


def _needed_cell(work: workloads.Workload, spec: dict[str, Any]) -> dict[str, Any]:
    import retape as rt

    plan = rt.plan(work.loss, work.params, work.batch)
    return {"title": work.title, "depth": work.depth, "unbudgeted_bytes": plan.projected_peak_bytes}


def _planned_cell(work: workloads.Workload, spec: dict[str, Any]) -> dict[str, Any]:
    import retape as rt

    args = work.params, work.batch
    # Without a budget first: a call under one sets the allocator for good.
    without = rt.value_and_grad(work.loss)
    bits = _bits(without(*args))
    plain_seconds = measure.least_cpu_seconds(lambda: without(*args))
    step = rt.value_and_grad(work.loss, memory_budget=spec["budget_bytes"], planner=spec["planner"])
    start = time.process_time()
    try:
        result, first_resident, _ = measure.resident_growth(lambda: step(*args))
        same = [_bits(result) == bits]
        del result
        planning_call = measure.cpu_seconds(lambda: step(*args))
    except rt.MemoryBudgetError:
        return {"fits": False, "refusal_seconds": time.process_time() - start}
    result, resident, seconds = measure.resident_growth(lambda: step(*args))
    same.append(_bits(result) == bits)
    del result
    seconds = min(seconds, measure.least_cpu_seconds(lambda: step(*args)))
    report = step.report
    return {
        "fits": True,
        "seconds": seconds,
        "plain_seconds": plain_seconds,
        "seconds_ratio": seconds / plain_seconds,
        "planning_seconds": max(planning_call - seconds, 0.0),
        "projected_bytes": report.projected_bytes,
        "peak_bytes": report.peak_bytes,
        "resident_bytes": resident,
        "first_resident_bytes": first_resident,
        "extra_work": report.extra_work,
        "chosen": report.planner,
        "same_bits": all(same),
    }


def _torch_cell(work: workloads.Workload, spec: dict[str, Any]) -> dict[str, Any]:
    import torch
    import torch_workloads

    torch.set_num_threads(1)
    steps = [torch_workloads.step(work, segments=segments) for segments in spec["segments"]]
    made: dict[str, Any] = {"seconds": [], "resident_bytes": []}
    for step in steps:
        step()
        _, resident, seconds = measure.resident_growth(step)
        made["seconds"].append(min(seconds, measure.least_cpu_seconds(step)))
        made["resident_bytes"].append(resident)
    return made


def _bits(result: tuple[Any, Any]) -> str:
    """A digest of the value's and the gradients' bytes."""
    digest = hashlib.sha256()

    def add(tree: Any) -> None:
        if isinstance(tree, dict):
            tree = [tree[name] for name in sorted(tree)]
        if isinstance(tree, (list, tuple)):
            for child in tree:
                add(child)
        else:
            digest.update(tree.tobytes())

    add(result)
    return digest.hexdigest()


if __name__ == "__main__":
    cells.answer(cell)
