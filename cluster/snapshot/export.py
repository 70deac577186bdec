"""Makes files that other programs read from the parameters of a snapshot."""

import os
import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from ..errors import ConfigError, SnapshotError
from .places import Where
from .reading import read

_STEP = re.compile(r"\['([^']*)'\]|\[(-?\d+)\]|\.(\w+)")


def export_parameters(snapshot: Where, target: str | Path) -> dict[str, np.ndarray]:
    """Writes the parameters of a snapshot file to ``target``, an ``.npz`` or ``.safetensors`` file; returns them by name.

    A name is the leaf's path with dots: ``layers.0.weight``. No model is needed. The file appears whole or not at all.
    Raises ``SnapshotError`` for a damaged snapshot, a target that cannot be written, or leaves whose names fall together,
    and ``ConfigError`` for another kind of file.
    """
    target = Path(target)
    if target.suffix not in (".npz", ".safetensors"):
        raise ConfigError(f"parameters are exported to .npz or .safetensors files, not to {target.name!r}")
    arrays: dict[str, np.ndarray] = {}
    for leaf in read(snapshot)["params"]:
        name = _dotted(leaf["path"])
        if name in arrays:
            raise SnapshotError(f"two parameters of {snapshot} would both be named {name!r} in {target.name}: rename one")
        arrays[name] = np.frombuffer(leaf["data"], leaf["dtype"]).reshape(leaf["shape"])
    temporary = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "wb") as file:
            if target.suffix == ".npz":
                np.savez(file, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
            else:
                file.write(_safetensors(arrays))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise SnapshotError(f"the parameters could not be written to {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return arrays


def _dotted(path: str) -> str:
    """``layers.0.weight`` for ``['layers'][0].weight``; a path of other things than names and numbers stays as it is."""
    steps = _STEP.findall(path)
    return ".".join("".join(step) for step in steps) if steps and _STEP.sub("", path) == "" else path or "params"


def _safetensors(arrays: dict[str, np.ndarray]) -> bytes:
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ConfigError("a .safetensors file takes the safetensors package: pip install 'retape[safetensors]'") from error
    made: bytes = save(arrays)
    return made
