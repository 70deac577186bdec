"""Makes the picture of time against memory, one panel a program, and the file of all figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def save(folder: Path, figures: dict[str, Any]) -> list[Path]:
    """Write `benchmarks.json`, and `curve.png` when time and memory were measured; return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "benchmarks.json"]
    written[0].write_text(json.dumps(figures, indent=1) + "\n")
    if "curve" in figures:
        written.append(folder / "curve.png")
        _draw(written[1], figures["curve"])
    return written


def _draw(path: Path, records: list[dict[str, Any]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(record["program"] for record in records))
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(5 * columns, 4 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(names) :]:
        axis.remove()
    for axis, name in zip(axes.flat, names, strict=False):
        curves: dict[str, list[tuple[float, float]]] = {}
        for record in (r for r in records if r["program"] == name and "seconds" in r):
            point = 100 * record["resident_ratio"], record["seconds_ratio"]
            curves.setdefault(_label(record), []).append(point)
        for label, points in curves.items():
            style = "o-" if label == "retape" else "s--"
            axis.plot(*zip(*sorted(points), strict=True), style, label=label, markersize=4)
        axis.set_title(name)
        axis.set_xlabel("resident growth, % of the library's own without checkpoints")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    axes[0][0].set_ylabel("CPU time over the library's own without checkpoints")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _label(record: dict[str, Any]) -> str:
    for mark in ("compiled, budget", "spilling"):
        if mark in record["setting"]:
            return f"{record['library']}, {mark.split(',')[0]}"
    return record["library"]
