"""Makes a byte-level language model, a decoder-only transformer in plain NumPy, from text files.

Pre-layer-norm blocks (Xiong et al., "On Layer Normalization in the Transformer Architecture", ICML 2020) of
causal attention (Vaswani et al., "Attention Is All You Need", 2017) and a GELU layer in its tanh form
(Hendrycks and Gimpel, 2016), learned positions, and an output table tied to the input table.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ...runtime.ops.softmax import log_softmax, softmax
from ..errors import ConfigError, DataError
from ..text import Windows, bigram_entropy, read_text
from .protocol import Model, ModelOptions

# Settings of a run of about three minutes on two cores.
DEFAULTS = {
    "layers": 4,
    "width": 128,
    "heads": 4,
    "context": 64,
    "steps": 500,
    "global_batch": 16,
    "rate": 3e-3,
    "memory_budget": "40%",
}
VOCABULARY = 256
_FAR_BELOW = np.float32(-1e9)


@dataclass(frozen=True)
class Config:
    """The model's size: ``context`` in bytes, ``width`` divisible by ``heads``. Raises ``ConfigError``."""

    layers: int = 4
    width: int = 128
    heads: int = 4
    context: int = 128

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ("layers", "width", "heads", "context"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        if self.width % self.heads:
            raise ConfigError(f"width {self.width} is not divisible by {self.heads} heads")


def init(seed: int, *, config: Config) -> dict[str, Any]:
    """The parameters: a dict of float32 arrays. Outputs of the residual branches start smaller the deeper the
    model."""
    draw = np.random.Generator(np.random.Philox(seed))

    def normal(*shape: int, scale: float) -> np.ndarray:
        return draw.standard_normal(shape, np.float32) * np.float32(scale)

    width = config.width
    inner = width**-0.5
    out = inner * (2 * config.layers) ** -0.5
    blocks = [
        {
            "attention_gain": np.ones(width, np.float32),
            "attention_bias": np.zeros(width, np.float32),
            "queries": normal(width, width, scale=inner),
            "keys": normal(width, width, scale=inner),
            "values": normal(width, width, scale=inner),
            "attention_out": normal(width, width, scale=out),
            "mlp_gain": np.ones(width, np.float32),
            "mlp_bias": np.zeros(width, np.float32),
            "mlp_in": normal(width, 4 * width, scale=inner),
            "mlp_in_bias": np.zeros(4 * width, np.float32),
            "mlp_out": normal(4 * width, width, scale=out * 0.5),
            "mlp_out_bias": np.zeros(width, np.float32),
        }
        for _ in range(config.layers)
    ]
    return {
        "bytes": normal(VOCABULARY, width, scale=0.02),
        "positions": normal(config.context, width, scale=0.02),
        "blocks": blocks,
        "final_gain": np.ones(width, np.float32),
        "final_bias": np.zeros(width, np.float32),
    }


def logits(params: dict[str, Any], tokens: np.ndarray, *, config: Config) -> Any:
    """Scores of the next byte at every place: (batch, length, 256) from ``tokens`` (batch, length) of
    integers."""
    batch, length = tokens.shape
    mask = _causal_mask(length)
    x = params["bytes"][tokens] + params["positions"][:length]
    for block in params["blocks"]:
        x = x + _attention(_norm(x, block["attention_gain"], block["attention_bias"]), block, mask, config)
        hidden = _norm(x, block["mlp_gain"], block["mlp_bias"]) @ block["mlp_in"] + block["mlp_in_bias"]
        x = x + (_gelu(hidden) @ block["mlp_out"] + block["mlp_out_bias"])
    return _norm(x, params["final_gain"], params["final_bias"]) @ params["bytes"].T


def loss(params: dict[str, Any], batch: np.ndarray, *, config: Config) -> Any:
    """Mean cross-entropy of the next byte, in nats; ``batch`` is uint8 of shape (n, length + 1)."""
    tokens, targets = batch[:, :-1].astype(np.int64), batch[:, 1:].astype(np.int64).reshape(-1)
    scores = logits(params, tokens, config=config).reshape(-1, VOCABULARY)
    return -np.mean(log_softmax(scores)[np.arange(targets.size), targets])


def evaluate(params: dict[str, Any], batch: np.ndarray, *, config: Config) -> dict[str, float]:
    """``val_loss`` in nats and ``val_bits_per_byte`` of one batch."""
    nats = float(loss(params, batch, config=config))
    return {"val_loss": nats, "val_bits_per_byte": nats / float(np.log(2.0))}


def sample(
    params: dict[str, Any],
    prompt: bytes,
    count: int,
    seed: int,
    *,
    config: Config,
    temperature: float = 0.8,
) -> bytes:
    """``prompt`` and ``count`` more bytes, drawn one by one. Raises ``ValueError`` for a temperature not
    above 0."""
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0, for example 0.8")
    draw = np.random.Generator(np.random.Philox(seed))
    text = bytearray(prompt or b"\n")
    for _ in range(count):
        tokens = np.frombuffer(bytes(text[-config.context :]), np.uint8).astype(np.int64)[None]
        scores = np.asarray(logits(params, tokens, config=config))[0, -1]
        chances = np.asarray(softmax(scores / np.float32(temperature)), np.float64)
        text.append(int(draw.choice(VOCABULARY, p=chances / chances.sum())))
    return bytes(text)


def build(options: ModelOptions) -> Model:
    """The model with text to train on. Raises ``DataError`` for missing, empty or too little text."""
    config = Config(options.layers, options.width, options.heads, options.context)
    text = read_text(options.data, limit_bytes=options.data_limit_bytes)
    train, validation = Windows(text.train, config.context), Windows(text.validation, config.context)
    if not len(train) or not len(validation):
        raise DataError(
            f"{text.name} is too short: {len(text.train)} training and {len(text.validation)} validation "
            "bytes, and a "
            f"window takes {config.context + 1}; give more text or a shorter --context"
        )
    bigram = bigram_entropy(text.train, text.validation)
    facts = {
        "text": f"{text.name}: {text.files} files, {len(text.train):,} bytes to train on, "
        f"{len(text.validation):,} to validate on",
        "bigram entropy": f"{bigram.conditional:.4f} bits per byte, H(next | previous) of the validation "
        "bytes; "
        f"a bigram model counted on the training bytes reaches {bigram.fitted:.4f}",
    }
    return Model(
        name="transformer",
        init=partial(init, config=config),
        loss=partial(loss, config=config),
        evaluate=partial(evaluate, config=config),
        train=train,
        validation=validation,
        units=config.context,
        unit="tokens",
        goal=("val_bits_per_byte", "<", bigram.bar, "bigram entropy of the same bytes"),
        facts=facts,
        sample=partial(_sample_text, config=config),
    )


def _sample_text(params: dict[str, Any], seed: int, *, config: Config) -> str:
    return sample(params, b"def ", 400, seed, config=config).decode("utf-8", "replace")


def _norm(x: Any, gain: Any, bias: Any) -> Any:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain + bias


def _gelu(x: Any) -> Any:
    return x * 0.5 * (np.tanh((x + x * x * x * 0.044715) * 0.7978845608) + 1.0)


def _attention(x: Any, block: dict[str, Any], mask: np.ndarray, config: Config) -> Any:
    batch, length, width = x.shape
    size = width // config.heads

    def by_head(name: str) -> Any:
        return np.transpose((x @ block[name]).reshape(batch, length, config.heads, size), (0, 2, 1, 3))

    weights = softmax(by_head("queries") @ np.swapaxes(by_head("keys"), -1, -2) * size**-0.5 + mask)
    mixed = np.transpose(weights @ by_head("values"), (0, 2, 1, 3))
    return mixed.reshape(batch, length, width) @ block["attention_out"]


@lru_cache(maxsize=4)
def _causal_mask(length: int) -> np.ndarray:
    return np.triu(np.full((length, length), _FAR_BELOW), 1)
