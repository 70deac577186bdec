"""Makes the learning rate of a step from the step's number."""

import math
from collections.abc import Callable
from functools import partial

Rate = Callable[[int], float]


def constant(rate: float) -> Rate:
    """The same rate at every step. Raises ``ValueError`` unless it is finite and above 0."""
    _check_peak(rate)
    return partial(_constant, rate=rate)


def warmup_cosine(peak: float, *, steps: int, warmup: int = 0, floor: float = 0.1) -> Rate:
    """A rate that climbs in a straight line for ``warmup`` steps, then falls along half a cosine to ``floor *
    peak``.

    The function returned takes a step, counted from 0, and returns its rate; after ``steps`` it stays at the
    floor. Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017
    (one period). Raises ``ValueError`` for a peak that is not above 0, a floor outside [0, 1], or a warm-up
    longer than the run.

    >>> rate = warmup_cosine(0.1, steps=12, warmup=2, floor=0.0)
    >>> [round(rate(step), 3) for step in (0, 1, 2, 7, 12)]
    [0.05, 0.1, 0.1, 0.05, 0.0]
    """
    _check_peak(peak)
    if not 0 <= warmup <= steps:
        raise ValueError(f"a warm-up of {warmup} steps does not fit a run of {steps} steps; choose 0 to {steps}")
    if not 0.0 <= floor <= 1.0:
        raise ValueError(f"the floor is {floor}; it is a fraction of the peak, from 0 to 1")
    return partial(_warmup_cosine, peak=peak, steps=steps, warmup=warmup, floor=floor)


# Module-level functions under `partial`, so that a rate can be shipped to workers by reference.
def _constant(step: int, *, rate: float) -> float:
    return rate


def _warmup_cosine(step: int, *, peak: float, steps: int, warmup: int, floor: float) -> float:
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * progress)))


def _check_peak(rate: float) -> None:
    if not (rate > 0.0 and math.isfinite(rate)):
        raise ValueError(f"the rate is {rate}; it must be finite and above 0, for example 1e-3")
