"""scipy.stats: densities, distribution functions, quantiles and entropies in the argument and in every parameter."""

import importlib.util

import numpy as np

from . import Form, matrix, positive, real

FORMS = []

if importlib.util.find_spec("scipy"):
    from retape.runtime.scipy import stats

    X, U = positive(4), np.array([0.15, 0.4, 0.62, 0.9])
    LOC, SCALE = np.array(-0.2), np.array(1.3)

    def add(name, text, f, *args, **keywords):
        FORMS.append(Form(f"scipy.stats.{name}", text, f, args, **keywords))

    def family(name, shapes, argument, *methods, constant=()):
        """Add a distribution's methods with location and scale; `constant` methods have no derivative in the shapes."""
        distribution = getattr(stats, name)
        loc = LOC if argument is X else np.array(0.05)
        for method in methods:
            function = getattr(distribution, method)
            if method == "entropy":
                add(f"{name}.entropy", "shapes and scale", lambda *a, f=function: f(*a[:-1], scale=a[-1]), *shapes, SCALE)
            elif method in constant:
                fixed = [float(s) for s in shapes]
                at = U if method in ("ppf", "isf") else argument

                def called(x, m, s, function=function, fixed=fixed):
                    return function(x, *fixed, m, s)

                add(f"{name}.{method}", "argument, location, scale", called, at, loc, SCALE)
            else:
                at = U if method in ("ppf", "isf") else argument
                add(f"{name}.{method}", "every argument", function, at, *shapes, loc, SCALE)

    logs = ("logpdf", "pdf", "cdf", "logcdf", "sf", "logsf")
    quantiles = ("ppf", "isf", "entropy")
    shaped = ("cdf", "logcdf", "sf", "logsf", "ppf", "isf")
    family("norm", (), X, *logs, *quantiles)
    family("logistic", (), X, *logs, *quantiles)
    family("expon", (), X, *logs, *quantiles)
    family("laplace", (), X, *logs, "entropy")
    family("cauchy", (), X, *logs, "ppf", "entropy")
    family("t", (np.array(3.5),), X, *logs, *quantiles, constant=shaped)
    family("gamma", (np.array(2.5),), X, *logs, *quantiles, constant=shaped)
    family("chi2", (np.array(3.5),), X, *logs, *quantiles, constant=shaped)
    family("beta", (np.array(2.5), np.array(1.7)), U, *logs, *quantiles, constant=shaped)
    add("norm.logpdf", "broadcast", lambda x, m, s: stats.norm.logpdf(x, loc=m, scale=s), real(3, 1), real(4), positive(4))
    add("norm.logcdf", "far to the left", lambda x: stats.norm.logcdf(x), np.array([-40.0, -5.0, 3.0]), float32=False)
    add("expon.logsf", "outside of the support", lambda x: stats.expon.logsf(x), np.array([-1.0, 0.5, 3.0]))
    add("gamma.pdf", "outside of the support", lambda x: stats.gamma.pdf(x, 2.5), np.array([-1.0, 0.5, 3.0]))
    add("beta.cdf", "outside of the support", lambda x: stats.beta.cdf(x, 2.5, 1.5), np.array([-1.0, 0.5, 3.0]))
    COUNTS = np.array([0, 1, 4, 2])
    for method in ("logpmf", "pmf", "cdf", "sf", "logcdf", "logsf"):
        function = getattr(stats.poisson, method)
        add(f"poisson.{method}", "the rate", lambda mu, function=function: function(COUNTS, mu), X + 1)
    for method in ("logpmf", "pmf"):
        function = getattr(stats.binom, method)
        add(f"binom.{method}", "the chance", lambda p, function=function: function(COUNTS, 5, p), U)
    SPD = matrix(3) @ matrix(3).T
    for method in ("logpdf", "pdf"):
        function = getattr(stats.multivariate_normal, method)
        add(f"multivariate_normal.{method}", "one vector", function, real(3), real(3, seed=4), SPD)
        add(f"multivariate_normal.{method}", "rows", function, real(5, 3), real(3, seed=4), SPD)
        add(
            f"multivariate_normal.{method}",
            "a diagonal",
            lambda x, c, f=function: f(x, np.zeros(3), c),
            real(5, 3),
            positive(3),
        )
        add(f"multivariate_normal.{method}", "a number", lambda x, c, f=function: f(x, cov=c), real(5), np.array(1.3))
        function = getattr(stats.dirichlet, method)
        add(f"dirichlet.{method}", "the weights", lambda a, f=function: f(np.array([0.2, 0.5, 0.3]), a), X[:3])
        add(f"dirichlet.{method}", "all but the last", lambda x, a, f=function: f(x, a), np.array([0.2, 0.5]), X[:3])
    add("multivariate_normal.entropy", "a matrix", lambda c: stats.multivariate_normal.entropy(cov=c), SPD)
    add("dirichlet.entropy", "the weights", lambda a: stats.dirichlet.entropy(a), X[:3])
