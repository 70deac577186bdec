"""Makes the bytes of a snapshot (saved training state) from parameters, optimizer state and data order, and fields of them.

A snapshot is a file, and parts beside it where it is big. Each begins with a header of 52 bytes (magic, format version,
payload length, BLAKE2b digest). The payload of a part is bytes of leaves; that of the file is msgpack, never pickle: a map
of ``step``, ``order``, ``random``, ``settings``, ``scores``, ``parts``, ``params`` and ``state``. The last two are lists of
leaves, each a map of ``path``, ``dtype``, ``shape`` and, unless it is in the parts, ``data`` (its bytes in C order).
"""

import hashlib
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np

from ...runtime.trees import flatten_with_paths
from ..errors import SnapshotError
from .places import Piece, Place
from .shares import Extent, Share, gaps, parts_of

FORMAT_VERSION = 2
HEADER = struct.Struct("<8sIQ32s")  # magic, version, payload bytes, digest of version and payload
_MAGIC, _PART_MAGIC = b"RETAPE\x1aS", b"RETAPE\x1aP"
# A snapshot in one file is what format 1 was: an older retape reads it.
_ONE_FILE_VERSION = 1
# What stands before the arrays is small.
_PEEKED_BYTES = 65536
_PART_NAME = re.compile(r"step-\d{9}-\w+-\d{4}-\d{4}\.part")


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
class Part:
    """A part of a snapshot; ``payload`` is ``None`` where another worker has it."""

    name: str
    extents: tuple[Extent, ...]
    payload: memoryview | None

    @property
    def payload_bytes(self) -> int:
        """The length of the payload."""
        return sum(extent.stop - extent.start for extent in self.extents)

    def pieces(self) -> tuple[Piece, ...]:
        """The content of the file. Its checksum takes about a second for each GiB."""
        assert self.payload is not None
        return (_header(_PART_MAGIC, FORMAT_VERSION, [self.payload]), self.payload)


@dataclass(frozen=True)
class Packed:
    """One worker's share of a snapshot as bytes: a copy, which the training may go on beside.

    ``parts`` are its own; in the first worker's share, those of all.
    """

    share: Share
    fields: Mapping[str, Any]
    parts: tuple[Part, ...]
    leaves: memoryview

    @property
    def step(self) -> int:
        """The finished updates."""
        return self.fields["step"]

    @property
    def size_bytes(self) -> int:
        """The memory that the copy takes."""
        return len(self.leaves) + sum(len(part.payload) for part in self.parts if part.payload is not None)

    def manifest(self, digests: Mapping[str, bytes]) -> tuple[Piece, ...]:
        """The content of the snapshot's own file; ``digests`` are those of the parts by name."""
        packer = msgpack.Packer(autoreset=False)
        fields = dict(self.fields)
        if self.parts:
            fields["parts"] = [
                {
                    "name": part.name,
                    "bytes": part.payload_bytes,
                    "digest": digests[part.name],
                    "extents": [[extent.leaf, extent.start, extent.stop] for extent in part.extents],
                }
                for part in self.parts
            ]
        packer.pack_map_header(len(fields) + 2)
        for name, value in fields.items():
            packer.pack(name)
            packer.pack(value)
        pieces = [packer.bytes(), self.leaves]
        version = FORMAT_VERSION if self.parts else _ONE_FILE_VERSION
        return (_header(_MAGIC, version, pieces), *pieces)


def pack(snapshot: Snapshot, share: Share | None = None) -> Packed:
    """What the worker of ``share`` (else one for all) writes of ``snapshot``; takes memory for one copy of that."""
    share = share or Share()
    trees = [flatten_with_paths(tree)[:2] for tree in (snapshot.params, snapshot.state)]
    arrays = [_as_bytes(leaf) for _, leaves in trees for leaf in leaves]
    sizes = [array.nbytes for array in arrays]
    mine = parts_of(sizes, share.rank, share.world)
    parts = []
    for rank in range(share.world) if share.rank == 0 else (share.rank,):
        for number, extents in enumerate(mine if rank == share.rank else parts_of(sizes, rank, share.world)):
            payload = _gathered(arrays, extents) if rank == share.rank else None
            parts.append(Part(share.part_name(snapshot.step, rank, number), extents, payload))
    is_one_file = not parts and share.rank == 0
    packer = msgpack.Packer(autoreset=False)
    for name, (paths, leaves) in zip(("params", "state"), trees, strict=True):
        packer.pack(name)
        packer.pack_array_header(len(leaves))
        for path, leaf in zip(paths, leaves, strict=True):
            array = np.asarray(leaf)
            described = {"path": path, "dtype": array.dtype.str, "shape": list(array.shape)}
            packer.pack_map_header(len(described) + is_one_file)
            for key, value in described.items():
                packer.pack(key)
                packer.pack(value)
            if is_one_file:
                packer.pack("data")
                packer.pack(_as_bytes(leaf).data)
    fields = {
        "step": snapshot.step,
        "order": dict(snapshot.order),
        "random": dict(snapshot.random),
        "settings": dict(snapshot.settings),
        "scores": dict(snapshot.scores),
    }
    return Packed(share, fields, tuple(parts), memoryview(packer.getbuffer()))


def decode(content: bytes, file: object) -> dict[str, Any]:
    """The checked fields of a snapshot's own file. Raises ``SnapshotError`` for anything that is not what ``pack`` makes."""
    payload = _payload(content, file, _MAGIC, "snapshot")
    try:
        fields: dict[str, Any] = msgpack.unpackb(payload, strict_map_key=False)
        _check_fields(fields)
    except Exception as error:
        # The checksum is good, so another program made it: msgpack has errors of many kinds for that.
        raise SnapshotError(f"{file} holds something else than a snapshot: {type(error).__name__}: {error}") from error
    return fields


