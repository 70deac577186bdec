"""Plain calls of NumPy with every keyword, and a probe that makes them on traced arrays and compares."""

import inspect
import warnings
from itertools import zip_longest

import numpy as np
import optree
from forms import cplx, distinct, matrix, positive, real

import retape as rt
from retape.runtime.array import plain


class Each(tuple):
    """Several values to try a keyword with."""

    __slots__ = ()


class With(dict):
    """The value of a keyword, under its own name, beside others that must be given with it."""


class Absent:
    """A keyword that is not tried."""


X, P, V, D, Z = real(3, 4), positive(3, 4), real(4, seed=1), distinct(3, 4), cplx(3, 4)
M = matrix(3)
N = np.where(np.arange(12).reshape(3, 4) % 5 == 0, np.nan, D)
MASK = X > -0.3
OUT = object()

# The values that a keyword is tried with, where a call has no others.
KEYWORDS = {
    "axis": -1, "keepdims": True, "dtype": Each((np.float64, np.complex128)), "out": OUT, "where": MASK,
    "initial": np.float64(1.5), "order": Each("CFAK"), "casting": "unsafe", "subok": True, "ddof": 1, "correction": 1,
    "copy": Each((True, None)), "device": "cpu", "ndmin": 3, "ndmax": 64, "overwrite_input": True, "equal_nan": True,
    "rtol": 1e-3, "atol": 1e-3, "assume_unique": False, "max_work": 1, "k": 1, "offset": 1, "hermitian": False,
    "norm": Each(("ortho", "forward", "backward")), "weights": P, "like": X, "axis1": With(axis1=1, axis2=0),
    "axis2": With(axis1=1, axis2=0), "descending": True,
}  # fmt: skip
# NumPy does not look at these when it asks who is to answer a call: traced alone, they reach NumPy's own code.
NOT_HANDED_OVER = {"initial", "mean", "default"}


def calls(function, args, values):
    """Yield every call to try: what is special about it, the arguments, the keywords."""
    yield "", args, {}
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        parameters = {}
    places = [n for n, parameter in parameters.items() if parameter.kind is not parameter.VAR_POSITIONAL]
    if len(places) < len(parameters):
        places = []
    optional = [
        name
        for name, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
        or parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.default is not parameter.empty
    ]
    for name in dict.fromkeys([*optional, *values]):
        tried = values.get(name, KEYWORDS.get(name))
        if tried is None:
            raise LookupError(f"no value to try {name}= of {function} with")
        for value in tried if isinstance(tried, Each) else (tried,):
            if value is Absent:
                continue
            keywords = dict(value) if isinstance(value, With) else {name: value}
            given = tuple(a for place, a in zip_longest(places[: len(args)], args) if place not in keywords)
            said = f"={value!r}" if isinstance(value, (str, int, float, tuple, type)) else "="
            yield name + said, given, keywords


def _is_leaf(value):
    return isinstance(value, (np.ndarray, np.inexact)) and np.result_type(value).kind in "fc"


def _leaves(tree):
    return [leaf for leaf in optree.tree_leaves(tree) if _is_leaf(leaf)]


def _filled(tree, values):
    """Return `tree` with its inexact arrays replaced by the next of `values`."""
    return optree.tree_map(lambda leaf: next(values) if _is_leaf(leaf) else leaf, tree)


def _results(result):
    if isinstance(result, (tuple, list)):
        return [leaf for part in result for leaf in _results(part)]
    return [result]


def _target(wanted, traced):
    """Return an array to write a result into: traced where that can be differentiated."""
    if isinstance(wanted, tuple):
        return tuple(_target(part, traced) for part in wanted)
    shape, dtype = np.shape(wanted), np.result_type(wanted)
    if traced and dtype.kind in "fc":
        return np.zeros_like(traced[0], shape=shape, dtype=dtype)
    return np.zeros(shape, dtype)


