"""Makes the job whose recovery is measured, retape's alone and inside Ray Train: a small loss that pauses, on a megabyte of
parameters."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PARAMETERS = 250_000
PAUSE_SECONDS = 0.005


def settings(out: Path, note: Callable[[], None]) -> dict[str, Any]:
    """The keywords of `train` and `train_loop`: steps without end into the folder `out`; each loss begins with `note()`."""
    from retape.cluster import adamw

    def loss(params: Any, batch: Any) -> Any:
        note()
        time.sleep(PAUSE_SECONDS)
        return np.mean((np.tanh(batch @ params["w"]) - 0.5) ** 2) + np.mean(params["big"] ** 2)

    def init(seed: int) -> Any:
        return {"w": np.full((5, 2), 0.1, np.float32), "big": np.ones(PARAMETERS, np.float32)}

    data = np.ones((64, 5), np.float32)
    return {
        "loss": loss, "init": init, "data": data, "optimizer": adamw(), "steps": 10**6, "global_batch": 8, "out": out,
    }  # fmt: skip
