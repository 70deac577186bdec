"""Makes the supervisor's instructions happen on Ray actors, and events from what the actors say and do not say.

Ray tells of a process that ended within milliseconds. Of one that stands still, or is cut off, it tells after a minute; so
every worker is asked for a sign of life, and one that neither answers in time nor is seen at work is lost.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from . import snapshot as snapshots
from .comm.formation import Formation
from .engine import spawn, spawn_beside, whereabouts
from .errors import MismatchError, SnapshotError
from .fingerprint import check_same, check_same_parameters
from .host import shortage
from .instructions import (
    CallOff,
    Ended,
    Event,
    Form,
    HandOver,
    Instruction,
    Interrupt,
    Kill,
    Lost,
    NotTaken,
    Prepared,
    Refused,
    Regroup,
    Reload,
    Say,
    Seen,
    Start,
    TookOver,
    Unfit,
)
from .job import Job, Pulse, Ready
from .lookout import Lookout, Lookouts
from .processes import Process, have_ended
from .rows import Row
from .vigil import Signs
from .worker import Worker

_PULSE_SECONDS = 0.25
# The part of the allowed silence after which a worker's process is looked at.
_QUIET_SHARE = 0.4


class Crew:
    """The workers of one run, by number. The ``places`` of the placement group ``group`` are theirs first."""

    def __init__(
        self,
        ray: Any,
        job: Job,
        *,
        group: Any,
        places: int,
        threads: int,
        local: bool,
        token: str,
        source: str,
        on_rows: Callable[[Sequence[Row]], None],
        say: Callable[[str], None],
    ) -> None:
        """Starts nothing yet. ``source`` is the digest of the code that made the job: workers of other code are refused."""
        self._ray, self._job, self._shared_job = ray, job, ray.put(job)
        self._group, self._places, self._placed = group, places, set[int]()
        self._threads, self._local, self._token = threads, local, token
        self._on_rows, self._say, self._source = on_rows, say, source
        self._node = whereabouts()[0]
        self._actors: dict[int, Any] = {}
        self._ready: dict[int, Ready] = {}
        self._signs: dict[int, Signs] = {}
        self._lookouts = Lookouts(ray, self._node, lambda node: spawn_beside(node, Lookout, local=local))
        self._pulses: dict[int, Pulse] = {}
        self._calls: dict[Any, tuple[str, int]] = {}
        self._writer: int | None = None
        self._rows_after = 0
        self._asked, self._polled = 0.0, time.monotonic()

    def do(self, instruction: Instruction) -> None:
        """Carries out one instruction, without waiting for its end."""
        match instruction:
            case Start(number):
                group = None
                if len(self._placed) < self._places:
                    self._placed.add(number)
                    group = self._group
                self._actors[number] = spawn(group, Worker, self._shared_job, threads=self._threads, local=self._local)
                self._call("prepare", number)
            case Reload(number):
                self._call("prepare", number, self._newest_snapshot())
            case Kill(number):
                process = self._dismiss(number)
                if process is not None:
                    process.kill()  # one that stands still does not answer Ray
            case CallOff(numbers, generation):
                for number in numbers:
                    self._call("call_off", number, generation)
            case Regroup(number):
                self._call("regroup", number)
            case Interrupt(number):
                self._call("stop", number)
            case HandOver(giver, takers):
                state = self._actors[giver].hand_over.remote()
                for number in takers:
                    self._call("take_over", number, state)
            case Form():
                self._form(instruction)
            case Say(sentence):
                self._say(sentence)

    def events(self, seconds: float) -> list[Event]:
        """What has happened, after at most ``seconds``; sooner where something has."""
        self._ask_for_pulses()
        found: list[Event] = []
        done, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=seconds) if self._calls else ([], [])
        if done:
            # Everything else that is there by now, for a burst of events should not take a call each.
            done, _ = self._ray.wait(list(self._calls), num_returns=len(self._calls), timeout=0)
        for ref in done:
            what, number = self._calls.pop(ref)
            if number in self._actors:
                found += self._event(ref, what, number)
        return found + self._silent()

    def pulses(self) -> dict[int, tuple[Pulse, float]]:
        """Each worker's last sign of life, and how many seconds ago it came."""
        now = time.monotonic()
        return {number: (pulse, now - self._signs[number].answered) for number, pulse in self._pulses.items()}

    def close(self, seconds: float = 5.0) -> None:
        """Ends all workers and waits until their processes on this machine are gone."""
        processes = [process for number in list(self._actors) if (process := self._dismiss(number)) is not None]
        self._lookouts.staff(set())
        if not have_ended(processes, seconds):
            for process in processes:
                process.kill()
            have_ended(processes, seconds)

    def last_rows(self) -> None:
        """Fetches the rows that the workers have and the driver has not seen."""
        if self._writer in self._actors:
            try:
                self._take_rows(self._ray.get(self._actors[self._writer].rows.remote(self._rows_after), timeout=10))
            except (self._ray.exceptions.RayError, TimeoutError):
                return

    def _call(self, method: str, number: int, *values: Any) -> None:
        self._calls[getattr(self._actors[number], method).remote(*values)] = (method, number)

    def _event(self, ref: Any, what: str, number: int) -> list[Event]:
        ray = self._ray
        try:
            value = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            if what == "take_over":
                return [NotTaken(number)]
            return [Refused(number, error.cause if isinstance(error.cause, Exception) else error)]
        except ray.exceptions.OutOfMemoryError:
            return [Lost(number, "killed: its node was out of memory", is_out_of_memory=True)]
        except ray.exceptions.RayActorError as error:
            reason = "out of memory" if "out of memory" in str(error).lower() else "its process ended"
            return [Lost(number, reason, is_out_of_memory=reason == "out of memory")]
        except ray.exceptions.RayError as error:
            if what == "take_over":
                return [NotTaken(number)]
            return [Lost(number, f"{type(error).__name__}: {error}")]
        now = time.monotonic()
        self._signs[number] = self._signs.get(number, Signs.at(now)).answer(now)
        match what:
            case "prepare":
                return [self._prepared(number, value)]
            case "run":
                return [Ended(number, value)]
            case "take_over":
                return [TookOver(number, value)]
            case "pulse":
                self._pulses[number] = value
                if number == self._writer:
                    self._take_rows(value.rows)
                return [Seen(number, value.step)]
        return []

    def _prepared(self, number: int, ready: Ready) -> Event:
        others = [(known, other) for known, other in self._ready.items() if known != number]
        self._ready[number] = ready
        name = f"worker {number} on {ready.host}"
        try:
            check_same([{"retape": self._source}, {"retape": ready.fingerprint["retape"]}], ["the driver", name])
            if others:
                known, other = others[0]
                names = [f"worker {known} on {other.host}", name]
                check_same([other.fingerprint, ready.fingerprint], names)
                check_same_parameters([other.parameters, ready.parameters], names)
        except MismatchError as error:
            return Unfit(number, error)
        if self._writer is None:  # nobody has taken memory for gradients yet
            beside = [each for each in self._ready.values() if each.node == ready.node]
            if short := shortage(beside, self._job.config.memory_budget):
                self._say(short)
        return Prepared(number, ready)

    def _take_rows(self, rows: Sequence[Row]) -> None:
        if rows:
            self._rows_after = max(self._rows_after, rows[-1]["step"])
            self._on_rows(rows)

    def _ask_for_pulses(self) -> None:
        now = time.monotonic()
        if now - self._asked < _PULSE_SECONDS:
            return
        self._asked = now
        asked = self._unanswered()
        for number in self._actors.keys() - asked:
            self._call("pulse", number, self._rows_after if number == self._writer else None)
        self._look(asked, now)

    def _unanswered(self) -> set[int]:
        return {number for what, number in self._calls.values() if what == "pulse"}

    def _look(self, unanswered: set[int], now: float) -> None:
        """Looks at the processes of workers that are silent: they may be at work, and only unable to answer."""
        self._lookouts.staff({pulse.node for pulse in self._pulses.values()})
        by_node: dict[str, dict[int, Process]] = {}
        for number in unanswered & self._pulses.keys():
            if now - self._signs[number].answered > _QUIET_SHARE * self._job.config.silence_seconds:
                by_node.setdefault(self._pulses[number].node, {})[number] = self._pulses[number].process
        for number, work in self._lookouts.look(by_node):
            if number in self._signs:
                self._signs[number] = self._signs[number].look(now, work)

    def _silent(self) -> list[Event]:
        """Workers that have given no sign of life for too long."""
        config = self._job.config
        now = time.monotonic()
        if now - self._polled > config.silence_seconds / 2:
            # It was the driver that stood still: the workers get their time again.
            self._signs = {number: signs.answer(now) for number, signs in self._signs.items()}
        self._polled = now
        return [
            Lost(number, f"silent for {silent:.1f} s")
            for number in self._unanswered() & self._signs.keys()
            if (silent := self._signs[number].silent_seconds(now, patience_seconds=config.deadline_seconds))
            > config.silence_seconds
        ]

    def _form(self, form: Form) -> None:
        first = self._ready[form.numbers[0]]
        config = self._job.config
        formation = Formation(
            token=self._token,
            generation=form.generation,
            shards=first.shards,
            nodes=form.nodes,
            deadline_seconds=config.deadline_seconds,
            wire=config.wire,
        )
        self._writer = form.numbers[0]
        if len(form.nodes) == 1:
            for rank, number in enumerate(form.numbers):
                self._call("run", number, formation, rank, form.shrink)
            return
        addresses = [
            self._actors[form.numbers[formation.first_rank(node)]].listen.remote() for node in range(len(form.nodes))
        ]
        for rank, number in enumerate(form.numbers):
            self._call("run", number, formation, rank, form.shrink, *addresses)

    def _dismiss(self, number: int) -> Process | None:
        """Lets Ray end a worker; returns its process where it is on this machine."""
        actor = self._actors.pop(number)
        self._placed.discard(number)
        ready, pulse = self._ready.pop(number, None), self._pulses.pop(number, None)
        known = pulse or ready  # a short run may be over before the first sign of life
        self._signs.pop(number, None)
        self._calls = {ref: call for ref, call in self._calls.items() if call[1] != number}
        self._ray.kill(actor, no_restart=True)
        return known.process if known is not None and known.node == self._node else None

    def _newest_snapshot(self) -> snapshots.Where | None:
        try:
            return snapshots.latest(self._job.snapshot_folder)[0]
        except SnapshotError:
            return self._job.resume
