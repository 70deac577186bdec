"""Forms of random draws: where a gradient passes to a location, a scale or the array that is drawn from.

Each form makes its generator itself, so that it is a function: the same numbers at every evaluation. float32 is False
where the gradient holds noise, for single precision has noise of its own.
"""

import numpy as np

import retape as rt
from retape.runtime.random import Generator

from . import Form, cplx, positive, real

LOCATED = ("normal", "gumbel", "laplace", "logistic")


def located(name, *args, **keywords):
    return getattr(Generator(11), name)(*args, **keywords)


def kept(shape, rate=0.4):
    return located("dropout", np.ones(shape), rate)


FORMS = [
    form
    for name in LOCATED
    for form in (
        Form(
            f"retape.random.{name}",
            "loc and scale arrays, size=None",
            lambda m, s, name=name: np.tanh(located(name, m, s)),
            (real(3, 4), positive(3, 4)),
            float32=False,
        ),
        Form(
            f"retape.random.{name}",
            "scale alone, closed form",
            lambda s, name=name: located(name, 0.0, s, size=4),
            (positive(4),),
            closed=lambda s, name=name: located(name, size=4),
            float32=False,
        ),
        Form(
            f"retape.random.{name}",
            "loc alone, closed form",
            lambda m, name=name: located(name, m),
            (real(2, 3),),
            closed=lambda m: np.ones((2, 3)),
        ),
        Form(
            f"retape.random.{name}",
            "broadcast loc and scale, size=",
            lambda m, s, name=name: np.sin(located(name, m, s, size=(2, 3, 4))),
            (real(3, 1), positive(4)),
            float32=False,
        ),
        Form(
            f"retape.random.{name}",
            "0-d loc and scale, size=tuple",
            lambda m, s, name=name: np.cos(located(name, m, s, size=(5,))),
            (real(), positive()),
            float32=False,
        ),
        Form(f"retape.random.{name}", "0-d, size=None", lambda m, name=name: np.exp(located(name, m) / 9), (real(),)),
        Form(
            f"retape.random.{name}",
            "non-contiguous loc",
            lambda m, name=name: np.sin(located(name, m.T, 0.5)),
            (real(3, 2),),
            float32=False,
        ),
        Form(f"retape.random.{name}", "empty", lambda m, name=name: located(name, m, 2.0), (real(0, 3),)),
        Form(
            f"retape.random.{name}", "keywords", lambda m, name=name: located(name, scale=2, loc=m, size=(2, 3)), (real(3),)
        ),
    )
] + [
    Form(
        "retape.random.uniform",
        "low and high arrays",
        lambda a, b: np.tanh(located("uniform", a, b)),
        (real(3, 4), real(3, 4) + 9),
        float32=False,
    ),
    Form(
        "retape.random.uniform",
        "high alone, closed form",
        lambda b: located("uniform", 0.0, b, size=4),
        (positive(4),),
        closed=lambda b: located("random", size=4),
        float32=False,
    ),
    Form(
        "retape.random.uniform",
        "low alone, size=",
        lambda a: np.sin(located("uniform", a, size=(3, 2))),
        (real(2),),
        float32=False,
    ),
    Form(
        "retape.random.uniform",
        "broadcast, 0-d and 2-d",
        lambda a, b: np.sin(located("uniform", a, b)),
        (real(), positive(2, 1)),
        float32=False,
    ),
    Form(
        "retape.random.exponential",
        "scale, size=None, closed form",
        lambda s: located("exponential", s),
        (positive(3, 2),),
        closed=lambda s: located("exponential", size=(3, 2)),
        float32=False,
    ),
    Form(
        "retape.random.exponential",
        "scale, size=",
        lambda s: np.log1p(located("exponential", s, (2, 3))),
        (positive(3),),
        float32=False,
    ),
    Form(
        "retape.random.truncated_normal",
        "loc and scale",
        lambda m, s: np.sin(located("truncated_normal", -1.0, 2.0, m, s, size=(2, 3))),
        (real(3), positive(2, 1)),
    ),
    Form(
        "retape.random.truncated_normal",
        "one bound, loc alone",
        lambda m: np.sin(located("truncated_normal", 3.0, np.inf, m)),
        (real(3),),
    ),
    Form(
        "retape.random.gamma",
        "scale alone, size=, second order",
        lambda s: np.log(located("gamma", 0.7, s, size=(4, 2))),
        (positive(2),),
        float32=False,
    ),
    Form(
        "retape.random.gamma",
        "equal draws of a traced shape have equal slopes",  # no difference of draws gives them: test_random.py has the rest
        lambda a: located("gamma", a) - located("gamma", a),
        (positive(2, 3),),
        order=1,
        closed=lambda a: np.zeros((2, 3)),
    ),
    Form(
        "retape.random.gamma",
        "scale alone, closed form",
        lambda s: located("gamma", 2.5, s, size=3),
        (positive(3),),
        closed=lambda s: located("gamma", 2.5, size=3),
        float32=False,
    ),
    Form(
        "retape.random.dropout",
        "2-d, closed form",
        lambda x: located("dropout", x, 0.4),
        (real(4, 5),),
        closed=lambda x: kept((4, 5)),
    ),
    Form("retape.random.dropout", "of a nonlinear function", lambda x: np.sin(located("dropout", x, 0.4)) * x, (real(4, 5),)),
    Form(
        "retape.random.dropout",
        "3-d, twice",
        lambda x: located("dropout", np.tanh(located("dropout", x, 0.2)), 0.5),
        (real(2, 3, 4),),
    ),
    Form("retape.random.dropout", "non-contiguous", lambda x: located("dropout", x.T[::-1], 0.4) ** 3, (real(4, 5),)),
    Form("retape.random.dropout", "0-d", lambda x: located("dropout", x, 0.1) ** 2, (real(),)),
    Form("retape.random.dropout", "empty", lambda x: located("dropout", x), (real(0, 2),)),
    Form("retape.random.dropout", "complex", lambda x: located("dropout", x, 0.4) * x, (cplx(4, 5),)),
    Form("retape.random.dropout", "rate=0", lambda x: located("dropout", x, rate=0) ** 2, (real(3),)),
    Form("retape.random.dropout", "rate=1", lambda x: located("dropout", x, rate=1) ** 2, (real(3),)),
    Form(
        "retape.random.dropout",
        "longer than a chunk of the mask",
        lambda x: np.sum(located("dropout", x * np.ones(40_000))),
        (real(1),),
        float32=False,
    ),
    Form(
        "retape.random.bernoulli",
        "a fixed p as a mask",
        lambda x: np.where(located("bernoulli", 0.4, x.shape), np.sin(x), x),
        (real(4, 5),),
    ),
    Form(
        "retape.random.bernoulli",
        "a traced p that is cut off",
        lambda p: np.where(located("bernoulli", 0.4 + 0 * rt.stop_gradient(p)), np.sin(p), p),
        (real(4, 5),),
    ),
    Form("retape.random.choice", "rows, with replacement", lambda x: located("choice", x, size=(2, 3)) ** 2, (real(4, 2),)),
    Form(
        "retape.random.choice",
        "axis=-1 and p=",
        lambda x: located("choice", x, 5, p=np.array([0.1, 0.2, 0.7]), axis=-1) ** 2,
        (real(2, 3),),
    ),
    Form("retape.random.choice", "replace=False, 1-d", lambda x: np.sin(located("choice", x, 3, replace=False)), (real(5),)),
    Form("retape.random.choice", "one element", lambda x: np.sin(located("choice", x)), (real(5),)),
    Form("retape.random.choice", "complex", lambda x: located("choice", x, 4) ** 2, (cplx(5),)),
    Form(
        "retape.random.permutation",
        "rows",
        lambda x: located("permutation", x) * np.arange(1, 5).reshape(4, 1),
        (real(4, 2),),
    ),
    Form("retape.random.permutation", "axis=1", lambda x: located("permutation", x, axis=1) * x, (real(4, 3),)),
    Form(
        "retape.random.permutation",
        "axis=-2 of 3-d",
        lambda x: np.sin(located("permutation", x, axis=-2)) * x,
        (real(2, 4, 3),),
    ),
]
