"""Makes the tables of time against memory: budgets of retape, PyTorch's and JAX's checkpoints beside them.

Every row is measured in a fresh process. A library's ratios are over its own run without checkpoints.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from typing import Any

import cells
import measure
import peers
import programs
import tables

_MIB = 2**20
_FRACTIONS, _QUICK_FRACTIONS = (0.75, 0.5, 0.35, 0.25, 0.1), (0.5, 0.25)
_SPILLED_AT = 0.25
_KEPT = (0.5, 0.25, 0.1)
_TOLERANCE = 1e-3

_COLUMNS = (
    "",
    "CPU s",
    "time\nratio",
    "resident\nMiB",
    "memory\nratio",
    "projected\nMiB",
    "measured /\nprojected",
    "resident\n/ budget",
    "first call\n/ budget",
    "first\nCPU s",
    "planning\ns",
    "same\nbits",
)
_NOTES = (
    "CPU s: a call, value and gradient, one thread. Ratios: over the same library without checkpoints.",
    "Resident: growth of the process's resident set during a call, everything included; a budget is a share of the need.",
    "First call: it records, and plans as it goes. Planning s: what the second call, which plans, takes longer.",
    "PyTorch and JAX: memory with MALLOC_MMAP_THRESHOLD_=16384, without which it hardly falls; time without that.",
    "JAX runs loops as scans of scans of so many pieces, the U-Net with jax.checkpoint on its stages.",
)


def table(*, quick: bool) -> list[dict[str, Any]]:
    """Measure and print a table for each program, and return one record for each row.

    Raises `ValueError` when the libraries' losses or gradients disagree.
    """
    records = []
    for name in programs.NAMES:
        made = _rows(name, quick)
        tables.table(f"Time against memory: {made[0]['title']}", _COLUMNS, [_text(record) for record in made])
        records += made
    for note in _NOTES:
        tables.say(f"  {note}")
    return records


def _rows(name: str, quick: bool) -> list[dict[str, Any]]:
    program = programs.make(name, quick=quick)
    common = {"program": name, "quick": quick, "title": program.title}
    plain = cells.ask("curve", {**common, "kind": "plain"})
    rows = [_row(common, "retape", "no budget", plain, plain)]
    for fraction in _QUICK_FRACTIONS if quick else _FRACTIONS:
        budget = int(plain["projected_bytes"] * fraction)
        spec = {**common, "kind": "budget", "budget_bytes": budget}
        rows.append(_row(common, "retape", f"{100 * fraction:.0f} %", cells.ask("curve", spec), plain))
        if fraction == _SPILLED_AT:
            made = cells.ask("curve", {**spec, "spill": True})
            rows.append(_row(common, "retape", f"{100 * fraction:.0f} %, spilling", made, plain))
    for library, specs in _peers(program, quick).items():
        if not cells.installed(library):
            continue
        base = None
        for setting, spec in specs.items():
            made = _peer(common, {"kind": library, **spec}, plain)
            base = base or made
            rows.append(_row(common, cells.PEERS[library], setting, made, base))
    return rows


def _peers(program: programs.Program, quick: bool) -> dict[str, dict[str, dict[str, Any]]]:
    """The settings of each peer by name, that without checkpoints first; a quick run leaves out `torch.compile`."""
    torch: dict[str, dict[str, Any]] = {"eager": {}} if program.eager else {}
    torch |= {f"{n} checkpoints": {"pieces": n} for n in program.torch_pieces}
    if program.compiled and not quick:
        torch |= {f"compiled, budget {kept:g}": {"kept": kept} for kept in _KEPT}
    jax = {"compiled": {}, **{f"{n} pieces": {"pieces": n} for n in program.jax_pieces}}
    return {"torch": torch, "jax": jax}


def _peer(common: dict[str, Any], spec: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    made = cells.ask("curve", {**common, **spec})
    made["resident_bytes"] = cells.ask("curve", {**common, **spec}, environment=cells.FAITHFUL_MALLOC)["resident_bytes"]
    for ours, theirs in ((plain["loss"], made["loss"]), (plain["norm"], made["norm"])):
        if abs(ours - theirs) > _TOLERANCE * abs(ours):
            raise ValueError(f"{spec} of {common['title']}: loss and norm {made}, and retape's are {plain}")
    return made


def _row(common: dict[str, Any], library: str, setting: str, made: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    row = {**common, "library": library, "setting": setting, **made}
    if "seconds" in made:
        # A budgeted process times a call without a budget too, so that both ran under the same load.
        row["seconds_ratio"] = made["seconds"] / made.get("plain_seconds", base["seconds"])
        row["resident_ratio"] = made["resident_bytes"] / base["resident_bytes"]
    return row


def _text(row: dict[str, Any]) -> list[str]:
    head = [f"{row['library']}, {row['setting']}"]
    if "seconds" not in row:
        head[0] += f": {row['least_bytes'] / _MIB:.1f} MiB is the least"
        return [*head, *["-"] * (len(_COLUMNS) - 1)]
    head += [
        f"{row['seconds']:.2f}",
        tables.ratio(row["seconds_ratio"]),
        f"{row['resident_bytes'] / _MIB:.1f}",
        tables.ratio(row["resident_ratio"]),
    ]
    if "budget_bytes" not in row:
        return [*head, *["-"] * (len(_COLUMNS) - len(head))]
    return [
        *head,
        f"{row['projected_bytes'] / _MIB:.1f}",
        f"{row['peak_bytes'] / row['projected_bytes']:.3f}",
        f"{row['resident_bytes'] / row['budget_bytes']:.2f}",
        f"{row['first_resident_bytes'] / row['budget_bytes']:.2f}",
        f"{row['first_seconds']:.2f}",
        f"{row['planning_seconds']:.2f}",
        "yes" if row["same_bits"] else "NO",
    ]


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure one row in this process."""
    program = programs.make(spec["program"], quick=spec["quick"])
    if spec["kind"] == "plain":
        return _plain_cell(program)
    if spec["kind"] == "budget":
        with tempfile.TemporaryDirectory() as folder:
            return _budget_cell(program, spec["budget_bytes"], folder if spec.get("spill") else None)
    if spec["kind"] == "torch":
        return _measured(peers.torch_step(program, pieces=spec.get("pieces", 0), kept=spec.get("kept")))
    return _measured(peers.jax_step(program, pieces=spec.get("pieces", 0)))


