"""Makes the loss curve of a run, as a PNG file, from its metrics rows."""

from pathlib import Path
from typing import Any

import numpy as np


def draw_loss(path: str | Path, rows: list[dict[str, Any]], *, goal: tuple[str, str, float, str]) -> None:
    """Draws training loss over steps, and below it the validation figure with the value that it should reach.

    ``goal`` is (the figure's name, "<" or ">", the value, what the value is).
    """
    from matplotlib.figure import Figure

    name, _, bar, meaning = goal
    figure = Figure(figsize=(8, 6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    training = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    if training:
        steps, losses = map(np.asarray, zip(*training, strict=True))
        upper.plot(steps, losses, color="0.75", linewidth=0.8, label="each step")
        span = max(1, len(losses) // 30)
        smooth = np.convolve(losses, np.ones(span) / span, mode="valid")
        upper.plot(steps[span - 1 :], smooth, color="C0", label=f"mean of {span} steps")
        upper.legend()
    upper.set_ylabel("training loss")
    validation = [(row["step"], row[name]) for row in rows if name in row]
    if validation:
        lower.plot(*zip(*validation, strict=True), color="C1", marker="o", markersize=3, label="validation")
    lower.axhline(bar, color="0.3", linestyle="--", label=f"{meaning}: {bar:.3f}")
    lower.set_ylabel(name.removeprefix("val_").replace("_", " "))
    lower.set_xlabel("step")
    lower.legend()
    figure.savefig(path, dpi=120)
