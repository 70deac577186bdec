"""Makes a run's last state from its job: has the workers start, and carries between them, Ray and the supervisor."""

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import snapshot as snapshots
from .checking import flag, shown, whole
from .comm.arena_files import remove_arenas
from .crew import Crew
from .engine import cluster, placement, room
from .errors import ConfigError
from .exports import exported
from .fingerprint import source_digest
from .instructions import Resize
from .instructions import Stop as EndRun
from .job import Job
from .rows import Row, identity
from .status import StatusFile
from .stopping import Stop
from .supervisor import State, advance, begin

_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Staff:
    """Whom a run wants: workers and spares of so many threads, on the cluster at an address or (``None``) on this machine.

    Raises ``ConfigError`` for what cannot be wanted.
    """

    workers: int
    spares: int
    threads: int
    address: str | None
    oversubscribe: bool

    def __post_init__(self) -> None:
        """Checks it."""
        whole("workers", self.workers)
        whole("spares", self.spares, least=0)
        whole("threads", self.threads)
        flag("oversubscribe", self.oversubscribe)
        if self.address is not None and not isinstance(self.address, str):
            raise ConfigError(f'address is {shown(self.address)}; it must be a cluster\'s, such as "10.0.0.7:6379", or None')


class SeenRows:
    """The rows that reached the driver, each once."""

    def __init__(self, on_row: Callable[[Row], None]) -> None:
        """There are none yet; ``on_row`` is called with each."""
        self.rows: list[Row] = []
        self.step = 0
        self._listeners = [on_row]
        self._known: set[tuple[int, str]] = set()

    def tell(self, listener: Callable[[Row], None]) -> None:
        """Calls ``listener`` with every further row, too."""
        self._listeners.append(listener)

    def take(self, rows: Sequence[Row]) -> None:
        """Takes rows, which may have been taken before."""
        for row in rows:
            if identity(row) not in self._known:
                self._known.add(identity(row))
                self.rows.append(row)
                self.step = row["step"]
                for listener in self._listeners:
                    listener(row)


def lead(
    job: Job,
    staff: Staff,
    *,
    stop: Stop,
    resize: Callable[[int], int] | None,
    payload_bytes: int,
    seen: SeenRows,
    status: StatusFile,
    metrics_to: Sequence[str],
    say: Callable[[str], None],
) -> State:
    """Connects to Ray or starts it, has the workers run the job, and ends them; returns the supervisor's last state.

    ``stop`` ends the run after a step, ``resize(step)`` tells how many workers are wanted, ``payload_bytes`` is what travels
    to each. Rows go to ``seen``, the state of things to ``status``, sentences to ``say``, and metrics to those named in
    ``metrics_to``. Raises ``ClusterSizeError``.
    """
    started = time.perf_counter()
    cpus = (staff.workers + staff.spares) * staff.threads
    token, source = secrets.token_hex(32), source_digest()
    with cluster(staff.address, cpus=cpus, payload_bytes=payload_bytes, oversubscribe=staff.oversubscribe) as ray:
        stop.interrupt_at_once()  # again, for Ray has set a handler of its own
        say(f"Ray is up after {time.perf_counter() - started:.1f} s; starting {staff.workers} workers")
        with (
            exported(metrics_to, job.out, step=_step_of(job.resume), say=say) as export,
            placement(ray, staff.workers, threads=staff.threads) as group,
        ):
            seen.tell(export)
            fitting = room(ray, staff.threads)
            if staff.workers + staff.spares > fitting:
                say(f"the cluster has room for {fitting} workers: the spares beyond that wait until it has more CPUs")
            crew = Crew(
                ray,
                job,
                group=group,
                places=staff.workers,
                threads=staff.threads,
                local=staff.address in (None, "local"),
                token=token,
                source=source,
                on_rows=seen.take,
                say=say,
            )
            try:
                return _supervise(crew, staff, stop, resize, seen, status)
            finally:
                crew.close()
                remove_arenas(token)


def _supervise(
    crew: Crew, staff: Staff, stop: Stop, resize: Callable[[int], int] | None, seen: SeenRows, status: StatusFile
) -> State:
    """Runs the workers to the end of the run; returns the supervisor's last state."""
    state, instructions = begin(staff.workers, spares=staff.spares)
    told = False
    while True:
        for instruction in instructions:
            crew.do(instruction)
        if state.is_over:
            break
        events = crew.events(_POLL_SECONDS)
        if state.generation:
            stop.finish_the_step()
        if stop.requested and not told:
            events.append(EndRun())
            told = True
        wanted = wanted_workers(staff, resize, seen.step, state)
        if wanted != state.wanted:
            events.append(Resize(wanted))
        instructions = []
        for event in events:
            state, more = advance(state, event)
            instructions += more
        status.show(state, crew.pulses())
    crew.last_rows()
    return state


def wanted_workers(staff: Staff, resize: Callable[[int], int] | None, step: int, state: State) -> int:
    """How many workers are wanted after ``step``: those that were asked for until they have begun, whom there is room for;
    then what ``resize`` says, but no more than there are logical shards. Raises ``ConfigError`` for what is no such number.
    """
    if resize is None or not state.generation:
        return staff.workers
    shards = [member.ready.shards for member in state.workers.values() if member.ready is not None]
    return min([whole("resize(step)", resize(step)), *shards])


def _step_of(snapshot: snapshots.Where | None) -> int:
    return 0 if snapshot is None else snapshots.step_of(snapshot)
