"""Makes a worker of a run end or stop itself, where an order in a folder says so: at the calls that make up a phase."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

# Half are plain kills; a stopped process is one that swaps, or whose machine hangs; SIGTERM is what a preempted node sends.
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM)
PHASES = (
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
MOMENTS = ("before", "in", "after")
# Phases of workers that have no rank then.
_WITHOUT_RANK = ("writing", "giving", "taking over", "starting", "waiting")
# Those of workers that take the place of others.
_AFTER_A_LOSS = ("forming", "giving", "taking over", "starting")


def give_order(orders: Path, number: int, phase: str, draw: random.Random) -> None:
    """Has the first worker that comes by in ``phase`` strike itself, and before, where it takes that, another one."""

    def write(name: str, phase: str) -> None:
        order = {
            "phase": phase,
            "moment": draw.choice(MOMENTS),
            "signal": draw.choice(SIGNALS).name,
            "rank": None if phase in _WITHOUT_RANK else draw.choice((0, 0, 1, 2)),
            "delay": draw.random(),
        }
        (orders / f".{name}").write_text(json.dumps(order))
        os.replace(orders / f".{name}", orders / name)

    write(f"{number:03d}", phase)
    if phase in _AFTER_A_LOSS:
        write(f"{number:03d}-first", "gradients")


class Victim:
    """A worker's process, which looks for ``orders`` and writes into ``struck`` what it carries out."""

    def __init__(self, orders: Path, struck: Path) -> None:
        """It has no rank yet, and is not prepared."""
        self.orders, self.struck = orders, struck
        self.rank: int | None = None
        self.is_prepared, self.is_waiting = False, True
        self._last: dict[str, float] = {}

    def strike(self, phase: str, moment: str) -> None:
        """Carries out the orders for this moment of a phase."""
        for path in sorted(self.orders.glob("[0-9]*")):
            try:
                order = json.loads(path.read_text())
            except OSError:
                continue
            if (order["phase"], order["moment"]) != (phase, moment) or order["rank"] not in (None, self.rank):
                continue
            try:
                path.rename(self.struck / f".{path.name}")
            except OSError:
                continue  # another worker was faster
            if moment == "in":
                threading.Timer(order["delay"] * self._last.get(phase, 0.005), self._blow, (path.name, order)).start()
            else:
                self._blow(path.name, order)

    def spied(self, original: Callable[..., Any], phase: str) -> Callable[..., Any]:
        """``original``, whose calls make up ``phase``."""

        @wraps(original)
        def call(*values: Any, **named: Any) -> Any:
            if phase == "taking over" and not self.is_prepared:
                return original(*values, **named)
            self.strike(phase, "before")
            self.strike(phase, "in")
            began = time.monotonic()
            try:
                return original(*values, **named)
            finally:
                self._last[phase] = time.monotonic() - began
                self.strike(phase, "after")

        return call

    def _blow(self, name: str, order: dict[str, Any]) -> None:
        done = {**order, "rank": self.rank, "at": time.monotonic()}
        (self.struck / f".{name}-done").write_text(json.dumps(done))
        (self.struck / f".{name}-done").rename(self.struck / name)
        os.kill(os.getpid(), signal.Signals[order["signal"]])


# This process, once it is one.
_victims: list[Victim] = []


def arm(orders: Path, struck: Path) -> None:
    """Makes this process, a worker, a victim; one that is armed already is being prepared anew."""
    if _victims:
        _victims[0].is_prepared = False
        return
    _victims.append(victim := Victim(orders, struck))
    _spy(victim)
    for moment in MOMENTS:
        victim.strike("starting", moment)


def spied(function: Callable[..., Any], phase: str) -> Callable[..., Any]:
    """``function``, whose calls make up ``phase`` where this process is a victim."""
    return _victims[0].spied(function, phase) if _victims else function


def _spy(victim: Victim) -> None:
    """Replaces what a worker calls in its phases."""
    from retape.cluster.comm.group import Group
    from retape.cluster.gradients import Gradients
    from retape.cluster.snapshot.writer import Writer
    from retape.cluster.training import Training

    worker: Any = import_module("retape.cluster.worker")

    def form(self: Any, formation: Any, rank: int, *values: Any, **named: Any) -> None:
        victim.rank, victim.is_waiting = rank, False
        join(self, formation, rank, *values, **named)

    def close(self: Any) -> None:
        leave(self)
        victim.rank = None

    def pulse(*values: Any) -> Any:
        if victim.is_waiting and victim.is_prepared:
            for moment in MOMENTS:
                victim.strike("waiting", moment)
        return Pulse(*values)

    def ready(*values: Any) -> Any:
        victim.is_prepared = True
        return Ready(*values)

    # Ray has looked the methods of Worker up already: what they call is spied on.
    join, leave, Pulse, Ready = victim.spied(Group.__init__, "forming"), Group.close, worker.Pulse, worker.Ready
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
        setattr(owner, name, victim.spied(getattr(owner, name), phase))
