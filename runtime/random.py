"""Random numbers for programs that are differentiated: draws from a counted stream, reparameterised where they can be.

Offered on the face as ``retape.random``. Every draw takes the next number of its generator and has a block of a Philox
stream of its own, so the array it makes can be dropped and drawn again, with the same bits. Distributions with a
location and a scale pass gradients on to them: normal(m, s) is m + s * noise (Kingma & Welling, "Auto-encoding
variational Bayes", ICLR 2014). The draws of one key are the same for one version of NumPy, whose algorithms these are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .array import Array
from .op import Op
from .ops import random_draws as draws
from .ops.gamma_draws import GAMMA
from .ops.random_arguments import (
    check_scale,
    dtypes_of,
    in_dtype,
    is_number,
    operand,
    plain_value,
    recorded,
    require_constant,
    shape_of,
    size_of,
    unpacked,
)
from .streams import Stream, as_state, key_of, of_state

__all__ = [
    "Generator", "bernoulli", "categorical", "choice", "dropout", "exponential", "gamma", "get_state",
    "gumbel", "integers", "laplace", "logistic", "normal", "numpy_generator", "permutation", "random", "seed", "set_state",
    "spawn", "standard_normal", "truncated_normal", "uniform",
]  # fmt: skip


class Generator:
    """A stream of random arrays, named by a seed (an integer, a sequence of them, or None for one from the system).

    The methods are NumPy's where NumPy has them. Arrays are of the dtype of their array arguments, or of `dtype`
    (float32, or float64 where there is nothing to go by). Threads may share a generator; for the same numbers
    whatever the threads do, give each its own by `spawn`.

    >>> import numpy as np, retape as rt
    >>> generator = rt.random.Generator(7)
    >>> step = rt.grad(lambda s: np.sum(generator.normal(0.0, s, size=3)))
    >>> state = generator.state
    >>> gradient = step(2.0)
    >>> generator.state = state
    >>> bool(np.isclose(gradient, generator.normal(size=3).sum()))
    True
    """

    def __init__(self, seed: int | Sequence[int] | None = None) -> None:
        self._stream = Stream(key_of(seed))

    def seed(self, seed: int | Sequence[int] | None = None) -> None:
        """Start the stream named by `seed` from its beginning."""
        self._stream.move(key_of(seed), 0)

    @property
    def state(self) -> dict[str, int]:
        """Where the stream stands: four integers below 2**64. Assign it to go there."""
        return as_state(*self._stream.position())

    @state.setter
    def state(self, state: Mapping[str, int]) -> None:
        self._stream.move(*of_state(state))

    def spawn(self, count: int) -> list[Generator]:
        """Return `count` generators with streams of their own, for threads or workers. Takes one draw of this one."""
        place = self._stream.place().tolist()
        made = [Generator(0) for _ in range(count)]
        for index, generator in enumerate(made):
            generator._stream = Stream(key_of(place, (index,)))
        return made

    def numpy_generator(self) -> np.random.Generator:
        """Return a NumPy generator at this one's next draw, for distributions that are not here: plain numbers."""
        words = self._stream.place()
        counter = np.concatenate([np.zeros(2, np.uint64), words[2:]])
        return np.random.Generator(np.random.Philox(key=words[:2], counter=counter))

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None, dtype: Any = None) -> Any:
        """Return normal numbers of mean `loc` and standard deviation `scale`; both get gradients."""
        return self._located(draws.NORMAL, loc, scale, size, dtype)

    def standard_normal(self, size: Any = None, dtype: Any = None) -> Any:
        """Return normal numbers of mean 0 and standard deviation 1."""
        return self._located(draws.NORMAL, 0.0, 1.0, size, dtype)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None, dtype: Any = None) -> Any:
        """Return numbers from `low` to `high`, all equally likely; both bounds get gradients."""
        low, high = operand(low), operand(high)
        width = high - low
        if type(width) is not Array and not np.all(np.isfinite(width)):
            raise OverflowError("high - low range exceeds valid bounds")
        if type(width) is not Array and np.any(np.signbit(width)):
            raise ValueError("high - low < 0")
        return self._located(draws.UNIFORM, low, width, shape_of(size, low, high), dtype)

    def random(self, size: Any = None, dtype: Any = None) -> Any:
        """Return numbers from 0 to 1 (1 excluded), all equally likely."""
        return self._located(draws.UNIFORM, 0.0, 1.0, size, dtype)

    def exponential(self, scale: Any = 1.0, size: Any = None, dtype: Any = None) -> Any:
        """Return exponential numbers of mean `scale`, which gets a gradient."""
        return self._located(draws.EXPONENTIAL, 0.0, scale, size, dtype)

    def gumbel(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None, dtype: Any = None) -> Any:
        """Return numbers of the Gumbel distribution, ``exp(-exp(-(x - loc) / scale))``; `loc` and `scale` get gradients."""
        return self._located(draws.GUMBEL, loc, scale, size, dtype)

    def laplace(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None, dtype: Any = None) -> Any:
        """Return numbers of density ``exp(-|x - loc| / scale) / (2 scale)``; `loc` and `scale` get gradients."""
        return self._located(draws.LAPLACE, loc, scale, size, dtype)

    def logistic(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None, dtype: Any = None) -> Any:
        """Return numbers of distribution ``1 / (1 + exp(-(x - loc) / scale))``; `loc` and `scale` get gradients."""
        return self._located(draws.LOGISTIC, loc, scale, size, dtype)

    def truncated_normal(
        self, lower: float, upper: float, loc: Any = 0.0, scale: Any = 1.0, size: Any = None, dtype: Any = None
    ) -> Any:
        """Return ``loc + scale * z``, z standard normal between the numbers `lower` and `upper`.

        `loc` and `scale` get gradients. Raises `NotDifferentiableError` for bounds that would need one, `ValueError`
        unless ``lower < upper``.
        """
        require_constant(
            (lower, upper),
            "truncated_normal passes no gradient on to its bounds: shift and stretch fixed bounds by loc and scale, or say "
            "retape.stop_gradient(bound)",
        )
        bounds = {"lower": float(plain_value(lower)), "upper": float(plain_value(upper))}
        if not bounds["lower"] < bounds["upper"]:
            raise ValueError(f"truncated_normal needs lower < upper, not {bounds['lower']} and {bounds['upper']}")
        return self._located(draws.TRUNCATED_NORMAL, loc, scale, size, dtype, bounds)

    def gamma(self, shape: Any, scale: Any = 1.0, size: Any = None, dtype: Any = None) -> Any:
        """Return numbers of density ``x**(shape - 1) * exp(-x / scale)``, normalised; `shape` and `scale` get gradients.

        That of `shape` is of first order only (implicit reparameterisation).
        """
        shape, scale = operand(shape), operand(scale)
        check_scale(scale)
        extents = shape_of(size, shape, scale)
        result, drawn = dtypes_of(dtype, shape, scale)
        made = recorded(GAMMA, (shape, self._stream.place()), {"shape": extents, "dtype": drawn})
        return unpacked(in_dtype(made if is_number(scale, 1) else scale * made, result))

    def bernoulli(self, p: Any = 0.5, size: Any = None) -> Any:
        """Return an array of truths, each true with probability `p`.

        Raises `NotDifferentiableError` for a `p` that is differentiated, `ValueError` where it is not a probability.
        """
        p = operand(p)
        require_constant(p, draws.NO_GRADIENT_OF_PROBABILITY)
        extents = shape_of(size, p)
        return unpacked(recorded(draws.BERNOULLI, (p, self._stream.place()), {"shape": extents}))

    def dropout(self, x: Any, rate: float = 0.5) -> Any:
        """Return `x` with elements set to 0 with probability `rate`, the others divided by ``1 - rate``.

        Srivastava et al., "Dropout", Journal of Machine Learning Research 15, 2014. The mask takes no memory: it is
        drawn again in the reverse sweep. Raises `NotDifferentiableError` for a `rate` that is differentiated,
        `ValueError` for one outside 0 to 1.

        >>> import numpy as np, retape as rt
        >>> np.unique(rt.random.dropout(np.ones(100), 0.5)).tolist()
        [0.0, 2.0]
        """
        require_constant(
            rate,
            "dropout passes no gradient on to its rate, for elements drop out at once: make the rate a number, or relax it "
            "(a smooth mask of retape.random.logistic noise)",
        )
        rate = float(plain_value(rate))
        if not 0 <= rate <= 1:
            raise ValueError(f"a dropout rate is from 0 to 1, not {rate}")
        if type(x) is not Array:
            x = np.asarray(x)
        if x.dtype.kind not in "fc":
            x = x.astype(np.float64)
        return unpacked(recorded(draws.DROPOUT, (x, self._stream.place()), {"rate": rate}))

    def integers(self, low: Any, high: Any = None, size: Any = None, dtype: Any = np.int64, endpoint: bool = False) -> Any:
        """Return integers from `low` to `high` (excluded unless `endpoint`), or from 0 to `low`: plain numbers."""
        low, high = (plain_value(bound, "a bound of random integers") for bound in (low, high))
        return draws.generator_at(self._stream.place()).integers(low, high, size, dtype, endpoint)

    def permutation(self, x: Any, axis: int = 0) -> Any:
        """Return the integers below `x` in random order, or the array `x` with its rows along `axis` in random order.

        A traced `x` gets its gradient in its own order.
        """
        x = x if type(x) is Array else np.asarray(x)
        is_count = x.ndim == 0 and x.dtype.kind in "iu"
        count = int(plain_value(x)) if is_count else x.shape[axis]
        order = draws.generator_at(self._stream.place()).permutation(count)
        return order if is_count else np.take(x, order, axis)

    def choice(
        self, a: Any, size: Any = None, replace: bool = True, p: Any = None, axis: int = 0, shuffle: bool = True
    ) -> Any:
        """Return elements of `a` along `axis`, or integers below `a`, drawn with probabilities `p` (None: all equal).

        A traced `a` gets a gradient, at what was drawn. Raises `NotDifferentiableError` for a `p` that is differentiated.
        """
        require_constant(p, draws.NO_GRADIENT_OF_PROBABILITY)
        a = a if type(a) is Array else np.asarray(a)
        is_count = a.ndim == 0 and a.dtype.kind in "iu"
        count = int(plain_value(a)) if is_count else a.shape[axis]
        p = None if p is None else plain_value(p)
        index = draws.generator_at(self._stream.place()).choice(count, size, replace, p, shuffle=shuffle)
        return index if is_count else np.take(a, index, axis)

    def categorical(self, logits: Any, size: Any = None, axis: int = -1) -> Any:
        """Return integers drawn with probabilities softmax(`logits`) along `axis`: a plain array.

        Its shape is `size`, or that of `logits` without `axis`, which must broadcast to `size`. Raises
        `NotDifferentiableError` for logits that are differentiated.
        """
        require_constant(logits, draws.NO_GRADIENT_OF_PROBABILITY)
        logits = np.moveaxis(np.asarray(plain_value(logits), np.float64), axis, -1)
        peak = np.max(logits, axis=-1, keepdims=True)
        if not np.all(np.isfinite(peak)):
            raise ValueError("logits are NaN or +inf, or all -inf")
        sums = np.cumsum(np.exp(logits - peak), axis=-1)
        extents = size_of(size, logits.shape[:-1])
        total = sums[..., -1]
        # Rounding must not carry the number beyond the last sum, where no category is left.
        drawn = np.minimum(draws.generator_at(self._stream.place()).random(extents) * total, np.nextafter(total, 0))
        if sums.ndim == 1:
            return np.searchsorted(sums, drawn, side="right")
        return np.sum(sums <= drawn[..., None], axis=-1)

    def _located(self, op: Op, loc: Any, scale: Any, size: Any, dtype: Any, bounds: Mapping[str, float] | None = None) -> Any:
        """Return ``loc + scale * noise``, without the sum or the product where they would change nothing."""
        loc, scale = operand(loc), operand(scale)
        check_scale(scale)
        extents = shape_of(size, loc, scale)
        result, drawn = dtypes_of(dtype, loc, scale)
        parameters = {"shape": extents, "dtype": drawn, **(bounds or {})}
        made = recorded(op, (self._stream.place(),), parameters)
        made = made if is_number(scale, 1) else scale * made
        made = made if is_number(loc, 0) else loc + made
        return unpacked(in_dtype(made, result))


_DEFAULT = Generator()

bernoulli = _DEFAULT.bernoulli
categorical = _DEFAULT.categorical
choice = _DEFAULT.choice
dropout = _DEFAULT.dropout
exponential = _DEFAULT.exponential
gamma = _DEFAULT.gamma
gumbel = _DEFAULT.gumbel
integers = _DEFAULT.integers
laplace = _DEFAULT.laplace
logistic = _DEFAULT.logistic
normal = _DEFAULT.normal
numpy_generator = _DEFAULT.numpy_generator
permutation = _DEFAULT.permutation
random = _DEFAULT.random
seed = _DEFAULT.seed
spawn = _DEFAULT.spawn
standard_normal = _DEFAULT.standard_normal
truncated_normal = _DEFAULT.truncated_normal
uniform = _DEFAULT.uniform


def get_state() -> dict[str, int]:
    """Return where the stream of the functions of this module stands (see `Generator.state`)."""
    return _DEFAULT.state


def set_state(state: Mapping[str, int]) -> None:
    """Set where the stream of the functions of this module stands."""
    _DEFAULT.state = state