def _run(function, args, keywords, wanted, writes):
    if writes:
        target = args[0] * 1
        assert function(target, *args[1:], **keywords) is None
        return [target]
    if keywords.get("out") is OUT:
        traced = [leaf for leaf in optree.tree_leaves((args, keywords)) if isinstance(leaf, rt.runtime.array.Array)]
        keywords = {**keywords, "out": _target(wanted, traced)}
    return _results(function(*args, **keywords))


def probe(function, args, keywords, *, writes=False, by_difference=True, values=True):
    """Make a call on plain arrays and on traced ones, each alone and all at once, and return what is wrong.

    Yields ``(names, outcome)`` per choice of traced arguments: "right", "refused: ...", "raised: ..." or what differs. A call
    that `writes` changes its first argument. Without `by_difference` only values are compared: they jump where arguments are
    changed; and without `values` only shapes and dtypes.
    """
    given = [list(args), {name: value for name, value in keywords.items() if value is not OUT}]
    leaves = _leaves(given)
    names = ["self" if k == 0 and value is args[0] else "argument" for k, value in enumerate(_leaves(given[0]))]
    names += [name for name in sorted(given[1]) for _ in _leaves(given[1][name])]

    def call(values):
        filled, named = _filled(given, iter(values))
        return filled, named | {name: value for name, value in keywords.items() if value is OUT}

    def copies():
        return [np.array(leaf) if np.ndim(leaf) else leaf for leaf in leaves]

    wanted = None
    if keywords.get("out") is OUT:
        with warnings.catch_warnings(action="ignore"):  # of a mask without out=
            filled, named = _filled(given, iter(copies()))
            wanted = function(*filled, **named)
    plainly = _run(function, *call(copies()), wanted, writes)
    choices = [(k,) for k in range(len(leaves))] + ([tuple(range(len(leaves)))] if len(leaves) > 1 else [])
    for chosen in choices:
        if writes and 0 not in chosen:
            continue
        found = []

        def program(*traced, chosen=chosen, found=found):
            values = copies()
            for place, value in zip(chosen, traced, strict=True):
                values[place] = value
            results = _run(function, *call(values), wanted, writes)
            found[:] = [plain(result) for result in results]
            return [result for result in results if hasattr(result, "dtype") and np.result_type(result).kind in "fc"]

        who = tuple(names[k] for k in chosen)
        at = [np.array(leaves[k]) for k in chosen]
        try:
            outputs, _ = rt.vjp(program, *at)
        except (rt.MissingRuleError, rt.NotDifferentiableError) as error:
            yield who, f"refused: {error}"
            continue
        except Exception as error:
            yield who, f"raised: {type(error).__name__}: {error}"
            continue
        difference = _difference(found, plainly, "order" in keywords, values)
        if difference is None and outputs and by_difference and values:
            try:
                rt.check_grads(program, *at, tolerance=1e-5)
            except rt.MissingRuleError as error:
                difference = f"refused: {error}"
            except Exception as error:
                difference = f"{type(error).__name__}: {error}"
        yield who, difference or "right"


def _difference(found, wanted, in_memory, values):
    if len(found) != len(wanted):
        return f"{len(found)} results instead of {len(wanted)}"
    for a, b in zip(found, wanted, strict=True):
        if not isinstance(b, (np.ndarray, np.generic)):
            if a != b:
                return f"{a} instead of {b}"
            continue
        if np.shape(a) != np.shape(b) or np.result_type(a) != np.result_type(b):
            return f"{np.result_type(a)}{np.shape(a)} instead of {np.result_type(b)}{np.shape(b)}"
        if not values:
            continue
        if not np.allclose(a, b, rtol=1e-11, atol=1e-12, equal_nan=True):
            return f"{a} instead of {b}"
        if in_memory and not np.allclose(np.ravel(a, "K"), np.ravel(b, "K"), equal_nan=True):
            return "another order of memory"
    return None
