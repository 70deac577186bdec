"""Makes training and validation windows of bytes from text files, and the order-1 entropy that a model must
beat."""

import hashlib
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import DataError

# Left out of the standard library: what is generated (tables), what not every installation has, and what is
# not its own.
_NOT_PROSE = {
    "site-packages",
    "dist-packages",
    "__pycache__",
    "test",
    "tests",
    "idle_test",
    "pydoc_data",
    "encodings",
}


@dataclass(frozen=True)
class Windows:
    """A source of byte windows: example i is the ``context + 1`` bytes from ``i * context`` on, as uint8."""

    data: np.ndarray
    context: int

    def __len__(self) -> int:
        """The number of whole windows."""
        return max(0, (len(self.data) - 1) // self.context)

    def batch(self, indices: np.ndarray) -> np.ndarray:
        """The windows at ``indices``: uint8 of shape (n, context + 1); inputs are [:, :-1], targets [:,
        1:]."""
        return self.data[indices[:, None] * self.context + np.arange(self.context + 1)]


@dataclass(frozen=True)
class Text:
    """Bytes of text split in two: ``train`` and ``validation`` (uint8 arrays), and the files they came
    from."""

    train: np.ndarray
    validation: np.ndarray
    files: int
    name: str


def read_text(path: str | Path | None, *, limit_bytes: int, validation_share: float = 0.05) -> Text:
    """Reads a file, a folder, or with ``None`` the source files of Python's standard library.

    A folder's files (``*.py`` for the standard library, else every file) are put in the order of a hash of
    their names, so that both parts are of the same kind; at most ``limit_bytes`` are read, and the last
    ``validation_share`` of them, 256 KiB at most, are for validation. Raises ``DataError`` when there is
    nothing to read.
    """
    root = Path(sysconfig.get_paths()["stdlib"]) if path is None else Path(path)
    name = "Python's standard library" if path is None else str(path)
    if not root.exists():
        cure = "give --data a file or folder of text" if path is None else "check --data"
        raise DataError(f"the data path {root} does not exist; {cure}")
    files = _hashed_order(root, pattern="*.py" if path is None else "*", skip=_NOT_PROSE if path is None else set())
    parts: list[bytes] = []
    total = 0
    for file in files:
        try:
            content = file.read_bytes()[: limit_bytes - total]
        except OSError as error:
            raise DataError(f"the data file {file} cannot be read: {error.strerror or error}") from error
        if content:
            parts.append(content)
            total += len(content)
        if total >= limit_bytes:
            break
    if not total:
        raise DataError(f"{name} holds no text: {len(files)} files, 0 bytes; give --data a file or folder with text")
    data = np.frombuffer(b"".join(parts), np.uint8)
    cut = total - min(int(total * validation_share), 256 * 1024)
    return Text(data[:cut], data[cut:], len(parts), name)


@dataclass(frozen=True)
class BigramEntropy:
    """Bits per byte of order-1 predictions of the same validation bytes.

    ``fitted`` is the loss of the bigram model counted on the training bytes; ``conditional`` is the entropy
    H(next | previous) of the validation bytes themselves, which no order-1 model can pass.
    """

    fitted: float
    conditional: float

    @property
    def bar(self) -> float:
        """The lower of the two."""
        return min(self.fitted, self.conditional)


def bigram_entropy(train: np.ndarray, validation: np.ndarray, *, smoothing: float = 0.1) -> BigramEntropy:
    """Fits byte pairs on ``train`` (add-``smoothing``) and measures ``validation``; both are uint8 of shape
    (n,).

    Source: Shannon, "Prediction and Entropy of Printed English", 1951 (the digram entropy F2). Raises
    ``DataError`` when either holds fewer than 2 bytes.

    >>> import numpy as np
    >>> data = np.frombuffer(b"abababab", np.uint8)
    >>> bigram_entropy(data, data).conditional
    0.0
    """
    if len(train) < 2 or len(validation) < 2:
        raise DataError(f"a bigram needs 2 bytes; the training text has {len(train)}, the validation text {len(validation)}")
    seen = _pair_counts(train) + smoothing
    bits = -np.log2(seen / seen.sum(axis=1, keepdims=True))
    pairs = _pair_counts(validation)
    fitted = float((pairs * bits).sum() / pairs.sum())
    rows = np.maximum(pairs.sum(axis=1, keepdims=True), 1.0)
    present = pairs > 0
    own = -np.log2(pairs / rows, where=present, out=np.zeros_like(pairs))
    return BigramEntropy(fitted, float((pairs * own).sum() / pairs.sum()))


def _pair_counts(data: np.ndarray) -> np.ndarray:
    pairs = data[:-1].astype(np.int64) * 256 + data[1:]
    return np.bincount(pairs, minlength=65536).reshape(256, 256).astype(np.float64)


def _hashed_order(root: Path, *, pattern: str, skip: set[str]) -> Sequence[Path]:
    if root.is_file():
        return [root]
    named = {
        file.relative_to(root).as_posix(): file
        for file in root.rglob(pattern)
        if file.is_file()
        and not skip.intersection(file.relative_to(root).parts[:-1])
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    }
    ordered = sorted(named, key=lambda name: (hashlib.blake2b(name.encode("utf-8", "replace")).digest(), name))
    return [named[name] for name in ordered]
