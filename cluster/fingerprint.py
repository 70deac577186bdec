"""Makes a description of what decides a worker's bits: its code, its libraries, and the results of its arithmetic."""

import hashlib
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .errors import MismatchError


def fingerprint() -> dict[str, str]:
    """Versions by name, a digest of retape's own source, and one of the results of matrix products, sums and functions.

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
    }


def check_same(fingerprints: Sequence[Mapping[str, str]], names: Sequence[str]) -> None:
    """Raises ``MismatchError`` that says what differs, between which workers, when not all are the same."""
    for other, name in zip(fingerprints[1:], names[1:], strict=True):
        different = [key for key in fingerprints[0] if fingerprints[0][key] != other.get(key)]
        if different:
            what = "; ".join(f"{key}: {fingerprints[0][key]} and {other.get(key)}" for key in different)
            raise MismatchError(
                f"{names[0]} and {name} would not compute the same bits ({what}): install the same code and versions on "
                "all nodes, and use processors of one kind"
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
