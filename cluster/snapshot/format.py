"""Makes the bytes of a snapshot (saved training state) from parameters, optimizer state and data order, and back.

A snapshot is one file: a header of 52 bytes (magic, format version, payload length, BLAKE2b digest), then a msgpack
payload, never pickle: a map of ``step``, ``order``, ``random``, ``settings``, ``scores``, ``params`` and ``state``; the
last two are lists of leaves, each a map of ``path``, ``dtype``, ``shape`` and ``data`` (the array's bytes, C order).
"""

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from ...runtime.trees import flatten_with_paths, unflatten
from ..errors import SnapshotError

FORMAT_VERSION = 1
_MAGIC = b"RETAPE\x1aS"
_HEADER = struct.Struct("<8sIQ32s")  # magic, version, payload bytes, digest of version and payload
_NAMED_LEAVES = 4
# What stands before the arrays is small.
_PEEKED_BYTES = 65536


@dataclass(frozen=True)
class Snapshot:
    """Everything that a bit-exact resume needs.

    ``step`` counts finished updates. ``order`` is the data order (``seed``, ``epoch``, ``position``), from
    which the rest of the permutation follows; ``random`` is the random state; ``settings`` holds plain values
    of the run; ``scores`` are the figures of a validation after this very step, if there was one.
    """

    step: int
    params: Any
    state: Any
    order: Mapping[str, int]
    random: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Packed:
    """A snapshot as the bytes of its file: a copy, which the training may go on beside."""

    step: int
    scores: Mapping[str, float]
    payload: memoryview

    def header(self) -> bytes:
        """What stands before the payload. The checksum takes about a second for each GiB."""
        return _HEADER.pack(_MAGIC, FORMAT_VERSION, len(self.payload), digest(FORMAT_VERSION, self.payload))


def pack(snapshot: Snapshot) -> Packed:
    """``snapshot`` as the bytes of its file; takes memory for one copy of its arrays."""
    packer = msgpack.Packer(autoreset=False)
    fields = {
        "step": snapshot.step,
        "order": dict(snapshot.order),
        "random": dict(snapshot.random),
        "settings": dict(snapshot.settings),
        "scores": dict(snapshot.scores),
    }
    packer.pack_map_header(len(fields) + 2)
    for name, value in fields.items():
        packer.pack(name)
        packer.pack(value)
    for name, tree in (("params", snapshot.params), ("state", snapshot.state)):
        packer.pack(name)
        _pack_leaves(packer, tree)
    return Packed(snapshot.step, fields["scores"], memoryview(packer.getbuffer()))


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
        scores=payload.get("scores", {}),
    )


def check_same_run(snapshot: Snapshot, path: str | Path, **wanted: Any) -> None:
    """Raises ``SnapshotError`` that names each of ``wanted`` that the snapshot's settings have with another value."""
    saved = snapshot.settings
    different = [
        f"{name} {saved[name]!r} saved, {here!r} here" for name, here in wanted.items() if saved.get(name, here) != here
    ]
    if different:
        raise SnapshotError(
            f"the snapshot {path} is of another run ({'; '.join(different)}), which cannot be gone on with bit for bit: "
            "resume with the same, or start a run whose init returns the snapshot's parameters"
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
    _, version, payload_bytes, expected_digest = _HEADER.unpack_from(content)
    expected = _HEADER.size + payload_bytes
    payload = memoryview(content)[_HEADER.size :]
    if version > FORMAT_VERSION:
        raise SnapshotError(
            f"the snapshot {path} has format {version}; this retape reads up to {FORMAT_VERSION}: update retape"
        )
    if len(content) < expected:
        raise _cut_short(path, len(content), expected)
    if len(content) > expected or digest(version, payload) != expected_digest:
        raise SnapshotError(
            f"the snapshot {path} was altered: its checksum does not match its {len(content)} bytes; "
            "resume from the one before"
        )
    try:
        fields: dict[str, Any] = msgpack.unpackb(payload, strict_map_key=False)
        _check_fields(fields)
    except Exception as error:
        # The checksum is good, so another program made it: msgpack has errors of many kinds for that.
        raise SnapshotError(f"{path} holds something else than a snapshot: {type(error).__name__}: {error}") from error
    return fields


def _check_fields(fields: dict[str, Any]) -> None:
    """Raises ``TypeError``, ``KeyError`` or ``ValueError`` unless ``fields`` are what ``pack`` writes."""
    if not isinstance(fields["step"], int):
        raise TypeError(f"the step is {fields['step']!r}")
    for name in ("order", "random", "settings"):
        if not isinstance(fields[name], dict):
            raise TypeError(f"{name} is no map")
    for leaf in (*fields["params"], *fields["state"]):
        dtype = np.dtype(leaf["dtype"])
        if dtype.hasobject or not isinstance(leaf["path"], str) or not isinstance(leaf["data"], bytes):
            raise TypeError(f"the leaf {leaf['path']!r} is no array of numbers")
        if dtype.itemsize * math.prod(leaf["shape"]) != len(leaf["data"]):
            raise ValueError(f"the leaf {leaf['path']!r} has {len(leaf['data'])} bytes for {leaf['dtype']}{leaf['shape']}")


def peek_scores(path: Path) -> Mapping[str, float]:
    """The scores of a snapshot file from its first bytes, with no check of the rest; none where they cannot be read."""
    unpacker = msgpack.Unpacker(strict_map_key=False)
    try:
        with open(path, "rb") as file:
            file.seek(_HEADER.size)
            unpacker.feed(file.read(_PEEKED_BYTES))
        for _ in range(unpacker.read_map_header()):
            name, value = unpacker.unpack(), unpacker.unpack()
            if name == "scores":
                return {key: float(score) for key, score in value.items()}
    except (OSError, ValueError, TypeError, AttributeError, msgpack.UnpackException):
        return {}
    return {}


def digest(version: int, payload: bytes | memoryview) -> bytes:
    """The checksum in the header: BLAKE2b with 32 bytes, of the version and the payload."""
    made = hashlib.blake2b(struct.pack("<I", version), digest_size=32)
    made.update(payload)
    return made.digest()


def _pack_leaves(packer: msgpack.Packer, tree: Any) -> None:
    paths, leaves, _ = flatten_with_paths(tree)
    packer.pack_array_header(len(leaves))
    for path, leaf in zip(paths, leaves, strict=True):
        array = np.asarray(leaf)
        packer.pack_map_header(4)
        for name, value in (("path", path), ("dtype", array.dtype.str), ("shape", list(array.shape))):
            packer.pack(name)
            packer.pack(value)
        packer.pack("data")
        packer.pack(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


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


def _cut_short(path: Path, found: int, expected: int) -> SnapshotError:
    return SnapshotError(f"the snapshot {path} is cut short: {found} of {expected} bytes; resume from the one before")
