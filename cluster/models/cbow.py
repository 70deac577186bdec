"""Makes word embeddings from text: a word is told from noise words by the mean of the words around it.

The continuous bag of words with negative sampling (Mikolov et al., "Efficient Estimation of Word Representations in Vector
Space" and "Distributed Representations of Words and Phrases and their Compositionality", 2013). A step uses few of the many
words, so that its gradients travel by rows.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import DataError
from ..text import read_text
from ..words import Words, drawn, noise_shares, number_words
from .protocol import Model, ModelOptions

# Most of what a step needs is its gradients, whose rows are more in some steps than in others: hence a budget with room.
DEFAULTS = {
    "width": 64,
    "context": 4,
    "steps": 1500,
    "global_batch": 1024,
    "rate": 2e-3,
    "memory_budget": "4MiB",
}
_LEAST, _MOST = 3, 50_000
_NOISE = 5
_SHOWN, _NEAREST = 12, 5
# Words of these ranks are shown: frequent enough to be learned, and not those that stand everywhere.
_RANKS = (60, 600)


@dataclass(frozen=True)
class Contexts:
    """A source of words with what is around them: example i is the (i + context)-th word.

    ``upto`` are the running sums of the noise words' shares; ``key`` tells the draws of one source from those of another.
    """

    words: np.ndarray
    context: int
    upto: np.ndarray
    key: int = 0

    def __len__(self) -> int:
        """The number of words that have whole contexts."""
        return max(0, len(self.words) - 2 * self.context)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Numbers of words: ``context`` (n, 2 * context), and ``words`` (n, 6), the word itself and five of noise."""
        around = np.concatenate([np.arange(-self.context, 0), np.arange(1, self.context + 1)])
        places = indices[:, None] + self.context
        noise = drawn(indices + (self.key << 40), _NOISE, self.upto)
        words = np.concatenate([self.words[places], noise], axis=1)
        return {"context": self.words[places + around].astype(np.int64), "words": words.astype(np.int64)}


def init(seed: int, *, width: int, words: Words) -> dict[str, np.ndarray]:
    """An ``input`` and an ``output`` vector and a ``bias`` for each word, float32; at first only frequencies are known."""
    draw = np.random.Generator(np.random.Philox(seed))
    return {
        "input": draw.standard_normal((len(words.names), width), np.float32) * np.float32(width**-0.5),
        "output": np.zeros((len(words.names), width), np.float32),
        "bias": _frequency_scores(words).astype(np.float32),
    }


def used_rows(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The rows of the three tables that a batch uses."""
    return {"input": batch["context"], "output": batch["words"], "bias": batch["words"]}


def loss(params: dict[str, Any], batch: dict[str, np.ndarray]) -> Any:
    """The mean over words of ``-log p(the word is real) - sum of log p(a noise word is noise)``, in nats."""
    return np.mean(np.sum(np.logaddexp(np.float32(0.0), -_signs() * _scores(params, batch)), axis=1))


def evaluate(params: dict[str, Any], batch: dict[str, np.ndarray]) -> dict[str, float]:
    """``val_loss`` in nats, and ``val_first``, the share of words that score higher than all their noise words."""
    scores = np.asarray(_scores(params, batch))
    losses = np.sum(np.logaddexp(np.float32(0.0), -_signs() * scores), axis=1)
    first = np.mean(scores[:, 0] > scores[:, 1:].max(axis=1))
    return {"val_loss": float(np.mean(losses, dtype=np.float64)), "val_first": float(first)}


def build(options: ModelOptions) -> Model:
    """The embeddings with text to train on. Raises ``DataError`` for missing, empty or too little text."""
    text = read_text(options.data, limit_bytes=options.data_limit_bytes)
    words = number_words(text, least=_LEAST, most=_MOST)
    upto = np.cumsum(noise_shares(words.counts))
    train = Contexts(words.train, options.context, upto)
    validation = Contexts(words.validation, options.context, upto, key=1)
    if not len(train) or not len(validation):
        raise DataError(
            f"{text.name} is too short: {len(words.train)} training and {len(words.validation)} validation words, and one "
            f"with its context takes {2 * options.context + 1}; give more text or a smaller --context"
        )
    return Model(
        name="cbow",
        init=partial(init, width=options.width, words=words),
        loss=loss,
        evaluate=evaluate,
        train=train,
        validation=validation,
        units=1,
        unit="words",
        goal=("val_loss", "<", frequency_loss(words), "loss of a model that knows how frequent words are, and no context"),
        facts={
            "text": f"{text.name}: {text.files} files, {len(words.train):,} words to train on, {len(words.validation):,} to "
            f"validate on, {len(words.names):,} different ones",
        },
        sample=partial(_nearest_text, words=words),
        used_rows=used_rows,
    )


def frequency_loss(words: Words) -> float:
    """The loss on the validation words of the best scores that do not depend on the context, in nats.

    They are ``log(p / (k q))`` for a word of share p among words and q among k noise words.
    """
    scores, shares = _frequency_scores(words), noise_shares(words.counts)
    real = np.logaddexp(0.0, -scores[words.validation]).mean()
    return float(real + _NOISE * np.sum(shares * np.logaddexp(0.0, scores)))


def nearest(vectors: np.ndarray, row: int, count: int) -> np.ndarray:
    """The ``count`` rows of ``vectors`` (n, width) with the highest cosine to one row, without itself, best first."""
    lengths = np.linalg.norm(vectors, axis=1)
    cosines = vectors @ vectors[row] / np.maximum(lengths * lengths[row], 1e-12)
    return np.array([other for other in np.argsort(-cosines, kind="stable")[: count + 1] if other != row][:count])


def _frequency_scores(words: Words) -> np.ndarray:
    counts = words.counts + 0.5
    return np.log(counts / counts.sum() / (_NOISE * noise_shares(words.counts)))


def _scores(params: dict[str, Any], batch: dict[str, np.ndarray]) -> Any:
    context = np.mean(params["input"][batch["context"]], axis=1)
    vectors = params["output"][batch["words"]]
    return np.sum(vectors * context[:, None, :], axis=2) + params["bias"][batch["words"]]


def _signs() -> np.ndarray:
    return np.array([1.0] + [-1.0] * _NOISE, np.float32)


def _nearest_text(params: dict[str, Any], seed: int, *, words: Words) -> str:
    first, last = (min(rank, len(words.names)) for rank in _RANKS)
    ranks = np.arange(first, last) if last > first else np.arange(last)
    chosen = np.random.Generator(np.random.Philox(seed)).choice(ranks, min(_SHOWN, len(ranks)), replace=False)
    vectors = np.asarray(params["input"])
    return "".join(
        f"{words.names[row]}: {', '.join(words.names[other] for other in nearest(vectors, row, _NEAREST))}\n"
        for row in np.sort(chosen)
    )
