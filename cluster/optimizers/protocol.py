"""Makes the one shape that every optimizer has: a pair of functions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Optimizer:
    """An optimizer as two functions and no hidden state.

    ``init(params) -> state`` makes the state, a pytree of arrays. ``update(params, grads, state, rate) ->
    (params, state)`` takes one step. It writes into the arrays of ``params`` and ``state`` that it is given,
    so that a step takes memory for one leaf and not for the whole model; the trees it returns hold those same
    arrays. ``grads`` is only read. ``rate`` is the learning rate of this step.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, float], tuple[Any, Any]]
    name: str = "optimizer"
