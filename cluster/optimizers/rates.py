"""Makes the learning rate of a step from the step's number, and of a batch from the batch's size."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real

Rate = Callable[[int], float]


def rate_at(rate: Rate, step: int) -> float:
    """The rate of a step. Raises ``ValueError`` unless that is a finite number, 0 or more.

    >>> rate_at(constant(0.1), 7)
    0.1
    """
    try:
        value = rate(step)
    except Exception as error:
        raise ValueError(f"the learning rate of step {step} cannot be told: {type(error).__name__}: {error}") from error
    if not isinstance(value, Real) or not 0.0 <= value < math.inf:
        raise ValueError(f"the learning rate of step {step} is {value!r}; it must be finite, 0 or more")
    return float(value)


def constant(rate: float) -> Rate:
    """The same rate at every step. Raises ``ValueError`` unless it is finite and above 0."""
    _check_peak(rate)
    return partial(_constant, rate=rate)


def cosine(peak: float, *, steps: int, floor: float = 0.0) -> Rate:
    """A rate that falls from ``peak`` to ``floor * peak`` along half a cosine of ``steps`` steps, and stays there.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017 (one period). Raises
    ``ValueError`` for a peak that is not above 0, a floor outside [0, 1], or ``steps < 0``.

    >>> rate = cosine(0.1, steps=10)
    >>> [round(rate(step), 3) for step in (0, 5, 10, 11)]
    [0.1, 0.05, 0.0, 0.0]
    """
    _check_peak(peak)
    if not 0.0 <= floor <= 1.0:
        raise ValueError(f"the floor is {floor}; it is a fraction of the peak, from 0 to 1")
    if steps < 0:
        raise ValueError(f"steps is {steps}; it must be 0 or more")
    return partial(_cosine, peak=peak, steps=steps, floor=floor)


def staircase(peak: float, *, at: Sequence[int], factor: float = 0.1) -> Rate:
    """A rate that is multiplied by ``factor`` at each step of ``at``.

    Raises ``ValueError`` unless ``at`` rises from 1 or more and ``0 < factor < 1``.

    >>> rate = staircase(1.0, at=(30, 60), factor=0.5)
    >>> [rate(step) for step in (0, 29, 30, 60)]
    [1.0, 1.0, 0.5, 0.25]
    """
    _check_peak(peak)
    if list(at) != sorted(set(at)) or (at and at[0] < 1):
        raise ValueError(f"the rate is to fall at the steps {list(at)}; they must rise, from 1 or more")
    if not 0.0 < factor < 1.0:
        raise ValueError(f"the factor is {factor}; it must be above 0 and below 1, for example 0.1")
    return partial(_staircase, peak=peak, at=tuple(at), factor=factor)


def warmup(rate: Rate, *, steps: int) -> Rate:
    """``rate``, begun after a climb of ``steps`` steps in a straight line to its first value.

    ``rate`` sees steps counted from the end of the climb. Source: Goyal et al., "Accurate, Large Minibatch SGD: Training
    ImageNet in 1 Hour", 2017 (gradual warm-up). Raises ``ValueError`` for ``steps < 0``.

    >>> rate = warmup(staircase(1.0, at=(2,), factor=0.5), steps=4)
    >>> [rate(step) for step in range(7)]
    [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5]
    """
    if steps < 0:
        raise ValueError(f"a warm-up of {steps} steps cannot be; choose 0 or more")
    return partial(_warmup, rate=rate, steps=steps)


def warmup_cosine(peak: float, *, steps: int, warmup: int = 0, floor: float = 0.1) -> Rate:
    """A rate that climbs in a straight line for ``warmup`` steps, then falls along half a cosine to ``floor *
    peak``.

    The function returned takes a step, counted from 0, and returns its rate; after ``steps`` it stays at the
    floor. It is :func:`cosine` after :func:`warmup`. Raises ``ValueError`` for a peak that is not above 0, a floor
    outside [0, 1], or a warm-up longer than the run.

    >>> rate = warmup_cosine(0.1, steps=12, warmup=2, floor=0.0)
    >>> [round(rate(step), 3) for step in (0, 1, 2, 7, 12)]
    [0.05, 0.1, 0.1, 0.05, 0.0]
    """
    if not 0 <= warmup <= steps:
        raise ValueError(f"a warm-up of {warmup} steps does not fit a run of {steps} steps; choose 0 to {steps}")
    return partial(_warmup, rate=cosine(peak, steps=steps - warmup, floor=floor), steps=warmup)


def linear_scaling(rate: float, *, batch: int, global_batch: int) -> float:
    """The rate for ``global_batch`` examples a step, when ``rate`` is good for ``batch``: in proportion to them.

    Meant for SGD with momentum. Source: Goyal et al., 2017, as for :func:`warmup`. Raises ``ValueError`` unless all
    three are above 0.

    >>> linear_scaling(0.1, batch=256, global_batch=8192)
    3.2
    """
    return rate * _growth(rate, batch, global_batch)


def square_root_scaling(rate: float, *, batch: int, global_batch: int) -> float:
    """As :func:`linear_scaling`, in proportion to the square root: the noise of a step keeps its variance.

    Meant for Adam and LAMB. Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.

    >>> square_root_scaling(0.001, batch=256, global_batch=4096)
    0.004
    """
    return rate * math.sqrt(_growth(rate, batch, global_batch))


# Module-level functions under `partial`, so that a rate can be shipped to workers by reference.
def _constant(step: int, *, rate: float) -> float:
    return rate


def _cosine(step: int, *, peak: float, steps: int, floor: float) -> float:
    progress = min(1.0, step / max(1, steps))
    return peak * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress)))


def _staircase(step: int, *, peak: float, at: tuple[int, ...], factor: float) -> float:
    return peak * factor ** sum(step >= each for each in at)


def _warmup(step: int, *, rate: Rate, steps: int) -> float:
    return rate(0) * (step + 1) / steps if step < steps else rate(step - steps)


def _growth(rate: float, batch: int, global_batch: int) -> float:
    _check_peak(rate)
    for name, count in (("batch", batch), ("global_batch", global_batch)):
        if count < 1:
            raise ValueError(f"{name} is {count}; it must be 1 or more")
    return global_batch / batch


def _check_peak(rate: float) -> None:
    if not (rate > 0.0 and math.isfinite(rate)):
        raise ValueError(f"the rate is {rate}; it must be finite and above 0, for example 1e-3")
