"""Random ops: arrays of noise drawn from a place in a counter-based stream, so that drawing again gives the same bits.

A place is an array of four 64-bit words: the key of a Philox stream (Salmon et al., "Parallel random numbers: as easy
as 1, 2, 3", SC 2011) and the number of the draw. Each draw has 2**128 counters of the stream to itself. The place is
an input of the call, not a parameter: the same program with new numbers is then still the same program to a planner.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import phantom
from ..array import apply
from ..errors import NotDifferentiableError
from ..op import Op, define

_CHUNK = 16384
_LOCAL = threading.local()


def generator_at(place: np.ndarray) -> np.random.Generator:
    """Return this thread's NumPy generator, moved to `place`; use it up before the next call.

    Moving one generator takes a tenth of the time of making a new one, and gives the same numbers.
    """
    generator = getattr(_LOCAL, "generator", None)
    if generator is None:
        generator = _LOCAL.generator = np.random.Generator(np.random.Philox(key=0))
        _LOCAL.state = generator.bit_generator.state
    state = _LOCAL.state
    state["state"]["key"] = place[:2]
    state["state"]["counter"][2:] = place[2:]
    generator.bit_generator.state = state
    return generator


def _positive_exponential(generator: np.random.Generator, out: np.ndarray) -> np.ndarray:
    """Fill `out` with exponential noise whose logarithm is finite: an exact 0 would stand for about this much."""
    generator.standard_exponential(dtype=out.dtype, out=out)
    return np.maximum(out, float(np.finfo(out.dtype).eps) / 4, out=out)


def _normal(generator: np.random.Generator, out: np.ndarray) -> None:
    generator.standard_normal(dtype=out.dtype, out=out)


def _uniform(generator: np.random.Generator, out: np.ndarray) -> None:
    generator.random(dtype=out.dtype, out=out)


def _exponential(generator: np.random.Generator, out: np.ndarray) -> None:
    generator.standard_exponential(dtype=out.dtype, out=out)


def _gumbel(generator: np.random.Generator, out: np.ndarray) -> None:
    np.negative(np.log(_positive_exponential(generator, out), out=out), out=out)


def _laplace(generator: np.random.Generator, out: np.ndarray) -> None:
    generator.standard_exponential(dtype=out.dtype, out=out)
    out -= generator.standard_exponential(out.shape, out.dtype)  # pyright: ignore[reportArgumentType]


def _logistic(generator: np.random.Generator, out: np.ndarray) -> None:
    _positive_exponential(generator, out)
    out /= _positive_exponential(generator, np.empty_like(out))
    np.log(out, out=out)


def _define_draw(name: str, fill: Callable, *, cost: float, buffers: int = 0) -> Op:
    """Add the op that fills a fresh array with noise; `cost` is its flops an element, `buffers` what it needs besides."""

    def run_into(out: np.ndarray, place: np.ndarray, shape: tuple, dtype: np.dtype) -> np.ndarray:
        fill(generator_at(place), out)
        return out

    return define(
        f"draw_{name}",
        lambda place, shape, dtype: run_into(np.empty(shape, dtype), place, shape, dtype),
        inputs="place",
        parameters=("shape", "dtype"),
        infer=lambda place, shape, dtype: phantom.contiguous(shape, dtype),
        flops=lambda out, place, shape, dtype: cost * out.size,
        workspace=lambda out, place, shape, dtype: buffers * out.nbytes,
        run_into=run_into,
        zero_gradient=True,
    )


NORMAL = _define_draw("normal", _normal, cost=90)
UNIFORM = _define_draw("uniform", _uniform, cost=40)
EXPONENTIAL = _define_draw("exponential", _exponential, cost=60)
GUMBEL = _define_draw("gumbel", _gumbel, cost=100)
LAPLACE = _define_draw("laplace", _laplace, cost=120, buffers=1)
LOGISTIC = _define_draw("logistic", _logistic, cost=180, buffers=1)


def _truncated(generator: np.random.Generator, count: int, lower: float, upper: float) -> np.ndarray:
    """Return about `count` tries at a standard normal number in (lower, upper), those that were rejected left out.

    Rejection from a normal, uniform or shifted exponential proposal, by Robert, "Simulation of truncated normal
    variables", Statistics and Computing 5, 1995; at least a third of the tries are accepted.
    """
    if upper <= 0:
        return -_truncated(generator, count, -upper, -lower)
    if lower <= 0 and upper - lower > 2:
        tries = generator.standard_normal(count)
        return tries[(tries >= lower) & (tries <= upper)]
    tilt = (lower + math.sqrt(lower * lower + 4)) / 2
    if lower <= 0 or (upper - lower) * tilt < 1:
        tries = lower + (upper - lower) * generator.random(count)
        most = max(lower, 0.0)
        return tries[generator.random(count) <= np.exp((most - tries) * (most + tries) / 2)]
    tries = lower + generator.standard_exponential(count) / tilt
    accepted = generator.random(count) <= np.exp(-((tries - tilt) ** 2) / 2)
    return tries[accepted & (tries <= upper)]


def _fill_truncated(
    out: np.ndarray, place: np.ndarray, shape: tuple, dtype: np.dtype, lower: float, upper: float
) -> np.ndarray:
    generator = generator_at(place)
    flat = out.reshape(-1)
    done = 0
    while done < flat.size:
        accepted = _truncated(generator, min(flat.size - done, _CHUNK), lower, upper)
        flat[done : done + accepted.size] = accepted
        done += accepted.size
    return out


TRUNCATED_NORMAL = define(
    "draw_truncated_normal",
    lambda place, shape, dtype, lower, upper: _fill_truncated(np.empty(shape, dtype), place, shape, dtype, lower, upper),
    inputs="place",
    parameters=("shape", "dtype", "lower", "upper"),
    infer=lambda place, shape, dtype, lower, upper: phantom.contiguous(shape, dtype),
    flops=lambda out, *_, **__: 300.0 * out.size,
    workspace=lambda out, *_, **__: 64 * min(out.size, _CHUNK),
    run_into=_fill_truncated,
    zero_gradient=True,
)


def _chunks(flat: np.ndarray) -> Iterator[np.ndarray]:
    return (flat[start : start + _CHUNK] for start in range(0, flat.size, _CHUNK))


def refuse_gradient(message: str) -> Callable:
    """Return a rule that raises `NotDifferentiableError` with `message`."""

    def rule(g: Any) -> Any:
        raise NotDifferentiableError(message)

    return rule


NO_GRADIENT_OF_PROBABILITY = (
    "a draw of yes or no (or of a number out of several) jumps as its probabilities change, so it passes no gradient on to "
    "them: relax it (Gumbel-softmax: retape.softmax((log_p + retape.random.gumbel(size=log_p.shape)) / temperature)), "
    "weigh the loss by the log-probability of the draw (score function), or say retape.stop_gradient(p) if no gradient is "
    "wanted"
)


def _run_bernoulli(p: Any, place: np.ndarray, shape: tuple) -> np.ndarray:
    return _bernoulli_into(np.empty(shape, bool), p, place, shape)


def _bernoulli_into(out: np.ndarray, p: Any, place: np.ndarray, shape: tuple) -> np.ndarray:
    if not np.all((np.asarray(p) >= 0) & (np.asarray(p) <= 1)):
        raise ValueError("p < 0, p > 1 or p is NaN")
    generator = generator_at(place)
    if np.ndim(p):
        return np.less(generator.random(shape), p, out=out)
    for part in _chunks(out.reshape(-1)):
        np.less(generator.random(part.size), p, out=part)
    return out


BERNOULLI = define(
    "draw_bernoulli",
    _run_bernoulli,
    inputs="p place",
    parameters=("shape",),
    rules=(refuse_gradient(NO_GRADIENT_OF_PROBABILITY), None),
    infer=lambda p, place, shape: phantom.contiguous(shape, bool),
    flops=lambda out, p, place, shape: 45.0 * out.size,
    workspace=lambda out, p, place, shape: 8 * (out.size if np.ndim(p) else min(out.size, _CHUNK)),
    run_into=_bernoulli_into,
)


def _dropout_into(out: np.ndarray, x: Any, place: np.ndarray, rate: float) -> np.ndarray:
    """Write `x` into `out`, elements set to 0 with probability `rate`, the others multiplied by 1 / (1 - rate)."""
    generator = generator_at(place)
    if out is not x:
        np.copyto(out, x)
    scale = 1 / (1 - rate) if rate < 1 else 1.0
    for part in _chunks(out.reshape(-1)):
        dropped = generator.random(part.size, np.float32) < rate
        part *= scale
        np.copyto(part, 0, where=dropped)  # a product would keep NaN where x is infinite
    return out


DROPOUT = define(
    "dropout",
    lambda x, place, rate: _dropout_into(np.empty(np.shape(x), np.result_type(x)), x, place, rate),
    inputs="x place",
    parameters=("rate",),
    # The mask is drawn again wherever it is needed, and never kept.
    rules=(lambda g, place, rate: apply(DROPOUT, (g, place), {"rate": rate}), None),
    jvp=(lambda t, place, rate: apply(DROPOUT, (t, place), {"rate": rate}), None),
    infer=lambda x, place, rate: phantom.contiguous(np.shape(x), np.result_type(x)),
    flops=lambda out, x, place, rate: 35.0 * out.size,
    workspace=lambda out, x, place, rate: 6 * min(out.size, _CHUNK),
    overwrites=0,
    run_into=_dropout_into,
)