def part_payload(content: bytes, file: object, expected: Mapping[str, Any]) -> memoryview:
    """The checked payload of a part that the snapshot's own file describes as ``expected``. Raises ``SnapshotError``."""
    payload = _payload(content, file, _PART_MAGIC, "part of a snapshot")
    if len(payload) != expected["bytes"] or part_digest(content) != expected["digest"]:
        raise SnapshotError(f"{file} is a part of another snapshot; resume from the one before")
    return payload


def part_digest(head: bytes) -> bytes:
    """The digest in the header of a part. Raises ``SnapshotError`` for anything else."""
    if len(head) < HEADER.size or not head.startswith(_PART_MAGIC):
        raise SnapshotError("it is no part of a snapshot")
    return HEADER.unpack_from(head)[3]


def peek(place: Place, name: str) -> Mapping[str, Any]:
    """The step and scores of a snapshot from the first bytes of its file, with no check; none where they cannot be read."""
    found: dict[str, Any] = {}
    unpacker = msgpack.Unpacker(strict_map_key=False)
    try:
        unpacker.feed(place.read(name, HEADER.size + _PEEKED_BYTES)[HEADER.size :])
        for _ in range(unpacker.read_map_header()):
            key, value = unpacker.unpack(), unpacker.unpack()
            if key == "step":
                found["step"] = int(value)
            if key == "scores":
                found["scores"] = {name: float(score) for name, score in value.items()}
                break
    except (OSError, SnapshotError, ValueError, TypeError, AttributeError, msgpack.UnpackException):
        return {}
    return found


def digest(version: int, *pieces: Piece) -> bytes:
    """The checksum in a header: BLAKE2b with 32 bytes, of the version and the payload."""
    made = hashlib.blake2b(struct.pack("<I", version), digest_size=32)
    for piece in pieces:
        made.update(piece)
    return made.digest()


def _header(magic: bytes, version: int, pieces: Sequence[Piece]) -> bytes:
    return HEADER.pack(magic, version, sum(map(len, pieces)), digest(version, *pieces))


def _payload(content: bytes, file: object, magic: bytes, what: str) -> memoryview:
    if not content.startswith(magic[: len(content)]) or not content:
        raise SnapshotError(f"{file} is not a retape {what} (its first bytes are {content[:8]!r})")
    if len(content) < HEADER.size:
        raise _cut_short(file, len(content), HEADER.size)
    _, version, payload_bytes, expected_digest = HEADER.unpack_from(content)
    expected = HEADER.size + payload_bytes
    payload = memoryview(content)[HEADER.size :]
    if version > FORMAT_VERSION:
        raise SnapshotError(
            f"the snapshot {file} has format {version}; this retape reads up to {FORMAT_VERSION}: update retape"
        )
    if len(content) < expected:
        raise _cut_short(file, len(content), expected)
    if len(content) > expected or digest(version, payload) != expected_digest:
        raise SnapshotError(
            f"the snapshot {file} was altered: its checksum does not match its {len(content)} bytes; "
            "resume from the one before"
        )
    return payload


def _check_fields(fields: dict[str, Any]) -> None:
    """Raises ``TypeError``, ``KeyError`` or ``ValueError`` unless ``fields`` are what ``pack`` makes."""
    if not isinstance(fields["step"], int):
        raise TypeError(f"the step is {fields['step']!r}")
    for name in ("order", "random", "settings"):
        if not isinstance(fields[name], dict):
            raise TypeError(f"{name} is no map")
    sizes = []
    for leaf in (*fields["params"], *fields["state"]):
        dtype, data = np.dtype(leaf["dtype"]), leaf.get("data")
        size = dtype.itemsize * math.prod(leaf["shape"])
        if dtype.hasobject or not isinstance(leaf["path"], str) or size < 0 or not isinstance(data, bytes | None):
            raise TypeError(f"the leaf {leaf['path']!r} is no array of numbers")
        if data is not None and size != len(data):
            raise ValueError(f"the leaf {leaf['path']!r} has {len(data)} bytes for {leaf['dtype']}{leaf['shape']}")
        sizes.append(size if data is None else 0)
    extents = []
    for part in fields.get("parts", ()):
        found = [Extent(*extent) for extent in part["extents"]]
        if not _PART_NAME.fullmatch(part["name"]) or sum(e.stop - e.start for e in found) != part["bytes"]:
            raise ValueError(f"the part {part['name']!r} is none")
        extents += found
    if wrong := gaps(sizes, extents):
        raise ValueError(f"the bytes of leaf {wrong[0]} are not there exactly once")


def _as_bytes(leaf: Any) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(leaf)).reshape(-1).view(np.uint8)


def _gathered(arrays: Sequence[np.ndarray], extents: Sequence[Extent]) -> memoryview:
    """A copy of the extents, one after the other."""
    made = np.empty(sum(extent.stop - extent.start for extent in extents), np.uint8)
    at = 0
    for extent in extents:
        made[at : at + extent.stop - extent.start] = arrays[extent.leaf][extent.start : extent.stop]
        at += extent.stop - extent.start
    return made.data


def _cut_short(file: object, found: int, expected: int) -> SnapshotError:
    return SnapshotError(f"the snapshot {file} is cut short: {found} of {expected} bytes; resume from the one before")
