"""Makes decisions from what happens to a run's workers: who works together, who is replaced, who hands its state to whom.

Pure data: events go in, a new state and instructions come out; processes, clocks and Ray are elsewhere. A loss costs no
restart: survivors keep their state, the newest among them hands it to whoever joins, and since the bits do not depend on the
number of workers, they go on with fewer until a replacement is ready.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..checkpoint.errors import MemoryBudgetError
from .errors import DeadlineError, MessageError, WorkerDiedError
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
    Resize,
    Say,
    Seen,
    Start,
    Stop,
    TookOver,
    Unfit,
)
from .job import Failure, Outcome, Ready

# A run whose formations fail this often without one finished step, or that loses each of its workers so often while they
# start, has a cause that replacing them does not cure. What is lost with one formation counts once, for a node may take
# many workers with it.
BARREN_FORMATIONS, BARREN_STARTS = 10, 5


@dataclass(frozen=True)
class Member:
    """What is known of a worker: "starting", "idle", "running" or "taking over"; ``is_fresh`` unless it has the newest state,
    from the last formation, another worker, or a snapshot of this run.

    ``step`` is the last one it is known to have finished. ``ready`` says what it is and where.
    """

    status: str = "starting"
    step: int = -1
    is_fresh: bool = True
    ready: Ready | None = None


@dataclass(frozen=True)
class State:
    """A run as the supervisor sees it. ``formed`` holds the numbers of the workers that work together, rank by rank.

    ``wanted`` workers and ``spares`` in reserve are aimed at. ``failed_formations`` and ``failed_starts`` count the mishaps
    since the step ``lost_at``. ``unfit`` places are left empty.
    """

    wanted: int
    spares: int = 0
    generation: int = 0
    workers: Mapping[int, Member] = field(default_factory=dict)
    formed: tuple[int, ...] = ()
    started: int = 0
    failed_formations: int = 0
    failed_starts: int = 0
    lost_at: int = -1
    unfit: int = 0
    is_stopping: bool = False
    is_over: bool = False
    shrink: bool = False
    failure: Failure | Exception | None = None
    status: str = ""

    @property
    def is_running(self) -> bool:
        """Whether a formation has members that have not ended."""
        return any(self.workers[number].status == "running" for number in self.formed if number in self.workers)

    @property
    def step(self) -> int:
        """The last step that any worker, those that were lost included, is known to have finished."""
        return max([self.lost_at, *(member.step for member in self.workers.values())])


def begin(wanted: int, *, spares: int = 0) -> tuple[State, list[Instruction]]:
    """The first state and instructions of a run.

    >>> begin(2)[1]
    [Start(number=0), Start(number=1)]
    """
    return _staffed(State(wanted, spares))


def advance(state: State, event: Event) -> tuple[State, list[Instruction]]:
    """The state after an event, and what is to be done. Once ``is_over``, ``status`` or ``failure`` says how it ended."""
    made: list[Instruction] = []
    number = getattr(event, "number", None)
    if state.is_over or (number is not None and number not in state.workers):
        return state, made  # a late word from a worker that was replaced
    match event:
        case Seen(number, step):
            known = state.workers[number]
            if known.status == "running" and step > known.step:
                state = _with(state, number, step=step)
            return state, made
        case Prepared(number, ready):
            state = _with(state, number, status="idle", step=ready.step, ready=ready)
        case TookOver(number, step):
            state = _with(state, number, status="idle", step=step, is_fresh=False)
        case NotTaken(number):
            state = _with(state, number, status="idle", step=-1, is_fresh=True)
        case Ended(number, outcome):
            state, made = _ended(state, number, outcome)
        case Lost():
            state, made = _lost(state, event)
        case Refused(number, failure):
            state = replace(state, failure=state.failure or failure)
        case Unfit(number, failure):
            state, made = _unfit(state, number, failure)
        case Resize(wanted):
            state = replace(state, wanted=wanted)
        case Stop():
            state = replace(state, is_stopping=True)
            if state.is_running:
                made = [Interrupt(state.formed[0])]
    if state.failure is not None or state.status:
        return _closing(state, made)
    if state.is_running:
        state, more = _staffed(state)
        ready = sum(1 for member in state.workers.values() if member.status in ("running", "idle"))
        is_whole = all(number in state.workers and state.workers[number].status == "running" for number in state.formed)
        if is_whole and len(state.formed) != min(state.wanted, ready):
            more.append(Regroup(state.formed[0]))
        return state, made + more
    state, more = _next(state)
    return state, made + more


def _ended(state: State, number: int, outcome: Outcome) -> tuple[State, list[Instruction]]:
    if not outcome.is_whole:
        # Its parameters were caught in an update: it is as good as new, and takes over from another.
        state = _with(state, number, status="idle", step=-1, is_fresh=True)
    else:
        state = _with(state, number, status="idle", step=outcome.step, is_fresh=False)
    failure, made = outcome.failure, []
    if outcome.status in ("finished", "stopped early", "interrupted"):
        # Nobody leaves before the last snapshot is on the disk: what the others still say changes nothing.
        return replace(state, status=outcome.status), made
    if outcome.status == "failed" and failure is not None:
        if issubclass(failure.kind, MemoryError) and not issubclass(failure.kind, MemoryBudgetError):
            return replace(state, shrink=True), made
        return replace(state, failure=state.failure or failure), made
    if failure is not None and issubclass(failure.kind, DeadlineError | MessageError):
        made.append(
            Say(f"worker {outcome.rank} gave up after step {max(outcome.step, 0)}: {failure.text}; all begin again there")
        )
    if outcome.status == "aborted" and number == state.formed[0] and all(member in state.workers for member in state.formed):
        state = _counted(state, failure, formations=1)
    return state, made


def _lost(state: State, event: Lost) -> tuple[State, list[Instruction]]:
    workers = dict(state.workers)
    gone = workers.pop(event.number)
    is_first = gone.status == "running" and all(number in state.workers for number in state.formed)
    state = _counted(state, None, formations=is_first, starts=gone.status in ("starting", "taking over"))
    made: list[Instruction] = [Kill(event.number, event.reason)]
    survivors = tuple(number for number in state.formed if number in workers)
    state = replace(state, workers=workers, shrink=state.shrink or event.is_out_of_memory)
    if event.number not in state.formed:
        what = "a spare" if gone.status == "idle" else "a worker that was starting"
        made.append(Say(f"{what} was lost ({event.reason})"))
        return state, made
    rank = state.formed.index(event.number)
    if state.is_running:
        made.append(CallOff(survivors, state.generation))
    made.append(Say(f"worker {rank} of {len(state.formed)} was lost after step {max(state.step, 0)} ({event.reason})"))
    return state, made


def _unfit(state: State, number: int, failure: Exception) -> tuple[State, list[Instruction]]:
    """Ends a run that has not begun; one that has goes on without the worker, whose place stays empty."""
    if not state.generation or len(state.workers) == 1:
        return replace(state, failure=state.failure or failure), []
    workers = {known: member for known, member in state.workers.items() if known != number}
    said = Say(f"a worker was sent away, and its place stays empty: {failure}")
    return replace(state, workers=workers, unfit=state.unfit + 1), [Kill(number, "its bits would differ"), said]


def _counted(state: State, failure: Failure | None, *, formations: int = 0, starts: int = 0) -> State:
    """Counts mishaps; too many without a finished step end the run."""
    if state.step > state.lost_at:
        state = replace(state, failed_formations=0, failed_starts=0)
    formations, starts = state.failed_formations + formations, state.failed_starts + starts
    state = replace(state, failed_formations=formations, failed_starts=starts, lost_at=state.step)
    if formations > BARREN_FORMATIONS or starts > BARREN_STARTS * (state.wanted + state.spares):
        cause = failure or WorkerDiedError(
            f"{formations + starts} times workers died in step {max(state.step, 0) + 1}, one after the other: replacing them "
            "does not help"
        )
        return replace(state, failure=state.failure or cause)
    return state


def _closing(state: State, made: list[Instruction]) -> tuple[State, list[Instruction]]:
    """Waits for the others to end, then is over."""
    running = tuple(
        number for number in state.formed if number in state.workers and state.workers[number].status == "running"
    )
    if not running:
        return replace(state, is_over=True), made
    if state.failure is not None:
        made.append(CallOff(running, state.generation))
    return state, made


def _next(state: State) -> tuple[State, list[Instruction]]:
    """What to do while no formation is at work: hand over, or form the next one, or wait for workers to start."""
    state, made = _staffed(state)
    if any(member.status == "taking over" for member in state.workers.values()):
        return state, made
    idle = [number for number, member in state.workers.items() if member.status == "idle"]
    if not idle or (not state.formed and len(idle) < state.wanted):
        return state, made
    veterans = [number for number in idle if not state.workers[number].is_fresh]
    if state.formed and not veterans:
        made.append(Say("no worker is left that has the state: going on from the newest snapshot"))
        made += [Reload(number) for number in idle]
        for number in idle:
            state = _with(state, number, status="starting", is_fresh=False)
        return state, made
    newest = max(state.workers[number].step for number in veterans or idle)
    # Those that have the newest state first, so that as little as possible is handed over.
    idle.sort(key=lambda number: (number not in veterans, state.workers[number].step != newest, number))
    chosen = idle[: state.wanted]
    takers = tuple(
        number for number in chosen if state.workers[number].step != newest or (veterans and number not in veterans)
    )
    if takers:
        made.append(HandOver(chosen[0], takers))
        for number in takers:
            state = _with(state, number, status="taking over")
        return state, made
    return _formed(state, chosen, made)


def _formed(state: State, chosen: list[int], made: list[Instruction]) -> tuple[State, list[Instruction]]:
    by_node: dict[str, list[int]] = {}
    for number in sorted(chosen):
        ready = state.workers[number].ready
        assert ready is not None
        by_node.setdefault(ready.node, []).append(number)
    ordered = tuple(number for numbers in by_node.values() for number in numbers)
    generation = state.generation + 1
    made.append(Form(generation, ordered, tuple(map(len, by_node.values())), state.shrink))
    if state.formed and len(ordered) != len(state.formed):
        made.append(Say(f"going on with {len(ordered)} worker{'s' if len(ordered) > 1 else ''} after step {state.step}"))
    if state.is_stopping:
        made.append(Interrupt(next(iter(ordered))))
    for number, member in state.workers.items():
        if number in ordered:
            state = _with(state, number, status="running")
        elif not member.is_fresh:
            state = _with(state, number, is_fresh=True)  # the others go on without it: its state will be an old one
    return replace(state, generation=generation, formed=ordered, shrink=False), made


def _staffed(state: State) -> tuple[State, list[Instruction]]:
    """Starts workers until there are as many as wanted, spares included; ends those that are too many."""
    made: list[Instruction] = []
    workers, started = dict(state.workers), state.started
    while len(workers) < max(1, state.wanted + state.spares - state.unfit):
        workers[started] = Member()
        made.append(Start(started))
        started += 1
    surplus = len(workers) - state.wanted - state.spares
    if surplus > 0 and not state.is_running:
        for number in sorted(workers, key=lambda number: (workers[number].is_fresh, number), reverse=True)[:surplus]:
            del workers[number]
            made.append(Kill(number, "fewer workers are wanted"))
    return replace(state, workers=workers, started=started), made


def _with(state: State, number: int, **changes: object) -> State:
    return replace(state, workers={**state.workers, number: replace(state.workers[number], **changes)})
