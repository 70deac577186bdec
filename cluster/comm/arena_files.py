"""Makes the files of arenas: their names, whose they are, and an end of those whose owner is gone.

The first rank of a node makes a formation's file, and unlinks it once all have opened it. Where it is killed before, and the
driver with it, which would remove the file, the next formation on the machine does: whoever makes a file owns a lock on it,
which the system gives up with the last mapping of the process, in whatever container that was.
"""

import fcntl
import os
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

# How much of a job's token a file's name shows.
_SHOWN = 12
_ANY = f"retape-{'[0-9a-f]' * _SHOWN}-[0-9]*-[0-9]*"
# A lock of the open file (Linux), for which forks, threads and `flock`, which orders memory elsewhere, are no matter.
_WHOLE_FILE = struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_TRY: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_WAIT: int | None = getattr(fcntl, "F_OFD_SETLKW", None)


def arena_path(token: str, node: int = 0, generation: int = 0) -> Path:
    """The file name for a formation's arena on a node: in ``/dev/shm`` where there is one, else in the temporary folder.

    Only the beginning of the job's secret token is in it.
    """
    return _folder() / f"retape-{token[:_SHOWN]}-{node}-{generation}"


def create(path: Path) -> int:
    """A new, empty file that this process owns as long as it has it open or mapped; returns its descriptor."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    if _WAIT is not None:
        with suppress(OSError):  # a file system without locks: nobody else can have one then, and the file stays
            fcntl.fcntl(descriptor, _WAIT, _WHOLE_FILE)
    return descriptor


def remove_arenas(token: str, before: int | None = None) -> None:
    """Removes the files of a job's arenas from this machine: those of formations whose first rank died before all had met.

    With ``before``, only those of generations before that.
    """
    for path in _folder().glob(f"retape-{token[:_SHOWN]}-*"):
        if before is None or int(path.name.rpartition("-")[2]) < before:
            path.unlink(missing_ok=True)


def remove_abandoned() -> None:
    """Removes the files of all jobs whose owner is no more. Those of other users stay, and so does what cannot be removed."""
    if _TRY is None:
        return
    for path in _folder().glob(_ANY):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.fcntl(descriptor, _TRY, _WHOLE_FILE)
                if os.fstat(descriptor).st_size:  # one that is empty may have been made just now, and be locked next
                    path.unlink()
            finally:
                os.close(descriptor)


def _folder() -> Path:
    shared_memory = Path("/dev/shm")
    return shared_memory if os.access(shared_memory, os.W_OK) else Path(tempfile.gettempdir())
