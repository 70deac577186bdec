"""Makes the picture of time against memory, one panel a workload, and the file of all figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def save(folder: Path, figures: dict[str, Any]) -> list[Path]:
    """Write `benchmarks.json`, and `time_memory.png` when time and memory were measured; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "benchmarks.json"]
    written[0].write_text(json.dumps(figures, indent=1) + "\n")
    if "memory" in figures:
        written.append(folder / "time_memory.png")
        _draw(written[1], figures["memory"])
    return written


def _draw(path: Path, records: list[dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(record["workload"] for record in records))
    figure, axes = plt.subplots(1, len(names), figsize=(5 * len(names), 4), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], names, strict=True):
        curves: dict[str, list[tuple[float, float]]] = {}
        for record in (r for r in records if r["workload"] == name and "seconds" in r):
            label = "PyTorch" if "PyTorch" in record["planner"] else record["planner"]
            share = 100 * record["resident_bytes"] / record["unbudgeted_bytes"]
            curves.setdefault(label, []).append((share, record["seconds_ratio"]))
        for label, points in curves.items():
            style = "s--" if label == "PyTorch" else "o-"
            axis.plot(*zip(*sorted(points), strict=True), style, label=label, markersize=4)
        axis.set_title(name)
        axis.set_xlabel("resident set, % of retape's need without a budget")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("CPU time over the same without a budget")
    axes[0][-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.savefig(path, dpi=120)
    plt.close(figure)
