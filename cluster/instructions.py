"""Makes the words between the supervisor and the crew, plain data: what happened to workers, and what is to be done."""

from dataclasses import dataclass

from .job import Outcome, Ready


@dataclass(frozen=True)
class Prepared:
    """A worker has its training state."""

    number: int
    ready: Ready


@dataclass(frozen=True)
class Lost:
    """A worker died, fell silent, or could not start."""

    number: int
    reason: str
    is_out_of_memory: bool = False


@dataclass(frozen=True)
class Ended:
    """A worker's part in a formation ended."""

    number: int
    outcome: Outcome


@dataclass(frozen=True)
class TookOver:
    """A worker has another one's state now."""

    number: int
    step: int


@dataclass(frozen=True)
class NotTaken:
    """A worker did not get the other one's state: that one is gone."""

    number: int


@dataclass(frozen=True)
class Refused:
    """A call on a worker raised an exception."""

    number: int
    failure: Exception


@dataclass(frozen=True)
class Unfit:
    """A worker would not compute the same bits as the others."""

    number: int
    failure: Exception


@dataclass(frozen=True)
class Seen:
    """A worker gave a sign of life, and the step that it has finished."""

    number: int
    step: int


@dataclass(frozen=True)
class Resize:
    """Another number of workers is wanted."""

    wanted: int


@dataclass(frozen=True)
class Stop:
    """The run is to end after the step in progress, with a snapshot."""


Event = Prepared | Lost | Ended | TookOver | NotTaken | Refused | Unfit | Seen | Resize | Stop


@dataclass(frozen=True)
class Start:
    """Start a worker and prepare it."""

    number: int


@dataclass(frozen=True)
class Reload:
    """Prepare a worker again, from the newest snapshot."""

    number: int


@dataclass(frozen=True)
class Kill:
    """End a worker's process; why it is lost."""

    number: int
    reason: str


@dataclass(frozen=True)
class CallOff:
    """Tell workers that the formations up to a generation are over."""

    numbers: tuple[int, ...]
    generation: int


@dataclass(frozen=True)
class Regroup:
    """Ask a worker to end its formation after the step in progress."""

    number: int


@dataclass(frozen=True)
class Interrupt:
    """Ask a worker to end the run after the step in progress, with a snapshot."""

    number: int


@dataclass(frozen=True)
class HandOver:
    """Give one worker's state to others."""

    giver: int
    takers: tuple[int, ...]


@dataclass(frozen=True)
class Form:
    """Let workers train together; they are named rank by rank, those of a node next to one another.

    ``nodes`` holds how many there are on each node. With ``shrink``, they take smaller microbatches than before.
    """

    generation: int
    numbers: tuple[int, ...]
    nodes: tuple[int, ...]
    shrink: bool = False


@dataclass(frozen=True)
class Say:
    """Tell the user."""

    sentence: str


Instruction = Start | Reload | Kill | CallOff | Regroup | Interrupt | HandOver | Form | Say
