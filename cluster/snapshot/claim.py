"""Makes a claim of one job on the place of its snapshots, from a file there that says whose it is."""

import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import ConfigError, SnapshotError
from ..processes import Process, own_process
from .places import Place, Where, open_place

CLAIM_NAME = "job.json"
_IDENTITY_NAME = ".job"


@contextmanager
def claimed(where: Where, out: Path) -> Iterator[None]:
    """Claims the folder or URL ``where`` for the job that trains into the folder ``out``, until the end of the block.

    An object store knows no locks, so a job that was killed leaves its claim behind. It is taken over by whoever trains into
    the same ``out``, which is held by one job at a time, and on the same machine by any job. Raises ``ConfigError`` when the
    claim is another job's, and ``SnapshotError`` when the place cannot be read or written.
    """
    place, process = open_place(where), own_process()
    mine = {
        "job": _identity(out),
        "out": str(out),
        "pid": process.number,
        "born": process.born,
        "host": socket.gethostname(),
    }
    other = _read(place)
    if other is not None and other["job"] != mine["job"] and not _is_gone(other):
        raise ConfigError(
            f"the snapshots at {where} are those of another job (process {other['pid']} on {other['host']}, which trains "
            f"into {other['out']}): give this one another place (snapshots_at, --snapshots-at), or, if that job is surely "
            f"over, remove {place.file(CLAIM_NAME)}"
        )
    place.write(CLAIM_NAME, [json.dumps(mine).encode()])
    try:
        yield
    finally:
        with suppress(SnapshotError):
            place.remove(CLAIM_NAME)


def _identity(out: Path) -> str:
    """A word that is in the folder itself, for folders of two machines may have one name."""
    path = out / _IDENTITY_NAME
    with suppress(FileNotFoundError):
        return path.read_text(encoding="ascii")
    temporary = path.with_name(f"{_IDENTITY_NAME}.partial")
    temporary.write_text(secrets.token_hex(16), encoding="ascii")
    os.replace(temporary, path)
    return path.read_text(encoding="ascii")


def _read(place: Place) -> dict[str, Any] | None:
    try:
        return json.loads(place.read(CLAIM_NAME))
    except FileNotFoundError:
        return None


def _is_gone(other: dict[str, Any]) -> bool:
    return other["host"] == socket.gethostname() and not Process(other["pid"], other["born"]).is_alive
