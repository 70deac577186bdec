"""Makes the errors of a run: each says what happened, the numbers, and the nearest cure."""

from collections.abc import Iterator
from contextlib import contextmanager


class RunError(RuntimeError):
    """A run could not start or go on; every error of this floor that a user can cure is one of these."""


class ConfigError(RunError, ValueError):
    """A setting is unreadable, unknown, or contradicts another one."""


class DataError(RunError):
    """The data is missing, empty, or too small for one step."""


class ClusterSizeError(RunError):
    """More workers were asked for than the cluster can start."""


class SnapshotError(RunError):
    """A snapshot is cut short, altered, of a newer format, or belongs to another model."""


class NonFiniteLossError(RunError, ArithmeticError):
    """The loss or its gradient became NaN or infinite; the parameters of the step before are kept."""


class ReplicaMismatchError(RunError):
    """The workers' parameters are no longer the same bits."""


class WorkerDiedError(RunError):
    """A worker process ended in the middle of the run."""


class DeadlineError(RunError, TimeoutError):
    """A worker waited for the others longer than the deadline."""


class AbortedError(RunError):
    """Another worker failed first, so this one gave up its wait."""


class MessageError(RunError):
    """A message between nodes was forged, damaged, cut short, or came from another formation of workers."""


class MismatchError(RunError):
    """The workers would not compute the same bits: their code, NumPy, BLAS or arithmetic differ."""


@contextmanager
def no_exit() -> Iterator[None]:
    """Has what would end a worker's process, ``sys.exit()`` in a loss for example, be an error that ends the run.

    A worker that is gone would be replaced, and its replacement would go the same way.
    """
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        raise RunError(
            f"a function of the job raised {error!r}, which would end its worker: raise an error to end the run, "
            "or stop its driver"
        ) from error
