"""Makes saved training state (a snapshot) from a step's parameters, optimizer state and data order, and reads
it back.

A snapshot is one file: a header of 52 bytes (magic, format version, payload length, BLAKE2b digest), then a
msgpack payload, never pickle. It is written to a temporary file in the same folder, flushed to the disk and
renamed, so that a process killed at any moment leaves the snapshots before it whole.
"""

import hashlib
import os
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from ..runtime.trees import flatten_with_paths, unflatten
from .errors import SnapshotError

FORMAT_VERSION = 1
_MAGIC = b"RETAPE\x1aS"
_HEADER = struct.Struct("<8sIQ32s")  # magic, version, payload bytes, digest of version and payload
_NAME = re.compile(r"step-(\d{9})\.snapshot")
_NAMED_LEAVES = 4


@dataclass(frozen=True)
class Snapshot:
    """Everything that a bit-exact resume needs.

    ``step`` counts finished updates. ``order`` is the data order (``seed``, ``epoch``, ``position``), from
    which the rest of the permutation follows; ``random`` is the random state; ``settings`` holds plain values
    of the run.
    """

    step: int
    params: Any
    state: Any
    order: Mapping[str, int]
    random: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def save(folder: str | Path, snapshot: Snapshot, *, keep: int = 3) -> Path:
    """Writes ``snapshot`` into ``folder`` and removes all but the last ``keep``; returns the file's path.

    The file appears whole or not at all. Raises ``SnapshotError`` when the folder cannot be written or the
    disk is full, and ``ValueError`` unless ``keep >= 1``.
    """
    if keep < 1:
        raise ValueError(f"keep is {keep}; at least 1 snapshot must be kept")
    folder = Path(folder)
    path = folder / f"step-{snapshot.step:09d}.snapshot"
    temporary = folder / f".{path.name}.{os.getpid()}.partial"
    payload = _pack(snapshot)
    header = _HEADER.pack(_MAGIC, FORMAT_VERSION, len(payload), _digest(FORMAT_VERSION, payload))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(header)
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(folder)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise SnapshotError(
            f"the snapshot of step {snapshot.step} ({len(header) + len(payload)} bytes) could not be "
            "written to "
            f"{folder}: {error.strerror or error}; earlier snapshots are untouched"
        ) from error
    for old in _files(folder)[:-keep]:
        old.unlink(missing_ok=True)
    for leftover in folder.glob(".step-*.snapshot.*.partial"):
        leftover.unlink(missing_ok=True)
    return path


def load(path: str | Path, *, params_like: Any, state_like: Any) -> Snapshot:
    """Reads a snapshot back into the shape of ``params_like`` and ``state_like`` (trees of arrays, as
    ``init`` makes).

    Raises ``SnapshotError`` when the file is missing, cut short, altered, of a newer format, or when its
    leaves' paths, shapes or dtypes differ from the trees given (the text names them).
    """
    payload = read(path)
    return Snapshot(
        step=payload["step"],
        params=_restore(payload["params"], params_like, "parameter", path),
        state=_restore(payload["state"], state_like, "optimizer state", path),
        order=payload["order"],
        random=payload["random"],
        settings=payload["settings"],
    )


