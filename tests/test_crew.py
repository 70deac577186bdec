"""The crew on a Ray of threads: what becomes of workers that answer, do not answer, and are unfit to work together."""

import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, InvalidStateError, wait
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from retape.cluster import MismatchError, TrainConfig, adamw, constant
from retape.cluster import crew as crew_module
from retape.cluster import worker as worker_module
from retape.cluster.crew import Crew
from retape.cluster.data import as_source
from retape.cluster.fingerprint import source_digest
from retape.cluster.instructions import Lost, Say
from retape.cluster.job import Job
from retape.cluster.processes import Work
from retape.cluster.supervisor import advance, begin


class Actor:
    """Methods as Ray calls them, on threads; a frozen one takes no more calls."""

    def __init__(self, made):
        self.made, self.is_frozen, self.pending, self.threads = made, False, [], []

    def __getattr__(self, name):
        def call(values, future):
            values = [value.result() if isinstance(value, Future) else value for value in values]
            made, failure = None, None
            try:
                made = getattr(self.made, name)(*values)
            except Exception as error:
                failure = error
            with suppress(InvalidStateError):  # killed meanwhile
                future.set_result(made) if failure is None else future.set_exception(failure)

        def remote(*values):
            future: Future[Any] = Future()
            self.pending.append(future)
            if not self.is_frozen:
                self.threads.append(threading.Thread(target=call, args=(values, future), daemon=True))
                self.threads[-1].start()
            return future

        return SimpleNamespace(remote=remote)


class Gone(Exception):
    """What Ray raises for an actor that is gone."""


def ray_of_threads():
    def look(refs, num_returns=1, timeout=None):
        done = wait(refs, timeout=timeout, return_when=FIRST_COMPLETED).done
        return [ref for ref in refs if ref in done], [ref for ref in refs if ref not in done]

    def kill(actor, no_restart):
        for future in actor.pending:
            if not future.done():
                future.set_exception(Gone())

    never = type("Never", (Exception,), {})
    exceptions = SimpleNamespace(RayError=Gone, RayActorError=Gone, RayTaskError=never, OutOfMemoryError=never)
    return SimpleNamespace(
        put=lambda value: value,
        get=lambda ref, timeout=None: ref.result(timeout),
        wait=look,
        kill=kill,
        exceptions=exceptions,
    )


class Beside:
    """Stands for a lookout: what it says of every process is set by the test."""

    def __init__(self):
        self.work_of = lambda: Work(0.0)

    def work(self, processes):
        return dict.fromkeys(processes, self.work_of())


@pytest.fixture
def hired(tmp_path, monkeypatch):
    """Makes a crew whose workers are threads of this process, on a node that is not the driver's."""
    # On the driver's node, a worker that is lost is killed: here that would be this process.
    monkeypatch.setattr(worker_module, "whereabouts", lambda: ("there", "127.0.0.1"))
    monkeypatch.setattr(crew_module, "whereabouts", lambda: ("here", "127.0.0.1"))
    actors, beside = [], Beside()

    def spawn(group, kind, *values, threads, local):
        actors.append(Actor(kind(*values)))
        return actors[-1]

    monkeypatch.setattr(crew_module, "spawn", spawn)
    monkeypatch.setattr(crew_module, "spawn_beside", lambda *values, **named: Actor(beside))

    def hire(loss, **settings):
        data = as_source(np.ones((64, 5)))
        config = TrainConfig(**{"steps": 3, "global_batch": 8, "deadline_seconds": 20.0, **settings})
        job = Job(loss, lambda seed: {"w": np.ones((5, 2))}, data, adamw(), constant(0.1), config, tmp_path)
        crew = Crew(
            ray_of_threads(),
            job,
            group=None,
            places=config.workers,
            threads=1,
            local=True,
            token="f" * 64,
            source=source_digest(),
            on_rows=lambda rows: None,
            say=lambda sentence: None,
        )
        return crew, actors, beside

    yield hire
    for actor in actors:
        actor.made.call_off(2**31)
    for thread in [thread for actor in actors for thread in actor.threads]:
        thread.join(timeout=60)
    for actor in actors:
        actor.made._saver.close()


def loss(params, batch):
    return np.mean((batch @ params["w"]) ** 2)


def played(crew, count, until=lambda state, event: False):
    """The last state and all events of a run with ``count`` workers, up to its end."""
    state, instructions = begin(count)
    heard = []
    for _ in range(4000):
        for instruction in instructions:
            if not isinstance(instruction, Say):
                crew.do(instruction)
        if state.is_over:
            break
        instructions = []
        for event in crew.events(0.02):
            heard.append(event)
            state, more = advance(state, event)
            instructions += more
            if until(state, event):
                return state, heard
    return state, heard


def test_a_crew_brings_a_run_to_its_end(hired):
    crew, actors, _ = hired(loss)
    state, heard = played(crew, 2)
    assert (state.status, state.failure, state.step) == ("finished", None, 3)
    assert not any(isinstance(event, Lost) for event in heard)
    assert actors[0].made.replica.params["w"].tobytes() == actors[1].made.replica.params["w"].tobytes()


@pytest.mark.parametrize(
    ("free", "told"), [(2**21, []), (2**21 - 1, ["127.0.0.1 has 2.0 MiB free, and 2 workers"]), (None, [])]
)
def test_workers_whose_budgets_are_more_than_their_host_has_free_are_told_of_at_the_start(hired, monkeypatch, free, told):
    monkeypatch.setattr(worker_module, "free_bytes", lambda: free)
    crew, _, _ = hired(loss, memory_budget=2**20)
    heard = []
    monkeypatch.setattr(crew, "_say", heard.append)
    state, _ = played(crew, 2)
    assert state.status == "finished" and [sentence.partition(" with")[0] for sentence in heard] == told


@pytest.mark.parametrize("is_at_work", [True, False])
def test_a_worker_that_does_not_answer_is_lost_unless_its_node_sees_it_at_work(hired, is_at_work):
    is_over = threading.Event()

    def waiting(params, batch):
        is_over.wait(60)
        return loss(params, batch)

    crew, actors, beside = hired(waiting, silence_seconds=2.0)
    beside.work_of = lambda: Work(time.monotonic() if is_at_work else 0.0)

    def is_enough(state, event):
        """Freezes the first worker once it runs, and sees more silence than is allowed, or a loss."""
        actors[0].is_frozen = actors[0].is_frozen or state.is_running
        return isinstance(event, Lost) or (0 in crew.pulses() and crew.pulses()[0][1] > 3.0)

    _, heard = played(crew, 2, is_enough)
    is_over.set()
    lost = [event for event in heard if isinstance(event, Lost)]
    if is_at_work:
        assert not lost and crew.pulses()[0][1] > 3.0
    else:
        assert [event.number for event in lost] == [0] and "silent" in lost[0].reason


def test_workers_of_other_versions_are_named_and_the_run_does_not_begin(hired, monkeypatch):
    versions = iter(["2.4.6", "2.5.0"])
    monkeypatch.setattr(worker_module, "fingerprint", lambda: {"retape": source_digest(), "NumPy": next(versions)})
    crew, _, _ = hired(loss)
    state, _ = played(crew, 2)
    assert (
        isinstance(state.failure, MismatchError) and "127.0.0.1" in str(state.failure) and "NumPy: 2." in str(state.failure)
    )
