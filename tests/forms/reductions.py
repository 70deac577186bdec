"""Forms of sums, products, extrema, means, variances, covariances and softmax."""

import numpy as np

import retape as rt

from . import Form, cplx, distinct, positive, real

MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]])
ZEROS = np.array([[2.0, 0.0, 3.0, 1.5], [0.0, 5.0, 0.0, 0.5], [1.0, 2.0, -1.0, 3.0]])


def others(x):
    """The product of all the other elements of a vector."""
    return np.array([np.prod(np.delete(x, k)) for k in range(x.size)])


def turned(x):
    """A view that is not contiguous, of the same numbers."""
    return x.transpose(2, 0, 1)[:, ::-1]


def into(f):
    """A program that writes `f` of its argument into ``out=``."""

    def program(x):
        y = f(x * x)
        target = np.zeros_like(y) * np.sum(x)
        result = f(x, out=target)
        return target + 0 * result

    return program


SUMS = [
    Form("numpy.sum", "of everything", np.sum, (real(3, 4),), closed=np.ones_like),
    Form("numpy.sum", "over an axis", lambda x: np.sum(x * x, axis=1), (real(3, 4),), closed=lambda x: 2 * x),
    Form("numpy.sum", "over a negative axis, kept", lambda x: np.sum(x * x, axis=-2, keepdims=True), (real(3, 4),)),
    Form("numpy.sum", "over two axes", lambda x: np.sum(x * x, axis=(0, -1)), (real(2, 3, 4),)),
    Form("numpy.sum", "over no axis", lambda x: np.sum(x * x, axis=()), (real(2, 3),)),
    Form("numpy.sum", "keepdims=1", lambda x: np.sum(x * x, keepdims=1), (real(2, 3),)),
    Form("numpy.sum", "in double precision", lambda x: np.sum(x * x, axis=0, dtype=np.float64), (real(3, 4),)),
    Form("numpy.sum", "as complex", lambda x: np.sum(x, axis=0, dtype=np.complex128) ** 2, (real(3, 4),)),
    Form("numpy.sum", "with initial", lambda x: np.sum(x * x, axis=0, initial=3.0), (real(3, 4),)),
    Form(
        "numpy.sum", "with where", lambda x: np.sum(x * x, axis=1, where=MASK), (real(3, 4),), closed=lambda x: 2 * x * MASK
    ),
    Form("numpy.sum", "with a broadcast where", lambda x: np.sum(x * x, where=[True, False, True, True]), (real(3, 4),)),
    Form("numpy.sum", "with where that is traced", lambda x: np.sum(x * x, axis=0, where=x > 0), (real(3, 4),)),
    Form("numpy.sum", "into out", into(lambda x, out=None: np.sum(x, axis=1, out=out)), (real(3, 4),)),
    Form("numpy.sum", "of a scalar", lambda x: np.sum(x) * np.sum(x, axis=0), (np.array(1.5),)),
    Form("numpy.sum", "of a view in another order", lambda x: np.sum(turned(x) ** 2, axis=0), (real(2, 3, 4),)),
    Form("numpy.sum", "of complex", lambda x: np.sum(x * x, axis=0), (cplx(3, 4),)),
    Form("numpy.sum", "of nothing", lambda x: np.sum(x[:0]) + np.sum(x[:0], axis=0) + x, (real(3),)),
    Form("numpy.ndarray.sum", "positional", lambda x: (x * x).sum(0, None, None, True), (real(3, 4),)),
    Form("numpy.add.reduce", "over the first axis", lambda x: np.add.reduce(x * x), (real(3, 4),)),
    Form(
        "numpy.add.reduce",
        "with initial, where and keepdims",
        lambda x: np.add.reduce(x * x, axis=1, keepdims=True, initial=1.0, where=MASK),
        (real(3, 4),),
    ),
    Form("numpy.add.reduce", "over everything", lambda x: np.add.reduce(x * x, axis=None), (real(3, 4),)),
    Form("numpy.add.accumulate", "over the last axis", lambda x: np.add.accumulate(x * x, -1), (real(3, 4),)),
    Form("numpy.cumsum", "of a vector", lambda x: np.cumsum(x * x), (real(5),), closed=lambda x: 2 * x * np.arange(5, 0, -1)),
    Form("numpy.cumsum", "of everything", lambda x: np.cumsum(x * x), (real(2, 3),)),
    Form("numpy.cumsum", "over a negative axis", lambda x: np.cumsum(x * x, axis=-2), (real(2, 3, 2),)),
    Form("numpy.cumsum", "of a view in another order", lambda x: np.cumsum(turned(x) ** 2, axis=1), (real(2, 3, 4),)),
    Form("numpy.cumsum", "in double precision", lambda x: np.cumsum(x * x, axis=0, dtype=np.float64), (real(3, 4),)),
    Form("numpy.cumsum", "into out", into(lambda x, out=None: np.cumsum(x, axis=1, out=out)), (real(3, 4),)),
    Form("numpy.cumsum", "of complex", lambda x: np.cumsum(x * x, axis=0), (cplx(3, 2),)),
    Form("numpy.cumsum", "of a scalar", lambda x: np.cumsum(x * x), (np.array(1.5),)),
    Form("numpy.cumulative_sum", "of a vector", lambda x: np.cumulative_sum(x * x), (real(4),)),
    Form(
        "numpy.cumulative_sum",
        "with the initial zero",
        lambda x: np.cumulative_sum(x * x, axis=1, include_initial=True),
        (real(2, 3),),
    ),
    Form(
        "numpy.cumulative_sum", "with dtype", lambda x: np.cumulative_sum(x * x, axis=0, dtype=np.complex128), (real(2, 3),)
    ),
    Form("numpy.count_nonzero", "is constant", lambda x: x * np.count_nonzero(x > 0, axis=0, keepdims=True), (real(3, 4),)),
]
PRODUCTS = [
    Form("numpy.prod", "of everything", np.prod, (positive(3, 4),), closed=lambda x: np.prod(x) / x),
    Form(
        "numpy.prod", "over an axis", lambda x: np.prod(x, axis=1), (real(3, 4),), closed=lambda x: np.prod(x, 1)[:, None] / x
    ),
    Form("numpy.prod", "over a negative axis, kept", lambda x: np.prod(x, axis=-2, keepdims=True), (real(3, 4),)),
    Form("numpy.prod", "over two axes", lambda x: np.prod(x, axis=(0, 2)), (real(2, 3, 3),)),
    Form("numpy.prod", "over three axes", lambda x: np.prod(x, axis=(2, 0, 1)), (real(2, 2, 3),)),
    Form("numpy.prod", "with no, one and two zeros", lambda x: np.prod(x, axis=1), (ZEROS,)),
    Form("numpy.prod", "with one zero", np.prod, (np.array([2.0, 0.0, 3.0]),), order=3, closed=others),
    Form("numpy.prod", "with two zeros", np.prod, (np.array([0.0, 2.0, 0.0, 3.0]),), order=3, closed=others),
    Form("numpy.prod", "with three zeros", np.prod, (np.array([0.0, 2.0, 0.0, 0.0, 3.0]),), order=3, closed=others),
    Form("numpy.prod", "of one", lambda x: np.prod(x, axis=1), (real(3, 1),)),
    Form("numpy.prod", "of two", lambda x: np.prod(x, axis=0), (real(2, 3),)),
    Form("numpy.prod", "of nothing", lambda x: np.prod(x[:0]) * np.prod(x[:0], axis=0) * x, (real(3),)),
    Form("numpy.prod", "of a scalar", lambda x: np.prod(x) * np.prod(x, axis=-1), (np.array(1.5),)),
    Form("numpy.prod", "of many", lambda x: np.prod(x), (positive(37),)),
    Form("numpy.prod", "with initial", lambda x: np.prod(x, axis=0, initial=3.0), (real(3, 4),)),
    Form("numpy.prod", "with where", lambda x: np.prod(x, axis=1, where=MASK), (real(3, 4),)),
    Form("numpy.prod", "with dtype", lambda x: np.prod(x, axis=1, dtype=np.float64), (real(3, 4),)),
    Form("numpy.prod", "into out", into(lambda x, out=None: np.prod(x, axis=1, out=out)), (real(3, 4),)),
    Form("numpy.prod", "of complex", lambda x: np.prod(x, axis=0), (cplx(3, 4),)),
    Form("numpy.prod", "of a view in another order", lambda x: np.prod(turned(x), axis=0), (real(2, 3, 4),)),
    Form("numpy.ndarray.prod", "over an axis", lambda x: x.prod(1), (real(3, 4),)),
    Form("numpy.multiply.reduce", "over the first axis", lambda x: np.multiply.reduce(x), (real(3, 4),)),
    Form("numpy.multiply.accumulate", "over the first axis", lambda x: np.multiply.accumulate(x), (real(3, 4),)),
    Form("numpy.cumprod", "of a vector", lambda x: np.cumprod(x), (real(7),)),
    Form("numpy.cumprod", "of everything", lambda x: np.cumprod(x), (real(2, 3),)),
    Form("numpy.cumprod", "over an axis", lambda x: np.cumprod(x, axis=0), (real(5, 3),)),
    Form("numpy.cumprod", "over a negative axis", lambda x: np.cumprod(x, axis=-2), (real(2, 4, 2),)),
    Form("numpy.cumprod", "with zeros", lambda x: np.cumprod(x, axis=1), (ZEROS,), order=3),
    Form("numpy.cumprod", "of one and of nothing", lambda x: [np.cumprod(x, axis=1), np.cumprod(x[:0]) + 1], (real(3, 1),)),
    Form("numpy.cumprod", "of many", lambda x: np.cumprod(x), (positive(21),)),
    Form("numpy.cumprod", "with dtype", lambda x: np.cumprod(x, axis=1, dtype=np.float64), (real(3, 4),)),
    Form("numpy.cumprod", "into out", into(lambda x, out=None: np.cumprod(x, axis=1, out=out)), (real(3, 4),)),
    Form("numpy.cumprod", "of complex", lambda x: np.cumprod(x, axis=0), (cplx(4, 2),)),
    Form("numpy.cumprod", "of a scalar", lambda x: np.cumprod(x * x), (np.array(1.5),)),
    Form("numpy.cumprod", "of a view in another order", lambda x: np.cumprod(turned(x), axis=2), (real(2, 3, 4),)),
    Form("numpy.cumulative_prod", "of a vector", lambda x: np.cumulative_prod(x), (real(4),)),
    Form(
        "numpy.cumulative_prod",
        "with the initial one",
        lambda x: np.cumulative_prod(x, axis=-1, include_initial=True),
        (real(2, 3),),
    ),
]
EXTREMA = [
    form
    for name, f, worst in (("max", np.max, -9.0), ("min", np.min, 9.0))
    for form in (
        Form(f"numpy.{name}", "of everything", f, (distinct(3, 4),), closed=lambda x, f=f: np.float64(x == f(x))),
        Form(f"numpy.{name}", "over an axis", lambda x, f=f: f(x * x, axis=1), (distinct(3, 4),)),
        Form(
            f"numpy.{name}", "over a negative axis, kept", lambda x, f=f: f(x * x, axis=-2, keepdims=True), (distinct(3, 4),)
        ),
        Form(f"numpy.{name}", "over two axes", lambda x, f=f: f(x * x, axis=(0, 2)), (distinct(2, 3, 2),)),
        Form(f"numpy.{name}", "with initial", lambda x, f=f: f(x, axis=0, initial=2.0), (distinct(3, 4),)),
        Form(f"numpy.{name}", "with where", lambda x, f=f, w=worst: f(x, axis=1, where=MASK, initial=w), (distinct(3, 4),)),
        Form(
            f"numpy.{name}", "of nothing, with initial", lambda x, f=f: f(x[:0], axis=0, initial=2.0) * x, (distinct(3, 4),)
        ),
        Form(f"numpy.{name}", "into out", into(lambda x, out=None, f=f: f(x, axis=1, out=out)), (distinct(3, 4),)),
        Form(f"numpy.{name}", "of a scalar", lambda x, f=f: f(x) * f(x, axis=0), (np.array(1.5),)),
        Form(f"numpy.{name}", "of complex", lambda x, f=f: f(x, axis=0) ** 2, (cplx(3, 4),)),
        Form(f"numpy.{name}", "of a view in another order", lambda x, f=f: f(turned(x) ** 2, axis=0), (distinct(2, 3, 4),)),
        Form(f"numpy.ndarray.{name}", "over an axis", lambda x, n=name: getattr(x, n)(1) ** 2, (distinct(3, 4),)),
        Form(
            f"numpy.{name}imum.reduce",
            "over the first axis",
            lambda x, n=name: getattr(np, f"{n}imum").reduce(x * x),
            (distinct(3, 4),),
        ),
        Form(
            f"numpy.{name}imum.reduce",
            "with keywords",
            lambda x, n=name, w=worst: getattr(np, f"{n}imum").reduce(x, axis=1, keepdims=True, initial=w, where=MASK),
            (distinct(3, 4),),
        ),
        Form(f"numpy.a{name}", "is the same", lambda x, n=name: getattr(np, f"a{n}")(x * x, axis=1), (distinct(3, 4),)),
        Form(f"numpy.arg{name}", "is constant", lambda x, n=name: x[getattr(np, f"arg{n}")(x, axis=0)], (distinct(3, 4),)),
    )
] + [
    Form("numpy.ptp", "of everything", np.ptp, (distinct(3, 4),)),
    Form("numpy.ptp", "over an axis, kept", lambda x: np.ptp(x * x, axis=-1, keepdims=True), (distinct(3, 4),)),
    Form("numpy.ptp", "over two axes", lambda x: np.ptp(x * x, axis=(0, 1)), (distinct(2, 3, 2),)),
    Form("numpy.ptp", "into out", into(lambda x, out=None: np.ptp(x, axis=1, out=out)), (distinct(3, 4),)),
    *(
        Form(
            f"numpy.{f.__name__}",
            "with where, from a traced start",
            lambda x, s, f=f: f(x, axis=1, where=MASK[:, :3], initial=s) ** 2,
            (distinct(3, 3), np.float64(start)),
        )
        for f, start in [(np.max, 2.0), (np.amax, 1.0), (np.min, 1.0), (np.amin, 2.0), (np.nanmax, 2.0), (np.nanmin, 1.0)]
    ),
    Form("numpy.all", "is constant", lambda x: x * np.all(x > 0.2, axis=0, where=MASK), (distinct(3, 4),)),
    Form("numpy.any", "is constant", lambda x: x * np.any(x > 4, axis=0, where=MASK, keepdims=True), (distinct(3, 4),)),
]
STATISTICS = [
    Form("numpy.mean", "of everything", np.mean, (real(3, 4),), closed=lambda x: np.full((3, 4), 1 / 12)),
    Form("numpy.mean", "over an axis", lambda x: np.mean(x * x, axis=1), (real(3, 4),)),
    Form("numpy.mean", "over axes, kept", lambda x: np.mean(x * x, axis=(0, -1), keepdims=True), (real(2, 3, 4),)),
    Form("numpy.mean", "with dtype", lambda x: np.mean(x * x, axis=0, dtype=np.float64), (real(3, 4),)),
    Form(
        "numpy.var", "of real numbers, in complex ones", lambda x: np.var(x, 0, np.complex128), (real(3, 2),), float32=False
    ),
    Form(
        "numpy.std", "of real numbers, in complex ones", lambda x: np.std(x, 0, np.complex128), (real(3, 2),), float32=False
    ),
    Form("numpy.mean", "with where", lambda x: np.mean(x * x, axis=1, where=MASK), (real(3, 4),)),
    Form("numpy.mean", "with where, kept", lambda x: np.mean(x * x, axis=1, where=MASK, keepdims=True), (real(3, 4),)),
    Form("numpy.mean", "into out", into(lambda x, out=None: np.mean(x, axis=1, out=out)), (real(3, 4),)),
    Form("numpy.mean", "of complex", lambda x: np.mean(x * x, axis=0), (cplx(3, 4),)),
    Form("numpy.mean", "of complex with where", lambda x: np.mean(x * x, axis=1, where=MASK), (cplx(3, 4),)),
    Form("numpy.mean", "of a scalar", lambda x: np.mean(x * x), (np.array(1.5),)),
    Form("numpy.ndarray.mean", "over an axis", lambda x: (x * x).mean(0), (real(3, 4),)),
    *(
        form
        for name, f in (("var", np.var), ("std", np.std))
        for form in (
            Form(f"numpy.{name}", "of everything", f, (real(3, 4),)),
            Form(f"numpy.{name}", "over an axis", lambda x, f=f: f(x, axis=0), (real(3, 4),)),
            Form(f"numpy.{name}", "over axes, kept", lambda x, f=f: f(x, axis=(0, -1), keepdims=True), (real(2, 3, 4),)),
            Form(f"numpy.{name}", "with ddof", lambda x, f=f: f(x, axis=1, ddof=1), (real(3, 4),)),
            Form(f"numpy.{name}", "with correction", lambda x, f=f: f(x, axis=1, correction=1.5), (real(3, 4),)),
            Form(f"numpy.{name}", "with dtype", lambda x, f=f: f(x, axis=1, dtype=np.float64), (real(3, 4),)),
            Form(f"numpy.{name}", "with where", lambda x, f=f: f(x, axis=1, where=MASK, ddof=1), (real(3, 4),)),
            Form(
                f"numpy.{name}",
                "with its mean",
                lambda x, f=f: f(x, axis=1, mean=np.mean(x, 1, keepdims=True)),
                (real(3, 4),),
            ),
            Form(f"numpy.{name}", "with another mean", lambda x, m, f=f: f(x, axis=1, mean=m), (real(3, 4), real(3, 1))),
            Form(f"numpy.{name}", "into out", into(lambda x, out=None, f=f: f(x, axis=1, out=out)), (real(3, 4),)),
            Form(f"numpy.{name}", "of complex", lambda x, f=f: f(x, axis=0), (cplx(3, 4),)),
            Form(f"numpy.{name}", "of complex with where", lambda x, f=f: f(x, axis=1, where=MASK, ddof=1), (cplx(3, 4),)),
            Form(f"numpy.{name}", "of a view in another order", lambda x, f=f: f(turned(x), axis=0), (real(2, 3, 4),)),
            Form(
                f"numpy.ndarray.{name}", "positional", lambda x, n=name: getattr(x, n)(1, None, None, 1, True), (real(3, 4),)
            ),
        )
    ),
    Form("numpy.average", "without weights", lambda x: np.average(x * x, axis=1), (real(3, 4),)),
    Form("numpy.average", "with weights", lambda x, w: np.average(x, weights=w), (real(3, 4), positive(3, 4))),
    Form(
        "numpy.average", "with weights of an axis", lambda x, w: np.average(x, axis=-1, weights=w), (real(3, 4), positive(4))
    ),
    Form(
        "numpy.average",
        "with weights of two axes",
        lambda x, w: np.average(x, axis=(2, 0), weights=w),
        (real(2, 3, 4), positive(4, 2)),
    ),
    Form(
        "numpy.average",
        "returned",
        lambda x, w: np.average(x, axis=0, weights=w, returned=True),
        (real(3, 4), positive(3, 4)),
    ),
    Form("numpy.average", "returned without weights", lambda x: np.average(x * x, 0, None, True), (real(3, 4),)),
    Form(
        "numpy.average",
        "returned, of an axis",
        lambda x, w: np.average(x, axis=0, weights=w, returned=True, keepdims=True),
        (real(3, 4), positive(3)),
    ),
    Form(
        "numpy.average",
        "with a list of weights",
        lambda x: np.average(x * x, axis=0, weights=[1, 2, 3]),
        (real(3, 4),),
        float32=False,
    ),
    Form("numpy.average", "of complex", lambda x, w: np.average(x, axis=0, weights=w), (cplx(3, 4), positive(3))),
    Form("numpy.cov", "of variables in rows", np.cov, (real(3, 5),)),
    Form("numpy.cov", "of variables in columns", lambda x: np.cov(x, rowvar=False), (real(3, 5),)),
    Form("numpy.cov", "of a vector", np.cov, (real(5),)),
    Form("numpy.cov", "with another", lambda x, y: np.cov(x, y), (real(2, 5), real(5))),
    Form("numpy.cov", "with another in columns", lambda x, y: np.cov(x, y, rowvar=False), (real(5, 2), real(5, 3))),
    Form("numpy.cov", "biased", lambda x: np.cov(x, bias=True), (real(3, 5),)),
    Form("numpy.cov", "with ddof", lambda x: np.cov(x, ddof=2), (real(3, 5),)),
    Form("numpy.cov", "with frequencies", lambda x: np.cov(x, fweights=[1, 2, 3, 1, 2]), (real(3, 5),)),
    Form("numpy.cov", "with weights", lambda x, w: np.cov(x, aweights=w), (real(3, 5), positive(5))),
    Form(
        "numpy.cov",
        "with both weights",
        lambda x, w: np.cov(x, fweights=[1, 2, 3, 1, 2], aweights=w),
        (real(3, 5), positive(5)),
    ),
    Form("numpy.cov", "with weights, biased", lambda x, w: np.cov(x, aweights=w, bias=True), (real(3, 5), positive(5))),
    Form("numpy.cov", "with dtype", lambda x: np.cov(x, dtype=np.float64), (real(3, 5),)),
    Form("numpy.cov", "of complex", np.cov, (cplx(3, 5),)),
    Form("numpy.cov", "of complex with weights", lambda x, w: np.cov(x, aweights=w), (cplx(3, 5), positive(5))),
    Form("numpy.corrcoef", "of variables in rows", np.corrcoef, (real(3, 5),)),
    Form("numpy.corrcoef", "of variables in columns", lambda x: np.corrcoef(x, rowvar=False), (real(5, 3),)),
    Form("numpy.corrcoef", "with another", lambda x, y: np.corrcoef(x, y), (real(5), real(5, seed=1))),
    Form("numpy.corrcoef", "with dtype", lambda x: np.corrcoef(x, dtype=np.float64), (real(3, 5),)),
    Form("numpy.corrcoef", "of complex", np.corrcoef, (cplx(3, 5),)),
    Form("numpy.corrcoef", "of one variable", lambda x: np.corrcoef(x) * x, (real(5),), tolerance=1e-5),
]
SOFTMAX = [
    Form("retape.softmax", "over the last axis", rt.softmax, (real(3, 4),)),
    Form("retape.softmax", "over the first axis", lambda x: rt.softmax(x, axis=0), (real(3, 4),)),
    Form("retape.softmax", "over two axes", lambda x: rt.softmax(x, axis=(0, -1)), (real(2, 3, 2),)),
    Form("retape.softmax", "over everything", lambda x: rt.softmax(x, axis=None), (real(3, 4),)),
    Form("retape.softmax", "of complex", lambda x: rt.softmax(x), (cplx(3, 4),)),
    Form("retape.softmax", "of a scalar", lambda x: rt.softmax(x, None) * x, (np.array(1.5),)),
    Form("retape.log_softmax", "over the last axis", rt.log_softmax, (real(3, 4),)),
    Form("retape.log_softmax", "over two axes", lambda x: rt.log_softmax(x, (1, 2)), (real(2, 3, 2),)),
    Form("retape.log_softmax", "over everything", lambda x: rt.log_softmax(x, None), (real(3, 4),)),
    Form("retape.logsumexp", "over the last axis", rt.logsumexp, (real(3, 4),), closed=lambda x: rt.softmax(x)),
    Form("retape.logsumexp", "over two axes, kept", lambda x: rt.logsumexp(x, (0, 2), keepdims=True), (real(2, 3, 4),)),
    Form("retape.logsumexp", "over everything", lambda x: rt.logsumexp(x, None), (real(3, 4),)),
    Form("retape.logsumexp", "weighted", lambda x, b: rt.logsumexp(x, 1, b=b), (real(3, 4), positive(3, 4))),
    Form(
        "retape.logsumexp",
        "with broadcast weights",
        lambda x, b: rt.logsumexp(x, 0, b=b, keepdims=True),
        (real(4), positive(3, 1)),
    ),
    Form(
        "retape.logsumexp", "with a weight of zero", lambda x, b: rt.logsumexp(x, b=b), (real(3), np.array([1.0, 0.0, 2.0]))
    ),
    Form("retape.logsumexp", "of complex", lambda x: rt.logsumexp(x, 0), (cplx(3, 4),)),
]
FORMS = SUMS + PRODUCTS + EXTREMA + STATISTICS + SOFTMAX
