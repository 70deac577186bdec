"""100 workers lost in one training run on a local Ray, in every phase and in three ways: how long each stops the run, and
whether the run ends with the bits of one without faults."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tables
from strikes import MOMENTS, PHASES, SIGNALS, arm, give_order, spied

_PARAMETERS = 250_000
_WORKERS, _SPARES = 3, 1
_PATIENCE_SECONDS = 20.0


def table(*, quick: bool) -> dict[str, Any]:
    """Print the table and return the figures: seconds from each loss to its notice and to the next step."""
    with tempfile.TemporaryDirectory() as folder:
        strikes, same, steps = _run(Path(folder), 8 if quick else 100)
    figures = {"same bits": same, "steps": steps, "strikes": strikes}
    rows = []
    for key, known in (("signal", [each.name for each in dict.fromkeys(SIGNALS)]), ("moment", MOMENTS), ("phase", PHASES)):
        for name in known:
            mine = [strike for strike in strikes if strike[key] == name]
            if mine:
                first = sum(1 for strike in mine if strike["rank"] == 0)
                rows.append([f"{key}: {name}", str(len(mine)), str(first), *_seconds(mine)])
    rows.append(["all", str(len(strikes)), str(sum(1 for each in strikes if each["rank"] == 0)), *_seconds(strikes)])
    tables.table(
        f"Workers lost in one run of {steps} steps with {_WORKERS} workers and {_SPARES} spare: seconds until the next step",
        ["", "lost", "of rank 0", "noticed, median", "worst", "next step, median", "worst"],
        rows,
        notes=[
            f"bits of the parameters and the optimizer state, and one row a step: {'as' if same else 'NOT as'} without faults"
        ],
    )
    return figures


def _seconds(strikes: list[dict[str, Any]]) -> list[str]:
    made = []
    for key in ("notice", "step"):
        found = [strike[key] for strike in strikes if strike[key] is not None]
        made += [f"{statistics.median(found):.2f}", f"{max(found):.2f}"] if found else ["-", "-"]
    return made


def _run(folder: Path, count: int) -> tuple[list[dict[str, Any]], bool, int]:
    from retape.cluster import train

    orders, struck = folder / "orders", folder / "struck"
    orders.mkdir()
    struck.mkdir()
    notices: list[tuple[float, str]] = []
    steps: list[tuple[float, int]] = []
    over = threading.Event()

    def saboteur() -> None:
        draw = random.Random(0)
        while not steps and not over.wait(0.1):
            pass
        number = 0
        while len(list(struck.glob("[0-9]*"))) < count:
            phase, number = PHASES[number % len(PHASES)], number + 1
            give_order(orders, number, phase, draw)
            until = time.monotonic() + _PATIENCE_SECONDS
            while list(orders.iterdir()) and time.monotonic() < until and not over.wait(0.05):
                pass
            for late in orders.iterdir():
                late.unlink()  # no worker came by
            # The next one strikes the workers while they recover, or some steps later.
            if over.wait(draw.choice((0.1, 1.0, 2.0, 4.0))):
                return
        over.wait(10.0)
        over.set()

    threading.Thread(target=saboteur, daemon=True).start()
    problem = _problem(lambda: arm(orders, struck), pause=0.01)
    try:
        result = train(
            **problem,
            steps=10**6,
            out=folder / "out",
            workers=_WORKERS,
            spares=_SPARES,
            oversubscribe=True,
            resize=lambda step: _WORKERS if not over.is_set() else _stop(),
            on_row=lambda row: steps.append((time.monotonic(), row["step"])),
            on_event=lambda sentence: notices.append((time.monotonic(), sentence)),
        )
    except BaseException:
        tables.say("\n".join(f"{at - notices[0][0]:.2f} {sentence}" for at, sentence in notices))
        raise
    finally:
        over.set()
    whole = train(**_problem(lambda: None, pause=0.0), steps=result.step, out=folder / "whole", workers=1)
    written = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    numbers = [row["step"] for row in written if "loss" in row]
    same = _bits(result) == _bits(whole) and numbers == list(range(1, result.step + 1))
    return _timed(struck, notices, steps), same, result.step


def _timed(struck: Path, notices: list[tuple[float, str]], steps: list[tuple[float, int]]) -> list[dict[str, Any]]:
    """What the workers wrote when they struck, with the seconds to the notice and to the first new step."""
    made = []
    losses = [at for at, sentence in notices if "lost (" in sentence or "was lost after" in sentence]
    # Whoever took an order and was lost to another one before it struck has left it under a hidden name.
    for strike in sorted((json.loads(path.read_text()) for path in struck.glob("[0-9]*")), key=lambda each: each["at"]):
        at = strike.pop("at")
        known = max((step for when, step in steps if when <= at), default=0)
        notice = next((when for when in losses if when > at), None)
        # Rows that come with the notice may be of steps before the loss.
        after = at if strike["rank"] is None or notice is None else notice
        step = next((when for when, step in steps if when > after + 0.02 and step > known), None)
        made.append(strike | {"notice": None if notice is None else notice - at, "step": None if step is None else step - at})
    return made


def _bits(result: Any) -> list[bytes]:
    parts = (result.params, result.state["mean"], result.state["square"])
    return [part[name].tobytes() for part in parts for name in ("w", "big")]


def _stop() -> int:
    """Ends the run as a terminal would, after the step in progress."""
    os.kill(os.getpid(), signal.SIGTERM)
    return _WORKERS


def _problem(arm: Callable[[], None], *, pause: float) -> dict[str, Any]:
    from retape.cluster import adamw

    rule = adamw()
    draw = np.random.default_rng(0)
    x = draw.standard_normal((64, 5), np.float32)

    def init(seed: int) -> Any:
        arm()
        return {"w": np.full((5, 2), 0.1, np.float32), "big": np.ones(_PARAMETERS, np.float32)}

    def loss(params: Any, batch: Any) -> Any:
        time.sleep(pause)
        x, targets = batch
        error = np.tanh(x @ params["w"]) - targets
        return np.mean(error * error) + np.mean(params["big"] ** 2)

    def evaluate(params: Any, batch: Any) -> dict[str, float]:
        time.sleep(pause)
        return {"val_loss": float(np.mean((np.tanh(batch[0] @ params["w"]) - batch[1]) ** 2))}

    data = (x, np.tanh(x @ draw.standard_normal((5, 2), np.float32)))
    return {
        "loss": loss,
        "init": init,
        "data": data,
        "validation": data,
        "evaluate": evaluate,
        "optimizer": replace(
            rule,
            init=lambda params: spied(rule.init, "taking over")(params),
            update=lambda *values: spied(rule.update, "updating")(*values),
        ),
        "global_batch": 8,
        "snapshot_every": 20,
        "validate_every": 15,
        "check_every": 5,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    table(quick=parser.parse_args().quick)
