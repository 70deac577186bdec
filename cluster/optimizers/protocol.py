"""Makes the one shape that every optimizer has: a pair of functions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .norms import Norms


@dataclass(frozen=True)
class Optimizer:
    """An optimizer as two functions and no hidden state.

    ``init(params) -> state`` makes the state, a pytree of arrays. ``update(params, grads, state, rate) ->
    (params, state)`` takes one step. It writes into the arrays of ``params`` and ``state`` that it is given,
    so that a step takes memory for one leaf and not for the whole model; the trees it returns hold those same
    arrays. ``grads`` is only read. ``rate`` is the learning rate of this step.

    ``update_pieces(params, grads, state, rate, norms) -> (params, state)`` does the same to pieces of the leaves, each of
    one axis, or of two where its leaf has two or more; ``norms(leaf, *pieces)`` gives norms of whole leaves, and must be
    called for the same leaves in the same order on every worker. An optimizer without it cannot have its state sharded.
    """

    init: Callable[[Any], Any]
    update: Callable[[Any, Any, Any, float], tuple[Any, Any]]
    name: str = "optimizer"
    update_pieces: Callable[[Any, Any, Any, float, Norms], tuple[Any, Any]] | None = None


def elementwise(
    init: Callable[[Any], Any], update: Callable[[Any, Any, Any, float], tuple[Any, Any]], name: str
) -> Optimizer:
    """An optimizer that does to each element what it does to it alone, so that it asks for no norms of whole leaves."""
    return Optimizer(init, update, name, lambda params, grads, state, rate, norms: update(params, grads, state, rate))
