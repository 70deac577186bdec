"""Makes a description of what decides a worker's bits: its code, its libraries, the results of its arithmetic, and what
``init`` made there."""

import hashlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.trees import flatten_with_paths
from .errors import MismatchError


def fingerprint() -> dict[str, str]:
    """Versions by name, digests of retape's source and of the modules that the user's code has imported from outside the
    installation, and one of the results of matrix products, sums and functions.

    The digest of results also differs between processors whose vector units add up in another order.
    """
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # pyright: ignore[reportOptionalSubscript, reportIndexIssue]
    return {
        "Python": platform.python_version(),
        "NumPy": np.__version__,
        "BLAS": f"{blas.get('name')} {blas.get('version')}",
        "BLAS threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "byte order": sys.byteorder,
        "retape": source_digest(),
        "arithmetic": _arithmetic_digest(),
        **{f"module {name}": digest for name, digest in _own_modules().items()},
    }


def parameters(params: Any) -> dict[str, str]:
    """What each leaf is, by its path: dtype, shape, and a digest of its bytes.

    >>> parameters({"w": np.zeros(2)})
    {"params['w']": 'float64 (2,), digest de45d748'}
    """
    paths, leaves, _ = flatten_with_paths(params)
    return {f"params{path}": _described(np.asarray(leaf)) for path, leaf in zip(paths, leaves, strict=True)}


def _described(leaf: np.ndarray) -> str:
    # Objects have addresses for bytes; that they cannot be trained is said later.
    data = b"" if leaf.dtype.hasobject else np.ascontiguousarray(leaf).data
    return f"{leaf.dtype} {leaf.shape}, digest {hashlib.blake2b(data, digest_size=4).hexdigest()}"


def check_same(fingerprints: Sequence[Mapping[str, str]], names: Sequence[str]) -> None:
    """Raises ``MismatchError`` that says what differs, between which workers, when not all are the same.

    A module that only some have imported is no difference: the others may not have come to it yet.
    """
    for other, name in zip(fingerprints[1:], names[1:], strict=True):
        different = [key for key in fingerprints[0] if fingerprints[0][key] != other.get(key, fingerprints[0][key])]
        if different:
            what = "; ".join(f"{key}: {fingerprints[0][key]} and {other[key]}" for key in different)
            raise MismatchError(
                f"{names[0]} and {name} would not compute the same bits ({what}): install the same code and versions on "
                "all nodes, and use processors of one kind"
            )


def check_same_parameters(made: Sequence[Mapping[str, str]], names: Sequence[str]) -> None:
    """Raises ``MismatchError`` that names the leaves that differ when ``init`` did not make the same on all workers."""
    for other, name in zip(made[1:], names[1:], strict=True):
        different = [path for path in (*made[0], *(other.keys() - made[0].keys())) if made[0].get(path) != other.get(path)]
        if different:
            shown = [f"{path}: {made[0].get(path, 'none')} and {other.get(path, 'none')}" for path in different[:3]]
            more = f"; and {len(different) - 3} more" if len(different) > 3 else ""
            raise MismatchError(
                f"init made other parameters on {name} than on {names[0]} ({'; '.join(shown)}{more}): it must make the same "
                "from a seed on every worker, so draw from numpy.random.default_rng(seed) and from nothing else"
            )


def source_digest() -> str:
    """A digest of retape's own source, as this process would import it."""
    digest = hashlib.blake2b(digest_size=8)
    root = Path(__file__).parent.parent
    for floor in ("runtime", "checkpoint", "scheduler", "cluster"):
        for path in sorted((root / floor).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _own_modules() -> dict[str, str]:
    """A digest of each imported module's source, but for retape's and for what is installed with Python."""
    made = {}
    for name, module in sorted(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        if path.endswith(".py") and name.partition(".")[0] not in ("retape", "__main__") and not _is_installed(path):
            with suppress(OSError):
                made[name] = hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest()
    return made


def _is_installed(path: str) -> bool:
    return path.startswith((sys.prefix, sys.base_prefix)) or "site-packages" in path or "dist-packages" in path


def _arithmetic_digest() -> str:
    digest = hashlib.blake2b(digest_size=8)
    draw = np.random.Generator(np.random.Philox(0))
    for dtype in (np.float32, np.float64):
        for rows in (7, 200):
            a = draw.standard_normal((rows, 129)).astype(dtype)
            for made in (
                a @ a.T,
                a.sum(),
                a.sum(0),
                np.exp(a),
                np.tanh(a),
                np.log(np.abs(a) + 1),
                np.sin(a),
                np.sqrt(np.abs(a)),
            ):
                digest.update(np.ascontiguousarray(made).tobytes())
    return digest.hexdigest()
