"""scipy.special with derivatives: its ufuncs work on traced arrays as they are; its Python functions are offered here.

>>> import numpy as np, retape as rt
>>> from retape.scipy import special
>>> float(rt.grad(lambda x: special.logsumexp(special.gammaln(x)))(np.array([2.0]))[0]) == 1 - np.euler_gamma
True
"""

from __future__ import annotations

from typing import Any

from scipy import special as _original

from ..replace import PATCHES
from . import (
    bessel,
    distributions,
    elliptic,
    error_functions,
    functions,
    gamma_functions,
    hypergeometric,
    information,
    integrals,
)

ROOMS = (bessel, distributions, elliptic, error_functions, functions, gamma_functions, hypergeometric, information, integrals)


def __getattr__(name: str) -> Any:
    """Return the function that takes the place of SciPy's of that name, or SciPy's own."""
    found = PATCHES["scipy.special"].get(name)
    return getattr(_original, name) if found is None else found
