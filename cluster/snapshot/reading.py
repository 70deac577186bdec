"""Makes training state from the files of a snapshot, each byte checked before it is used."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...runtime.trees import flatten_with_paths, unflatten
from ..errors import SnapshotError
from .format import Snapshot, decode, part_payload
from .places import Place, Where, place_of
from .shares import Extent

_NAMED_LEAVES = 4


def load(file: Where, *, params_like: Any, state_like: Any) -> Snapshot:
    """Reads a snapshot back into the shape of ``params_like`` and ``state_like`` (trees of arrays, as
    ``init`` makes). ``file`` is a path or a URL.

    Raises ``SnapshotError`` when a file is missing, cut short, altered, of a newer format, or when the
    leaves' paths, shapes or dtypes differ from the trees given (the text names them).
    """
    fields = read(file)
    return Snapshot(
        step=fields["step"],
        params=_restore(fields["params"], params_like, "parameter", file),
        state=_restore(fields["state"], state_like, "optimizer state", file),
        order=fields["order"],
        random=fields["random"],
        settings=fields["settings"],
        scores=fields.get("scores", {}),
    )


def read(file: Where) -> dict[str, Any]:
    """The checked fields of a snapshot: step, order, random, settings, and the leaves with their ``data``.

    Raises ``SnapshotError`` as :func:`load` does, but compares with no model.
    """
    place, name = place_of(file)
    fields = decode(_content(place, name), file)
    leaves = [*fields["params"], *fields["state"]]
    places: dict[int, np.ndarray] = {}
    for number, leaf in enumerate(leaves):
        if "data" not in leaf:
            try:
                places[number] = np.empty(leaf["shape"], leaf["dtype"]).reshape(-1).view(np.uint8)
            except (MemoryError, ValueError) as error:
                raise SnapshotError(f"there is no room for the leaf {leaf['path']!r} of {file}: {error}") from error
            leaf["data"] = places[number].data
    for extents, payload in _parts(place, fields):
        at = 0
        for extent in extents:
            size = extent.stop - extent.start
            places[extent.leaf][extent.start : extent.stop] = np.frombuffer(payload, np.uint8, size, at)
            at += size
    return fields


def settings(file: Where) -> dict[str, Any]:
    """What a snapshot says of its run. Raises ``SnapshotError`` as :func:`read` does, but looks at its first file only."""
    place, name = place_of(file)
    return decode(_content(place, name), file)["settings"]


def verify(file: Where) -> None:
    """Raises ``SnapshotError`` as :func:`read` does, with one file at a time in memory."""
    place, name = place_of(file)
    for _ in _parts(place, decode(_content(place, name), file)):
        pass


def check_same_run(snapshot: Snapshot, file: Where, **wanted: Any) -> None:
    """Raises ``SnapshotError`` that names each of ``wanted`` that the snapshot's settings have with another value."""
    saved = snapshot.settings
    different = [
        f"{name} {saved[name]!r} saved, {here!r} here" for name, here in wanted.items() if saved.get(name, here) != here
    ]
    if different:
        raise SnapshotError(
            f"the snapshot {file} is of another run ({'; '.join(different)}), which cannot be gone on with bit for bit: "
            "resume with the same, or start a run whose init returns the snapshot's parameters"
        )


def _parts(place: Place, fields: dict[str, Any]) -> Iterator[tuple[list[Extent], memoryview]]:
    """Each part's extents and checked payload."""
    for part in fields.get("parts", ()):
        content = _content(place, part["name"])
        yield [Extent(*extent) for extent in part["extents"]], part_payload(content, place.file(part["name"]), part)


def _content(place: Place, name: str) -> bytes:
    try:
        return place.read(name)
    except FileNotFoundError as error:
        raise SnapshotError(f"the snapshot {place.file(name)} cannot be read: there is no such file") from error


def _restore(packed: list[dict[str, Any]], like: Any, what: str, file: Where) -> Any:
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
            f"the snapshot {file} is of another model; {len(differences)} {what} leaves differ: "
            + "; ".join(differences[:_NAMED_LEAVES])
            + (f"; and {more} more" if more > 0 else "")
        )
    arrays = [np.frombuffer(saved[name]["data"], saved[name]["dtype"]).reshape(saved[name]["shape"]) for name in paths]
    # Bytes objects are read-only, and the update writes in place; what came in parts is an array of its own already.
    return unflatten(treedef, [array if array.flags.writeable else array.copy() for array in arrays])
