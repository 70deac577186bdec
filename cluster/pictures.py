"""Makes the pictures of a run from its metrics rows: loss, memory, time per phase, and workers that others wait for."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..checkpoint.units import format_bytes
from .errors import ConfigError
from .phases import by_rank, phases, usual

Rows = Sequence[Mapping[str, Any]]
# More points than this are more than a picture's pixels.
_POINTS = 600


def draw_loss(path: str | Path, rows: Rows, *, goal: tuple[str, str, float, str]) -> None:
    """Draws training loss over steps, and below it the validation figure with the value that it should reach.

    ``goal`` is (the figure's name, "<" or ">", the value, what the value is).
    """
    name, _, bar, meaning = goal
    figure = _figure(8, 6)
    upper, lower = figure.subplots(2, 1, sharex=True)
    loss(upper, rows)
    validation = [(row["step"], row[name]) for row in rows if name in row]
    if validation:
        lower.plot(*zip(*validation, strict=True), color="C1", marker="o", markersize=3, label="validation")
    lower.axhline(bar, color="0.3", linestyle="--", label=f"{meaning}: {bar:.3f}")
    lower.set_ylabel(name.removeprefix("val_").replace("_", " "))
    lower.set_xlabel("step")
    lower.legend()
    figure.savefig(path, dpi=120)


def draw(kind: Callable[[Any, Rows], None], rows: Rows) -> bytes:
    """A picture of one ``kind``, such as :func:`memory`, as the bytes of a PNG file.

    Raises ``ConfigError`` when matplotlib is not installed.
    """
    from io import BytesIO

    figure, made = _figure(8, 3.2), BytesIO()
    kind(figure.subplots(), rows)
    figure.savefig(made, dpi=110, format="png")
    return made.getvalue()


def loss(axes: Any, rows: Rows) -> None:
    """Training loss over steps, each and smoothed."""
    training = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    if training:
        steps, losses = map(np.asarray, zip(*training, strict=True))
        axes.plot(steps, losses, color="0.75", linewidth=0.8, label="each step")
        span = max(1, len(losses) // 30)
        smooth = np.convolve(losses, np.ones(span) / span, mode="valid")
        axes.plot(steps[span - 1 :], smooth, color="C0", label=f"mean of {span} steps")
        axes.legend()
    axes.set_ylabel("training loss")


def validation(axes: Any, rows: Rows) -> None:
    """Every figure of the validations over steps, each on its own scale where there are two."""
    scored = [row for row in rows if "examples" in row]
    names = [name for name in (scored[0] if scored else {}) if name not in ("step", "examples")]
    for number, name in enumerate(names):
        own = axes if number == 0 else axes.twinx() if number == 1 else axes
        points = [(row["step"], row[name]) for row in scored if name in row]
        own.plot(*zip(*points, strict=True), color=f"C{number}", marker="o", markersize=3, label=name)
        own.set_ylabel(name)
    axes.set_xlabel("step")


def memory(axes: Any, rows: Rows) -> None:
    """The measured peak and the projection of the workers' gradient calls over steps, against the budget."""
    steps = [row for row in _thinned(rows) if row.get("peak_bytes")]
    unit = 2**20
    for name, style, text in (
        ("peak_bytes", {"color": "C0"}, "measured peak"),
        ("projected_bytes", {"color": "C1", "linestyle": ":"}, "projected"),
        ("budget_bytes", {"color": "0.3", "linestyle": "--"}, "budget"),
    ):
        points = [(row["step"], row[name] / unit) for row in steps if row.get(name)]
        if points:
            axes.plot(
                *zip(*points, strict=True),
                label=f"{text}, at most {format_bytes(int(max(p[1] for p in points) * unit))}",
                **style,
            )
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("MiB of a worker")
    axes.set_xlabel("step")
    if steps:
        axes.legend()


def time_per_phase(axes: Any, rows: Rows) -> None:
    """The seconds of steps by phase, one upon the other."""
    groups = _groups([row for row in rows if "step_seconds" in row])
    if groups:
        each = [[phases(row) for row in group] for group in groups]
        names = list(vars(each[0][0]))
        means = [[np.mean([getattr(one, name) for one in group]) for group in each] for name in names]
        axes.stackplot([group[-1]["step"] for group in groups], *means, labels=names)
        axes.set_ylim(0, 1.25 * max(row["step_seconds"] for row in usual(rows)))
        axes.legend(loc="upper left", ncols=len(names))
    axes.set_ylabel("seconds of a step")
    axes.set_xlabel("step")


def stragglers(axes: Any, rows: Rows) -> None:
    """Per worker, the mean seconds of its gradients and of its wait for slower ones."""
    ranks = by_rank(rows)
    numbers = [rank.rank for rank in ranks]
    computing = [rank.gradient_seconds for rank in ranks]
    axes.bar(numbers, computing, label="gradients")
    bars = axes.bar(numbers, [rank.wait_seconds for rank in ranks], bottom=computing, color="0.8", label="waits for others")
    axes.bar_label(bars, [f"last in {rank.slowest_share:.0%}" for rank in ranks])
    axes.set_xticks(numbers)
    axes.margins(y=0.15)
    axes.set_xlabel("worker")
    axes.set_ylabel("seconds of a step")
    if ranks:
        axes.legend(loc="lower right")


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("pictures take matplotlib: pip install 'retape[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def _groups(rows: Rows) -> list[Rows]:
    size = -(-len(rows) // _POINTS) if rows else 1
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _thinned(rows: Rows) -> Rows:
    """Of each group of neighbouring steps the one with the highest peak."""
    steps = [row for row in rows if "loss" in row]
    return [max(group, key=lambda row: row.get("peak_bytes") or 0) for group in _groups(steps)]