def read(path: str | Path) -> dict[str, Any]:
    """The checked payload of a snapshot file: step, order, random, settings, and the packed leaves.

    Raises ``SnapshotError`` as :func:`load` does, but compares with no model.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SnapshotError(f"the snapshot {path} cannot be read: {error.strerror or error}") from error
    if not content.startswith(_MAGIC[: len(content)]) or not content:
        raise SnapshotError(f"{path} is not a retape snapshot (its first bytes are {content[:8]!r})")
    if len(content) < _HEADER.size:
        raise _cut_short(path, len(content), _HEADER.size)
    _, version, payload_bytes, digest = _HEADER.unpack_from(content)
    expected = _HEADER.size + payload_bytes
    payload = memoryview(content)[_HEADER.size :]
    if version > FORMAT_VERSION:
        raise SnapshotError(
            f"the snapshot {path} has format {version}; this retape reads up to {FORMAT_VERSION}: update retape"
        )
    if len(content) < expected:
        raise _cut_short(path, len(content), expected)
    if len(content) > expected or _digest(version, payload) != digest:
        raise SnapshotError(
            f"the snapshot {path} was altered: its checksum does not match its {len(content)} bytes; "
            "resume from the one before"
        )
    return msgpack.unpackb(payload, strict_map_key=False)


def latest(folder: str | Path) -> tuple[Path, list[SnapshotError]]:
    """The newest good snapshot in ``folder``, and an error for each newer one that is damaged.

    Half-written temporary files are removed. Raises ``SnapshotError`` when there is no good one.
    """
    folder = Path(folder)
    damaged: list[SnapshotError] = []
    for leftover in folder.glob(".step-*.snapshot.*.partial"):
        leftover.unlink(missing_ok=True)
    for path in reversed(_files(folder)):
        try:
            read(path)
        except SnapshotError as error:
            damaged.append(error)
        else:
            return path, damaged
    if damaged:
        raise SnapshotError(f"no good snapshot in {folder}: " + "; ".join(map(str, damaged)))
    raise SnapshotError(f"there is no snapshot in {folder}; start without resuming, or name another folder")


def _pack(snapshot: Snapshot) -> bytes:
    fields = {
        "step": snapshot.step,
        "order": dict(snapshot.order),
        "random": dict(snapshot.random),
        "settings": dict(snapshot.settings),
        "params": _leaves(snapshot.params),
        "state": _leaves(snapshot.state),
    }
    packed: bytes = msgpack.Packer().pack(fields)
    return packed


def _leaves(tree: Any) -> list[dict[str, Any]]:
    paths, leaves, _ = flatten_with_paths(tree)
    arrays = [np.asarray(leaf) for leaf in leaves]
    return [
        {"path": path, "dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes()}
        for path, array in zip(paths, arrays, strict=True)
    ]


def _restore(packed: list[dict[str, Any]], like: Any, what: str, path: str | Path) -> Any:
    paths, leaves, treedef = flatten_with_paths(like)
    saved = {leaf["path"]: leaf for leaf in packed}
    wanted = dict(zip(paths, map(np.asarray, leaves), strict=True))
    differences = [f"{name}: not in this model" for name in saved if name not in wanted]
    differences += [f"{name}: not in the snapshot" for name in wanted if name not in saved]
    for name in wanted:
        if name in saved:
            here = (wanted[name].shape, wanted[name].dtype.str)
            there = (tuple(saved[name]["shape"]), saved[name]["dtype"])
            if here != there:
                differences.append(f"{name}: {there[1]}{list(there[0])} saved, {here[1]}{list(here[0])} here")
    if differences:
        more = len(differences) - _NAMED_LEAVES
        raise SnapshotError(
            f"the snapshot {path} is of another model; {len(differences)} {what} leaves differ: "
            + "; ".join(differences[:_NAMED_LEAVES])
            + (f"; and {more} more" if more > 0 else "")
        )
    arrays = [np.frombuffer(saved[name]["data"], saved[name]["dtype"]).reshape(saved[name]["shape"]).copy() for name in paths]
    return unflatten(treedef, arrays)


def _digest(version: int, payload: bytes | memoryview) -> bytes:
    digest = hashlib.blake2b(struct.pack("<I", version), digest_size=32)
    digest.update(payload)
    return digest.digest()


def _files(folder: Path) -> list[Path]:
    """The snapshots in ``folder``, oldest first."""
    return sorted(path for path in folder.glob("step-*.snapshot") if _NAME.fullmatch(path.name))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cut_short(path: Path, found: int, expected: int) -> SnapshotError:
    return SnapshotError(f"the snapshot {path} is cut short: {found} of {expected} bytes; resume from the one before")
