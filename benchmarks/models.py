"""Makes the table of step time, forward and gradient, against PyTorch eager: layers, transformer, LSTM and U-Net.

A process per library, so that neither's allocator or threads reach the other; the processes take turns.
"""

from __future__ import annotations

from typing import Any

import cells
import measure
import peers
import programs
import tables

_PROGRAMS = ("layers", "transformer", "lstm", "unet")
_BUDGET_FRACTION = 0.4
_TOLERANCE = 1e-4
_KINDS = {
    "torch": "PyTorch eager",
    "plain": "retape",
    "budget": f"retape, {100 * _BUDGET_FRACTION:.0f} % budget",
}


def table(*, quick: bool) -> list[dict[str, Any]]:
    """Measure, print and return one record for each row. Raises `ValueError` when the losses disagree."""
    kinds = [kind for kind in _KINDS if kind != "torch" or cells.installed("torch")]
    rounds = 1 if quick else 2
    records, rows = [], []
    for name in _PROGRAMS:
        best: dict[str, dict[str, Any]] = {}
        for _ in range(rounds):
            for kind in kinds:
                made = cells.ask("models", {"program": name, "quick": quick, "kind": kind})
                if kind not in best or made["seconds"] < best[kind]["seconds"]:
                    best[kind] = made
        losses = [made["loss"] for made in best.values()]
        if max(losses) - min(losses) > _TOLERANCE * abs(losses[0]):
            raise ValueError(f"the losses of {name} disagree: {dict(zip(best, losses, strict=True))}")
        base = best.get("torch", best["plain"])["seconds"]
        for kind, made in best.items():
            title = "" if rows and kind != kinds[0] else made["title"]
            over = made["seconds"] / base
            rows.append([title, _KINDS[kind], f"{made['seconds']:.3f}", tables.ratio(over)])
            records.append({"program": name, "kind": kind, **made, "seconds_ratio": over})
    tables.table(
        "Step time: value and gradient, one thread",
        ["", "", "CPU s", "over PyTorch" if "torch" in kinds else "over retape"],
        rows,
        texts=2,
        notes=[
            f"Least of {rounds} process{'es' if rounds > 1 else ''} each, taking turns; losses agree within {_TOLERANCE:g}."
        ],
    )
    return records


def cell(spec: dict[str, Any]) -> dict[str, Any]:
    """Time one library on one program in this process."""
    program = programs.make(spec["program"], quick=spec["quick"])
    if spec["kind"] == "torch":
        step = peers.torch_step(program)
    else:
        step = _retape_step(program, None if spec["kind"] == "plain" else _BUDGET_FRACTION)
    loss = float(step()[0])
    step()
    return {"title": program.title, "loss": loss, "seconds": measure.least_cpu_seconds(step)}


def _retape_step(program: programs.Program, fraction: float | None) -> Any:
    import retape as rt

    args = program.params, program.batch
    budget = None
    if fraction is not None:
        budget = int(fraction * rt.plan(program.loss, *args).projected_peak_bytes)
    step = rt.value_and_grad(program.loss, memory_budget=budget)
    return lambda: step(*args)


if __name__ == "__main__":
    cells.answer(cell)
