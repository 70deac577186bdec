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
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tables

_PARAMETERS = 250_000
_WORKERS, _SPARES = 3, 1
# Half are plain kills; a stopped process is one that swaps, or whose machine hangs; SIGTERM is what a preempted node sends.
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM)
_PHASES = (
    "gradients",
    "reducing",
    "meeting",
    "updating",
    "saving",
    "writing",
    "validating",
    "forming",
    "giving",
    "taking over",
    "starting",
    "waiting",
)
_MOMENTS = ("before", "in", "after")
# Phases of workers that have no rank then.
_WITHOUT_RANK = ("writing", "giving", "taking over", "starting", "waiting")
_PATIENCE_SECONDS = 20.0


def table(*, quick: bool) -> dict[str, Any]:
    """Print the table and return the figures: seconds from each loss to its notice and to the next step."""
    with tempfile.TemporaryDirectory() as folder:
        strikes, same, steps = _run(Path(folder), 8 if quick else 100)
    figures = {"same bits": same, "steps": steps, "strikes": strikes}
    rows = []
    for key, known in (("signal", [each.name for each in dict.fromkeys(_SIGNALS)]), ("moment", _MOMENTS), ("phase", _PHASES)):
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
            phase, number = _PHASES[number % len(_PHASES)], number + 1
            _give_order(orders, number, phase, draw)
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
    problem = _problem(lambda: _arm(orders, struck), pause=0.01)
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


def _give_order(orders: Path, number: int, phase: str, draw: random.Random) -> None:
    def write(name: str, phase: str) -> None:
        order = {
            "phase": phase,
            "moment": draw.choice(_MOMENTS),
            "signal": draw.choice(_SIGNALS).name,
            "rank": None if phase in _WITHOUT_RANK else draw.choice((0, 0, 1, 2)),
            "delay": draw.random(),
        }
        (orders / f".{name}").write_text(json.dumps(order))
        os.replace(orders / f".{name}", orders / name)

    write(f"{number:03d}", phase)
    if phase in ("forming", "giving", "taking over", "starting"):
        write(f"{number:03d}-first", "gradients")  # what brings such a phase about


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
    from retape.cluster.worker import Worker

    rule = adamw()
    draw = np.random.default_rng(0)
    x = draw.standard_normal((64, 5), np.float32)

    def spied(function: Any, phase: str) -> Any:
        return getattr(Worker, "spied", lambda function, phase: function)(function, phase)

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


def _arm(orders: Path, struck: Path) -> None:
    """Lets this process, a worker, carry out the orders to strike itself: at the calls that make up a phase."""
    from retape.cluster.comm.group import Group
    from retape.cluster.gradients import Gradients
    from retape.cluster.snapshot.writer import Writer
    from retape.cluster.training import Training

    worker: Any = import_module("retape.cluster.worker")

    if hasattr(worker.Worker, "here"):
        worker.Worker.here["is prepared"] = False
        return
    here: dict[str, Any] = {"rank": None, "is prepared": False, "is waiting": True}
    last: dict[str, float] = {}

    def strike(phase: str, moment: str) -> None:
        for path in sorted(orders.glob("[0-9]*")):
            try:
                order = json.loads(path.read_text())
            except OSError:
                continue
            if (order["phase"], order["moment"]) != (phase, moment) or order["rank"] not in (None, here["rank"]):
                continue
            try:
                path.rename(struck / f".{path.name}")
            except OSError:
                continue  # another worker was faster
            if moment == "in":
                threading.Timer(order["delay"] * last.get(phase, 0.005), blow, (path.name, order)).start()
            else:
                blow(path.name, order)

    def blow(name: str, order: dict[str, Any]) -> None:
        done = {**order, "rank": here["rank"], "at": time.monotonic()}
        (struck / f".{name}-done").write_text(json.dumps(done))
        (struck / f".{name}-done").rename(struck / name)
        os.kill(os.getpid(), signal.Signals[order["signal"]])

    def spied(original: Any, phase: str) -> Any:
        @wraps(original)
        def call(*values: Any, **named: Any) -> Any:
            if phase == "taking over" and not here["is prepared"]:
                return original(*values, **named)
            strike(phase, "before")
            strike(phase, "in")
            began = time.monotonic()
            try:
                return original(*values, **named)
            finally:
                last[phase] = time.monotonic() - began
                strike(phase, "after")

        return call

    def form(self: Any, formation: Any, rank: int, *values: Any, **named: Any) -> None:
        here["rank"], here["is waiting"] = rank, False
        join(self, formation, rank, *values, **named)

    def close(self: Any) -> None:
        leave(self)
        here["rank"] = None

    def pulse(*values: Any) -> Any:
        if here["is waiting"] and here["is prepared"]:
            for moment in _MOMENTS:
                strike("waiting", moment)
        return Pulse(*values)

    def ready(*values: Any) -> Any:
        here["is prepared"] = True
        return Ready(*values)

    # Ray has looked the methods of Worker up already: what they call is spied on.
    join, leave, Pulse, Ready = spied(Group.__init__, "forming"), Group.close, worker.Pulse, worker.Ready
    Group.__init__, Group.close, worker.Pulse, worker.Ready = form, close, pulse, ready
    for owner, name, phase in (
        (Gradients, "compute", "gradients"),
        (Gradients, "reduce", "reducing"),
        (Group, "finish", "meeting"),
        (Training, "_save", "saving"),
        (Writer, "_write", "writing"),
        (Training, "_validate", "validating"),
        (import_module("retape.cluster.replica"), "State", "giving"),
    ):
        setattr(owner, name, spied(getattr(owner, name), phase))
    worker.Worker.here, worker.Worker.spied = here, staticmethod(spied)
    for moment in _MOMENTS:
        strike("starting", moment)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    table(quick=parser.parse_args().quick)
