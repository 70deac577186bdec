"""Makes numbered words from text, and noise words to tell them from."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np

from .errors import DataError
from .text import Text

_WORD = re.compile(r"[a-z]{2,}")
# Of a word that makes up the share f of the text, min(1, sqrt(_FREQUENT / f)) of the occurrences are kept.
_FREQUENT = 1e-3
_NOISE_POWER = 0.75


@dataclass(frozen=True)
class Words:
    """Words by falling frequency: their ``names``, how often each is in ``train``, and the numbers of both parts' words.

    ``counts`` has shape (words,); ``train`` and ``validation`` are int32, without words that are not among ``names``.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    train: np.ndarray
    validation: np.ndarray


def number_words(text: Text, *, least: int, most: int) -> Words:
    """Numbers the ``most`` frequent words, runs of Latin letters in lower case, that are there ``least`` times or more.

    Of very frequent words only some occurrences are kept, drawn with a seed of its own (Mikolov et al., "Distributed
    Representations of Words and Phrases and their Compositionality", NeurIPS 2013). Raises ``DataError`` for a text without
    words that come so often.
    """
    parts = [_WORD.findall(part.tobytes().decode("utf-8", "replace").lower()) for part in (text.train, text.validation)]
    counted = Counter(parts[0])
    names = tuple(
        sorted((word for word in counted if counted[word] >= least), key=lambda word: (-counted[word], word))[:most]
    )
    if not names:
        raise DataError(f"{text.name} has no word that comes {least} times in {len(parts[0])} words; give more text")
    number_of = {word: number for number, word in enumerate(names)}
    total = len(parts[0])
    kept = np.minimum(1.0, np.sqrt(_FREQUENT * total / np.array([counted[word] for word in names])))
    draw = np.random.Generator(np.random.Philox(0))
    train, validation = (
        numbers[draw.random(len(numbers)) < kept[numbers]]
        for part in parts
        for numbers in [np.array([number_of[word] for word in part if word in number_of], np.int32)]
    )
    return Words(names, np.bincount(train, minlength=len(names)), train, validation)


def noise_shares(counts: np.ndarray) -> np.ndarray:
    """How often each word is drawn as noise: its count to the power of 3/4 (Mikolov et al. 2013), as shares of 1."""
    weights = np.maximum(counts, 1).astype(np.float64) ** _NOISE_POWER
    return weights / weights.sum()


def drawn(indices: np.ndarray, count: int, upto: np.ndarray) -> np.ndarray:
    """For each index ``count`` words, (n, count) int64, that follow from it alone; ``upto`` are running sums of shares.

    Random access needs a generator without state: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014).

    >>> drawn(np.array([7, 8]), 3, np.array([0.5, 0.75, 1.0])).tolist()
    [[1, 2, 0], [2, 1, 0]]
    """
    z = (indices[:, None].astype(np.uint64) * np.uint64(count) + np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(
        0x9E3779B97F4A7C15
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    uniform = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(upto[:-1], uniform, side="right")