def _plain_cell(program: programs.Program) -> dict[str, Any]:
    import retape as rt

    step = rt.value_and_grad(program.loss)
    args = program.params, program.batch
    made = _measured(lambda: _flat(step(*args)))
    return {**made, "projected_bytes": rt.plan(program.loss, *args).projected_peak_bytes}


def _measured(step: peers.Step) -> dict[str, Any]:
    """Time and memory of a step after one that warms up; with the loss and the gradient's norm, to compare."""
    loss, gradients = step()
    norm = sum(float((g.astype("float64") ** 2).sum()) for g in gradients) ** 0.5
    del gradients
    _, resident, seconds = measure.resident_growth(step)
    seconds = min(seconds, measure.least_cpu_seconds(step))
    return {"loss": loss, "norm": norm, "seconds": seconds, "resident_bytes": resident}


def _flat(result: tuple[Any, Any]) -> tuple[float, list[Any]]:
    import optree

    return float(result[0]), optree.tree_leaves(result[1])


def _budget_cell(program: programs.Program, budget: int, spill: str | None) -> dict[str, Any]:
    import retape as rt

    args = program.params, program.batch
    # Without a budget first: a call under one sets the allocator for good.
    without = rt.value_and_grad(program.loss)
    bits = _bits(without(*args))
    plain_seconds = measure.least_cpu_seconds(lambda: without(*args))
    step = rt.value_and_grad(program.loss, memory_budget=budget, spill=spill)
    try:
        result, first_resident, first_seconds = measure.resident_growth(lambda: step(*args))
        same = [_bits(result) == bits]
        del result
        start = time.process_time()
        step(*args)
        second_seconds = time.process_time() - start
    except rt.MemoryBudgetError as error:
        return {"budget_bytes": budget, "least_bytes": error.needed_bytes}
    result, resident, seconds = measure.resident_growth(lambda: step(*args))
    same.append(_bits(result) == bits)
    del result
    seconds = min(seconds, measure.least_cpu_seconds(lambda: step(*args)))
    report = step.report
    assert report is not None
    return {
        "budget_bytes": budget,
        "seconds": seconds,
        "plain_seconds": plain_seconds,
        "first_seconds": first_seconds,
        "planning_seconds": max(second_seconds - seconds, 0.0),
        "projected_bytes": report.projected_bytes,
        "peak_bytes": report.peak_bytes,
        "resident_bytes": resident,
        "first_resident_bytes": first_resident,
        "extra_work": report.extra_work,
        "chosen": report.planner,
        "same_bits": all(same),
    }


def _bits(result: tuple[Any, Any]) -> str:
    """A digest of the value's and the gradients' bytes."""
    loss, gradients = _flat(result)
    digest = hashlib.sha256(repr(loss).encode())
    for gradient in gradients:
        digest.update(gradient.tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    cells.answer(cell)
