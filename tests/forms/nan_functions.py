"""Forms of the reductions that leave out NaN. (Central differences with NaN among the arguments: so it is put in.)"""

import numpy as np

from . import Form, cplx, distinct, real

HOLES = np.array([[False, True, False, False], [False, False, True, True], [True, False, False, False]])


def holed(f):
    """A program that applies `f` to its argument with some elements made NaN."""
    return lambda x, *args: f(np.where(HOLES, np.nan, x), *args)


def into(f):
    """A program that writes `f` of its argument into ``out=``."""

    def program(x):
        target = np.zeros_like(x[:, 0]) * np.sum(x)
        result = f(np.where(HOLES, np.nan, x), target)
        return target + 0 * result

    return program


WEIGHTS = np.array([[1.0, 2.0, 1.5, 0.5], [0.5, 1.0, 1.0, 2.0], [1.0, 1.0, 0.25, 2.0]])
MASK = np.array([[True, True, True, False], [True, True, False, True], [False, True, True, True]])

FORMS = [
    form
    for name, f, arg in (
        ("nansum", np.nansum, real(3, 4)),
        ("nanprod", np.nanprod, real(3, 4)),
        ("nanmean", np.nanmean, real(3, 4)),
        ("nanvar", np.nanvar, real(3, 4)),
        ("nanstd", np.nanstd, real(3, 4)),
        ("nanmax", np.nanmax, distinct(3, 4)),
        ("nanmin", np.nanmin, distinct(3, 4)),
        ("nanmedian", np.nanmedian, distinct(3, 4)),
    )
    for form in (
        Form(f"numpy.{name}", "of everything", holed(f), (arg,)),
        Form(f"numpy.{name}", "over an axis", holed(lambda x, f=f: f(x * x, axis=1)), (arg,)),
        Form(f"numpy.{name}", "over a negative axis, kept", holed(lambda x, f=f: f(x, axis=-2, keepdims=True) ** 2), (arg,)),
        Form(f"numpy.{name}", "over two axes", holed(lambda x, f=f: f(x[None] ** 2, axis=(0, 2))), (arg,)),
        Form(f"numpy.{name}", "without NaN", lambda x, f=f: f(x * x, axis=0), (arg,)),
        Form(f"numpy.{name}", "into out", into(lambda x, out, f=f: f(x, axis=1, out=out)), (arg,)),
        Form(f"numpy.{name}", "of a view in another order", holed(lambda x, f=f: f(x.T[::-1] ** 2, axis=0)), (arg,)),
    )
] + [
    Form("numpy.nansum", "of complex", holed(lambda x: np.nansum(x * x, axis=1)), (cplx(3, 4),)),
    Form(
        "numpy.nansum", "with initial and where", holed(lambda x: np.nansum(x * x, 0, initial=2.0, where=MASK)), (real(3, 4),)
    ),
    Form("numpy.nansum", "with dtype", holed(lambda x: np.nansum(x * x, 0, dtype=np.float64)), (real(3, 4),)),
    Form("numpy.nanprod", "of complex", holed(lambda x: np.nanprod(x, axis=1)), (cplx(3, 4),)),
    Form(
        "numpy.nanprod", "with initial and where", holed(lambda x: np.nanprod(x, 0, initial=2.0, where=MASK)), (real(3, 4),)
    ),
    Form("numpy.nanmean", "of complex", holed(lambda x: np.nanmean(x * x, axis=1)), (cplx(3, 4),)),
    Form("numpy.nanmean", "with where", holed(lambda x: np.nanmean(x * x, 0, where=MASK)), (real(3, 4),)),
    Form("numpy.nanmean", "with dtype", holed(lambda x: np.nanmean(x * x, 0, np.float64)), (real(3, 4),)),
    *(
        form
        for name, f in (("nanvar", np.nanvar), ("nanstd", np.nanstd))
        for form in (
            Form(f"numpy.{name}", "of complex", holed(lambda x, f=f: f(x, axis=1)), (cplx(3, 4),)),
            Form(f"numpy.{name}", "with ddof", holed(lambda x, f=f: f(x, axis=1, ddof=1)), (real(3, 4),)),
            Form(f"numpy.{name}", "with correction", holed(lambda x, f=f: f(x, axis=1, correction=0.5)), (real(3, 4),)),
            Form(f"numpy.{name}", "with where", holed(lambda x, f=f: f(x, where=MASK)), (real(3, 4),)),
            Form(f"numpy.{name}", "with a mean", holed(lambda x, m, f=f: f(x, axis=1, mean=m)), (real(3, 4), real(3, 1))),
            Form(f"numpy.{name}", "with dtype", holed(lambda x, f=f: f(x, axis=1, dtype=np.float64)), (real(3, 4),)),
        )
    ),
    Form("numpy.nanmax", "with initial", holed(lambda x: np.nanmax(x, axis=0, initial=2.0)), (distinct(3, 4),)),
    Form("numpy.nanmin", "with where", holed(lambda x: np.nanmin(x, axis=0, initial=9.0, where=MASK)), (distinct(3, 4),)),
    Form("numpy.nanmax", "of complex", holed(lambda x: np.nanmax(x, axis=1) ** 2), (cplx(3, 4),)),
    Form("numpy.nancumsum", "of everything", holed(lambda x: np.nancumsum(x * x)), (real(3, 4),)),
    Form("numpy.nancumsum", "over an axis", holed(lambda x: np.nancumsum(x * x, axis=-1)), (real(3, 4),)),
    Form("numpy.nancumsum", "of complex with dtype", holed(lambda x: np.nancumsum(x * x, 0, np.complex128)), (cplx(3, 4),)),
    Form("numpy.nancumprod", "of everything", holed(np.nancumprod), (real(3, 4),)),
    Form("numpy.nancumprod", "over an axis", holed(lambda x: np.nancumprod(x, axis=0)), (real(3, 4),)),
    Form("numpy.nanargmax", "is constant", holed(lambda x: x[np.nanargmax(x, axis=0), [0, 1, 2, 3]]), (distinct(3, 4),)),
    Form(
        "numpy.nanargmin",
        "is constant",
        holed(lambda x: x[[0, 1, 2], np.nanargmin(x, axis=1, keepdims=True).ravel()]),
        (distinct(3, 4),),
    ),
    *(
        Form(
            f"numpy.{name}",
            f"by method {method}",
            holed(lambda x, f=f, q=q, method=method: f(x, q, axis=1, method=method)),
            (distinct(3, 4),),
        )
        for name, f, q in (("nanquantile", np.nanquantile, [0.3, 0.8]), ("nanpercentile", np.nanpercentile, 45))
        for method in (
            "linear",
            "hazen",
            "lower",
            "nearest",
            "midpoint",
            "inverted_cdf",
            "averaged_inverted_cdf",
            "median_unbiased",
            "closest_observation",
        )
    ),
    Form(
        "numpy.nanquantile", "of everything, kept", holed(lambda x: np.nanquantile(x, 0.4, keepdims=True)), (distinct(3, 4),)
    ),
    Form(
        "numpy.nanquantile",
        "over two axes",
        holed(lambda x: np.nanquantile(x[None], [0.4, 0.1], axis=(0, 2))),
        (distinct(3, 4),),
    ),
    Form(
        "numpy.nanquantile",
        "in its fraction",
        holed(lambda x, q: np.nanquantile(x, q, axis=0)),
        (distinct(3, 4), np.array([0.21, 0.77])),
    ),
    Form(
        "numpy.nanquantile",
        "with weights",
        holed(lambda x: np.nanquantile(x, [0.4, 0.6], axis=1, method="inverted_cdf", weights=WEIGHTS)),
        (distinct(3, 4),),
    ),
    Form(
        "numpy.nanpercentile", "into out", into(lambda x, out: np.nanpercentile(x, 35.0, axis=1, out=out)), (distinct(3, 4),)
    ),
]
