"""Makes a run's metrics visible in other programs, from its rows: TensorBoard event files, Prometheus through Ray."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from .checking import one_of, shown
from .errors import ConfigError
from .phases import phases

EVENTS_FOLDER = "tensorboard"
_LEFT_OUT = ("step", "seconds_by_rank", "examples")


class Export(Protocol):
    """Something that takes a run's rows."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Takes one row: a step's, a validation's, or a warning."""
        ...

    def close(self) -> None:
        """Writes what is left."""
        ...


class EventFiles:
    """TensorBoard event files in ``folder``, one scalar for each number of a row, through tensorboardX.

    A run that goes on from ``step`` hides what an earlier one wrote of the steps after it.
    """

    def __init__(self, folder: Path, *, step: int) -> None:
        """Raises ``ConfigError`` when tensorboardX is not installed."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise ConfigError("TensorBoard event files take tensorboardX: pip install 'retape[tensorboard]'") from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def row(self, row: Mapping[str, Any]) -> None:
        """Takes one row."""
        step = row["step"]
        for name, value in row.items():
            if name not in _LEFT_OUT and isinstance(value, int | float):
                kind = "validation" if "examples" in row else "memory" if name.endswith("_bytes") else "training"
                self._writer.add_scalar(f"{kind}/{name}", value, step)
        for rank, seconds in enumerate(row.get("seconds_by_rank", ())):
            self._writer.add_scalar(f"gradient_seconds_by_rank/{rank}", seconds, step)
        if "warning" in row:
            self._writer.add_text("warning", row["warning"], step)

    def close(self) -> None:
        """Writes what is left."""
        self._writer.close()


class RayMetrics:
    """Gauges and counters of Ray's own, which its Prometheus endpoint shows as ``ray_retape_...`` with the ``run``'s name."""

    def __init__(self, run: str) -> None:
        """Ray must be up."""
        from ray.util.metrics import Counter, Gauge

        self._run = {"run": run}

        def gauge(name: str, text: str, *tags: str) -> Any:
            return Gauge(f"retape_{name}", description=text, tag_keys=("run", *tags))

        self._gauges = {
            name: gauge(name, text)
            for name, text in (
                ("step", "Finished updates."),
                ("loss", "Training loss of the last step."),
                ("workers", "Workers of the last step."),
                ("peak_bytes", "Peak memory of the last step's gradient calls, of the worker with the most."),
                ("budget_bytes", "Memory budget of a worker's gradient call."),
                ("host_bytes", "What the run's workers of the first node held together in the last step."),
                ("step_seconds", "Duration of the last step."),
            )
        }
        self._phase = gauge("phase_seconds", "Seconds of the last step by phase.", "phase")
        self._rank = gauge("rank_gradient_seconds", "Seconds of the last step's gradients by rank.", "rank")
        self._validation = gauge("validation", "Figures of the last validation.", "figure")
        self._steps = Counter("retape_steps", description="Steps that were done.", tag_keys=("run",))
        self._warnings = Counter("retape_warnings", description="Warnings.", tag_keys=("run",))

    def row(self, row: Mapping[str, Any]) -> None:
        """Takes one row."""
        if "warning" in row:
            self._warnings.inc(1, self._run)
        elif "examples" in row:
            for name, value in row.items():
                if name not in _LEFT_OUT:
                    self._validation.set(value, self._run | {"figure": name})
        else:
            for name, gauge in self._gauges.items():
                if row.get(name) is not None:
                    gauge.set(row[name], self._run)
            for name, seconds in vars(phases(row)).items():
                self._phase.set(seconds, self._run | {"phase": name})
            for rank, seconds in enumerate(row["seconds_by_rank"]):
                self._rank.set(seconds, self._run | {"rank": str(rank)})
            self._steps.inc(1, self._run)

    def close(self) -> None:
        """Leaves the last figures as they are: Ray shows them as long as it runs."""


EXPORTS: dict[str, Callable[[Path, int], Export]] = {
    "tensorboard": lambda out, step: EventFiles(out / EVENTS_FOLDER, step=step),
    "prometheus": lambda out, step: RayMetrics(out.name),
}


def check_exports(names: Sequence[str]) -> None:
    """Raises ``ConfigError`` for a name that is not known, or names that are no list."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise ConfigError(
            f"metrics_to is {shown(names)}; it must be a list of names, the known ones are {', '.join(EXPORTS)}"
        )
    for name in names:
        one_of("metrics_to", name, tuple(EXPORTS))


@contextmanager
def exported(
    names: Sequence[str], out: Path, *, step: int, say: Callable[[str], None]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yields what takes the rows of the run in ``out``, which begins after ``step``, for the exports of these ``names``.

    Training goes on without an export that fails; ``say`` gets a sentence about it. Raises ``ConfigError`` for a name that
    is not known, or whose library is missing.
    """
    check_exports(names)
    working = {name: EXPORTS[name](out, step) for name in names}

    def safely(name: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            del working[name]
            say(f"no more metrics go to {name}: {type(error).__name__}: {error}; training goes on")

    def take(row: Mapping[str, Any]) -> None:
        for name, export in list(working.items()):
            safely(name, partial(export.row, row))

    try:
        yield take
    finally:
        for name, export in list(working.items()):
            safely(name, export.close)
