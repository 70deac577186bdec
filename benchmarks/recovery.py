"""The time from a fault of a worker to the next step of the run, on a local Ray: workers that are killed, and that stand
still."""

from __future__ import annotations

import argparse
import math
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import tables
from recovery_job import settings
from recovery_peers import peers

_KINDS = {
    "killed, 1 spare": (signal.SIGKILL, 1),
    "killed, no spare": (signal.SIGKILL, 0),
    "stopped, 1 spare": (signal.SIGSTOP, 1),
}
_PEER_FAULTS = 5


def table(*, quick: bool) -> dict[str, Any]:
    """Print the table and return its figures: seconds from each fault to its notice and to the next step, as the driver
    sees it."""
    figures = {name: _measure(strike, spares, 3 if quick else 10) for name, (strike, spares) in _KINDS.items()}
    figures |= {name: {"notice": [], "step": measure(1 if quick else _PEER_FAULTS)} for name, measure in peers().items()}
    rows = [
        [
            name,
            str(len(figure["step"])),
            *(f"{statistics.median(figure[key]):.2f}" if figure[key] else "-" for key in ("notice", "step")),
            f"{max(figure['step'], default=math.nan):.2f}",
        ]
        for name, figure in figures.items()
    ]
    tables.table(
        "One of 2 workers is lost: seconds until it is noticed, and until the next step is done",
        ["fault", "faults", "noticed, median", "next step, median", "worst"],
        rows,
        notes=[
            "without a spare, the survivor goes on alone until the replacement has joined",
            "peers start both workers again, and do the steps after the last snapshot once more; where fewer than "
            f"{_PEER_FAULTS} faults are counted, there was no step within 90 s after the next one",
        ],
    )
    return figures


def _measure(strike: signal.Signals, spares: int, faults: int) -> dict[str, list[float]]:
    from retape.cluster import train

    struck: list[float] = []
    notices: list[float] = []
    steps: list[tuple[float, int]] = []
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        pids = Path(folder) / "pids"
        pids.mkdir()

        def note() -> None:
            (pids / str(os.getpid())).touch()

        def sabotage() -> None:
            draw, gone = random.Random(0), set()
            while len(struck) < faults and not over.wait(4.0 + draw.random()):
                alive = [path.name for path in pids.iterdir() if path.name not in gone and Path("/proc", path.name).exists()]
                if len(alive) > 1:
                    gone.add(victim := draw.choice(alive))
                    struck.append(time.monotonic())
                    with suppress(ProcessLookupError):
                        os.kill(int(victim), strike)
            over.wait(8.0)
            over.set()

        def hear(sentence: str) -> None:
            if "was lost after step" in sentence:
                notices.append(time.monotonic())

        threading.Thread(target=sabotage, daemon=True).start()
        train(
            **settings(Path(folder) / "out", note),
            workers=2,
            spares=spares,
            oversubscribe=True,
            resize=lambda step: 2 if not over.is_set() else _stop(),
            on_row=lambda row: steps.append((time.monotonic(), row["step"])),
            on_event=hear,
        )
    made: dict[str, list[float]] = {"notice": [], "step": []}
    for at in struck:
        noticed = next((when for when in notices if when > at), None)
        if noticed is not None:
            made["notice"].append(noticed - at)
            # Rows that come with the notice may be of steps before the fault.
            made["step"].append(next(when for when, _ in steps if when > noticed + 0.02) - at)
    return made


def _stop() -> int:
    """Ends the run as a terminal would, after the step in progress."""
    os.kill(os.getpid(), signal.SIGTERM)
    return 2


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    table(quick=parser.parse_args().quick)
