"""Forms of histograms: gradients of weights and of bin edges; counts are constants beside them."""

import numpy as np

from . import Form, cplx, distinct, positive, real

PLACES = np.array([3, 0, 1, 1, 5, 3, 3])
DATA = np.array([0.1, 0.9, 2.5, 1.7, 0.9, 3.3, 2.2])
POINTS = np.stack([DATA, DATA[::-1] ** 2], axis=1)
EDGES = np.array([0.0, 0.9, 1.0, 2.0, 3.3])

FORMS = [
    Form("numpy.bincount", "weights", lambda w: np.bincount(PLACES, w), (real(7),)),
    Form("numpy.bincount", "weights and minlength", lambda w: np.bincount(PLACES, weights=w, minlength=9) ** 2, (real(7),)),
    Form("numpy.bincount", "nothing to count", lambda w: np.bincount(PLACES[:0], w, 3) + np.sum(w), (real(0),)),
    Form("numpy.histogram", "weights", lambda w: np.histogram(DATA, 4, weights=w)[0] ** 2, (real(7),)),
    Form("numpy.histogram", "weights in 2-d", lambda w: np.histogram(DATA[:6].reshape(2, 3), 4, weights=w)[0], (real(2, 3),)),
    Form("numpy.histogram", "complex weights", lambda w: np.histogram(DATA, 4, weights=w)[0] ** 2, (cplx(7),)),
    Form("numpy.histogram", "weights and range", lambda w: np.histogram(DATA, 3, (0.5, 2.5), weights=w)[0], (real(7),)),
    Form("numpy.histogram", "weights and edges", lambda w: np.histogram(DATA, EDGES, weights=w)[0], (real(7),)),
    Form(
        "numpy.histogram", "density of weights", lambda w: np.histogram(DATA, 4, weights=w, density=True)[0], (positive(7),)
    ),
    Form(
        "numpy.histogram",
        "density of counts",
        lambda a: np.histogram(a, 4, density=True),
        (distinct(7) ** 1.3,),
        float32=False,
    ),
    Form(
        "numpy.histogram",
        "density and weights",
        lambda a, w: np.histogram(a, 3, weights=w, density=True),
        (distinct(7) ** 1.3, positive(7)),
    ),
    Form(
        "numpy.histogram",
        "traced edges",
        lambda a, e: np.histogram(a, e, density=True, weights=DATA),
        (distinct(7), np.array([0.1, 0.8, 1.5, 3.0])),
    ),
    Form(
        "numpy.histogram",
        "traced range",
        lambda w, low: np.histogram(DATA, 3, (low, 3.0), density=True, weights=w),
        (positive(7), np.array(0.3)),
        float32=False,
    ),
    Form("numpy.histogram_bin_edges", "a number", lambda a: np.histogram_bin_edges(a, 4) ** 2, (distinct(7),)),
    Form("numpy.histogram_bin_edges", "a rule", lambda a: np.histogram_bin_edges(a, "sturges") ** 2, (distinct(7),)),
    Form("numpy.histogram2d", "weights", lambda w: np.histogram2d(DATA, DATA**2, 3, weights=w)[0] ** 2, (real(7),)),
    Form(
        "numpy.histogram2d",
        "two numbers of bins, range, density",
        lambda w: np.histogram2d(DATA, DATA**2, [2, 3], [(0, 3), (0, 8)], density=True, weights=w)[0],
        (positive(7),),
    ),
    Form("numpy.histogram2d", "edges", lambda w: np.histogram2d(DATA, DATA, EDGES, weights=w)[0], (real(7),)),
    Form(
        "numpy.histogram2d",
        "traced points",
        lambda x, y, w: np.histogram2d(x, y, (2, 3), weights=w, density=True),
        (distinct(7) ** 1.3, distinct(7, seed=1) ** 1.3, positive(7)),
        float32=False,
    ),
    Form("numpy.histogramdd", "weights", lambda w: np.histogramdd(POINTS, (3, 2), weights=w)[0] ** 2, (real(7),)),
    Form("numpy.histogramdd", "a list", lambda w: np.histogramdd([DATA, DATA, DATA], 2, weights=w)[0] ** 2, (real(7),)),
    Form("numpy.histogramdd", "edges", lambda w: np.histogramdd(POINTS, (EDGES, EDGES**2), weights=w)[0], (real(7),)),
    Form(
        "numpy.histogramdd",
        "density of counts",
        lambda x: np.histogramdd(x, (2, [0.0, 1.0, 9.0]), density=True)[0],
        (distinct(7, 2),),
        float32=False,
    ),
]
