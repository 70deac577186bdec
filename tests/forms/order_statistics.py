"""Forms of sorting, partitioning, medians, quantiles and sets of values."""

import numpy as np

from . import Form, cplx, distinct, positive, real

METHODS = (
    "inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen", "weibull",
    "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest",
)  # fmt: skip


def in_place(method, *args, **keywords):
    """A program that calls a method of a copy that changes it, and returns the copy."""

    def program(x):
        y = x * x
        getattr(y, method)(*args, **keywords)
        return y * np.reshape(np.arange(1.0, y.size + 1), y.shape)

    return program


def into(f):
    """A program that writes `f` of its argument into ``out=``."""

    def program(x):
        target = np.zeros_like(f(x)) * np.sum(x)
        result = f(x, out=target)
        return target + 0 * result

    return program


def turned(x):
    """A view that is not contiguous, of the same numbers."""
    return x.transpose(2, 0, 1)[:, ::-1]


SORTS = [
    Form(
        "numpy.sort",
        "of a vector",
        lambda x: np.sort(x) * np.arange(1, 6),
        (distinct(5),),
        closed=lambda x: np.argsort(np.argsort(x)) + 1.0,
        float32=False,
    ),
    Form("numpy.sort", "over the last axis", lambda x: np.sort(x * x), (distinct(3, 4),)),
    Form("numpy.sort", "over an axis", lambda x: np.sort(x * x, axis=0), (distinct(3, 4, 2),)),
    Form("numpy.sort", "of everything", lambda x: np.sort(x * x, axis=None), (distinct(3, 4),)),
    *(
        Form("numpy.sort", f"of kind {k}", lambda x, k=k: np.sort(x * x, kind=k), (distinct(3, 4),))
        for k in ("quicksort", "mergesort", "heapsort", "stable")
    ),
    Form("numpy.sort", "stable", lambda x: np.sort(x * x, axis=-2, stable=True), (distinct(3, 4),)),
    Form("numpy.sort", "descending", lambda x: np.sort(x * x)[::-1], (distinct(5),)),
    Form("numpy.sort", "of complex", lambda x: np.sort(x, axis=1) ** 2, (cplx(3, 4),)),
    Form("numpy.sort", "of a view in another order", lambda x: np.sort(turned(x) ** 2, axis=0), (distinct(2, 3, 4),)),
    Form("numpy.sort", "of one and of nothing", lambda x: [np.sort(x[:1]), np.sort(x[:0])], (distinct(3),)),
    Form("numpy.ndarray.sort", "in place", in_place("sort"), (distinct(3, 4),)),
    Form("numpy.ndarray.sort", "in place over an axis", in_place("sort", 0), (distinct(3, 4),)),
    Form("numpy.sort_complex", "of complex", lambda x: np.sort_complex(x) ** 2, (cplx(5),)),
    Form("numpy.sort_complex", "of real", lambda x: np.sort_complex(x * x), (distinct(5),)),
    *(
        Form("numpy.partition", f"about {kth}", lambda x, kth=kth: np.partition(x * x, kth), (distinct(40),))
        for kth in (0, 3, 20, -1)
    ),
    Form("numpy.partition", "about several", lambda x: np.partition(x * x, (3, 9)), (distinct(2, 30),)),
    Form("numpy.partition", "over an axis", lambda x: np.partition(x * x, 2, axis=0), (distinct(11, 3),)),
    Form("numpy.partition", "of everything", lambda x: np.partition(x * x, 7, axis=None), (distinct(5, 4),)),
    Form("numpy.partition", "of complex", lambda x: np.partition(x, 3) ** 2, (cplx(12),)),
    Form("numpy.argsort", "is constant", lambda x: x[np.argsort(x)] ** 2, (distinct(5),)),
    Form("numpy.argpartition", "is constant", lambda x: x[np.argpartition(x, 2)[:3]] ** 2, (distinct(5),)),
    Form("numpy.lexsort", "is constant", lambda x, y: x[np.lexsort((x, y))] ** 2, (distinct(5), distinct(5, seed=1))),
    Form("numpy.searchsorted", "is constant", lambda x: x * np.searchsorted(np.sort(x), 1.0), (distinct(5),)),
    Form("numpy.isin", "is constant", lambda x: x * np.isin(x, x[:2]), (distinct(5),)),
]
MEDIANS = [
    Form("numpy.median", "of an odd number", np.median, (distinct(7),), closed=lambda x: np.float64(x == np.median(x))),
    Form("numpy.median", "of an even number", np.median, (distinct(3, 4),)),
    Form("numpy.median", "over an axis", lambda x: np.median(x * x, axis=0), (distinct(3, 4),)),
    Form("numpy.median", "over a negative axis, kept", lambda x: np.median(x * x, axis=-1, keepdims=True), (distinct(3, 4),)),
    Form("numpy.median", "over two axes", lambda x: np.median(x * x, axis=(0, -1)), (distinct(2, 5, 3),)),
    Form("numpy.median", "over two axes, kept", lambda x: np.median(x * x, axis=(2, 0), keepdims=True), (distinct(2, 5, 3),)),
    Form("numpy.median", "overwriting", lambda x: np.median(x * x, axis=1, overwrite_input=True), (distinct(3, 4),)),
    Form("numpy.median", "into out", into(lambda x, out=None: np.median(x, axis=1, out=out)), (distinct(3, 4),)),
    Form("numpy.median", "of complex", lambda x: np.median(x, axis=0) ** 2, (cplx(3, 4),)),
    Form("numpy.median", "of a view in another order", lambda x: np.median(turned(x) ** 2, axis=0), (distinct(2, 3, 5),)),
    Form("numpy.median", "of a scalar", lambda x: np.median(x * x), (np.array(1.5),)),
]
QUANTILES = [
    form
    for method in METHODS
    for form in (
        Form("numpy.quantile", f"by {method}", lambda x, m=method: np.quantile(x * x, 0.37, method=m), (distinct(7),)),
        Form(
            "numpy.quantile",
            f"by {method}, several",
            lambda x, m=method: np.quantile(x * x, [0.0, 0.25, 0.5, 0.9, 1.0], axis=1, method=m),
            (distinct(3, 4),),
        ),
        Form(
            "numpy.percentile",
            f"by {method}",
            lambda x, m=method: np.percentile(x * x, [20, 60], axis=0, method=m, keepdims=True),
            (distinct(5, 3),),
        ),
        Form(
            "numpy.quantile",
            f"by {method}, in its fraction",
            lambda x, q, m=method: np.quantile(x, q, axis=0, method=m),
            (distinct(5, 3), np.array([0.13, 0.47, 0.91])),
        ),
    )
] + [
    Form("numpy.quantile", "over two axes", lambda x: np.quantile(x * x, 0.3, axis=(0, -1)), (distinct(2, 5, 3),)),
    Form(
        "numpy.quantile",
        "over two axes, kept",
        lambda x: np.quantile(x * x, [0.3, 0.6], (2, 0), keepdims=True),
        (distinct(2, 5, 3),),
    ),
    Form(
        "numpy.quantile", "of fractions in two dimensions", lambda x: np.quantile(x * x, [[0.3, 0.6]], 1), (distinct(3, 5),)
    ),
    Form("numpy.quantile", "of whole fractions", lambda x: np.quantile(x * x, [0, 1], axis=0), (distinct(3, 5),)),
    Form("numpy.quantile", "of one end", lambda x: np.quantile(x * x, 1, axis=0), (distinct(3, 5),)),
    Form("numpy.quantile", "into out", into(lambda x, out=None: np.quantile(x, 0.3, axis=1, out=out)), (distinct(3, 4),)),
    Form("numpy.quantile", "of a view in another order", lambda x: np.quantile(turned(x), 0.3, axis=0), (distinct(2, 3, 5),)),
    Form(
        "numpy.quantile",
        "with weights",
        lambda x: np.quantile(x, 0.4, method="inverted_cdf", weights=[1.0, 2.0, 0.5, 1.5]) ** 2,
        (distinct(4),),
    ),
    Form(
        "numpy.quantile",
        "with weights of an axis",
        lambda x: np.quantile(x * x, [0.1, 0.7], axis=1, method="inverted_cdf", weights=positive(4)),
        (distinct(3, 4),),
    ),
    Form(
        "numpy.quantile",
        "with weights of everything",
        lambda x, w: np.quantile(x * x, [0.1, 0.7], axis=0, method="inverted_cdf", weights=w, keepdims=True),
        (distinct(3, 4), positive(3, 4)),
    ),
    Form(
        "numpy.percentile",
        "with weights",
        lambda x: np.percentile(x * x, 40, axis=1, method="inverted_cdf", weights=positive(4)),
        (distinct(3, 4),),
    ),
    Form("numpy.percentile", "of a scalar", lambda x: np.percentile(x * x, 40), (np.array(1.5),)),
    Form("numpy.percentile", "in its fraction", lambda x, q: np.percentile(x, q), (distinct(5), np.array(33.0))),
]
SETS = [
    Form("numpy.unique", "of everything", lambda x: np.unique(x * x), (distinct(3, 4),)),
    Form("numpy.unique", "with all else", lambda x: np.unique(x * x, True, True, True)[0], (distinct(3, 4),)),
    Form("numpy.unique", "with counts", lambda x: np.unique(x * x, return_counts=True)[0], (distinct(5),)),
    Form("numpy.unique", "over an axis", lambda x: np.unique(x * x, axis=1), (distinct(3, 4),)),
    Form("numpy.unique", "not sorted", lambda x: np.unique(x * x, sorted=False), (distinct(7),)),
    Form("numpy.unique", "by its inverse", lambda x: x * np.unique(x, return_inverse=True)[1], (distinct(5),), float32=False),
    Form("numpy.unique_values", "of everything", lambda x: np.unique_values(x * x), (distinct(7),)),
    Form("numpy.unique_counts", "of everything", lambda x: np.unique_counts(x * x).values, (distinct(7),)),
    Form("numpy.unique_inverse", "of everything", lambda x: np.unique_inverse(x * x).values, (distinct(7),)),
    Form("numpy.unique_all", "of everything", lambda x: np.unique_all(x * x).values, (distinct(7),)),
    Form("numpy.union1d", "of two", lambda x, y: np.union1d(x * x, y), (distinct(4), real(5))),
    Form("numpy.union1d", "with a plain one", lambda x: np.union1d(x * x, np.array([100.0])), (distinct(4),), float32=False),
    Form("numpy.intersect1d", "of two", lambda x: np.intersect1d(x * x, (x * x)[1:3]), (distinct(4),)),
    Form(
        "numpy.intersect1d",
        "with places",
        lambda x: np.intersect1d(x * x, (x * x)[1:3], assume_unique=True, return_indices=True)[0],
        (distinct(4),),
    ),
    Form("numpy.setdiff1d", "of two", lambda x: np.setdiff1d(x * x, (x * x)[1:3]), (distinct(5),)),
    Form("numpy.setdiff1d", "of unique ones", lambda x: np.setdiff1d(x * x, (x * x)[1:3], True), (distinct(5),)),
    Form(
        "numpy.setxor1d", "of two", lambda x, y: np.setxor1d(x * x, np.concatenate([y, (x * x)[:2]])), (distinct(4), real(3))
    ),
]
FORMS = SORTS + MEDIANS + QUANTILES + SETS
