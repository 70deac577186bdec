"""Makes temporary folders that are gone with their process: it removes them, or where it was killed, the next one does.

Standard library only, for ``train.py`` needs it before the package can be imported.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX, _OWNED = "retape-", "owned"


@contextmanager
def scratch_folder(kind: str = "") -> Iterator[Path]:
    """A new folder below the system's temporary one, removed in the end; those of processes that were killed go first.

    Its owner holds a lock on a file in it, which the system gives up with the process, in whatever container that was.
    ``kind`` goes into its name.

    >>> with scratch_folder("example-") as folder:
    ...     folder.is_dir()
    True
    >>> folder.exists()
    False
    """
    remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX + kind))
    descriptor = os.open(folder / "new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.rename(folder / "new", folder / _OWNED)  # whoever sees it sees it locked
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_abandoned() -> None:
    """Removes the folders whose owner is no more. Those of other users stay, and so does what cannot be removed."""
    for owned in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_OWNED}"):
        with suppress(OSError):
            descriptor = os.open(owned, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(owned.parent, ignore_errors=True)
            finally:
                os.close(descriptor)
