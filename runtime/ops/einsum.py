"""Einstein sums, made from pairwise contractions, each of which is one batched matrix product."""

from __future__ import annotations

import math
import operator
import string
from functools import lru_cache
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array
from ..layouts import in_order_of, layout
from ..op import implements
from .axes import as_operand
from .linear_algebra import matmul
from .views import laid_out


@implements(np.einsum)
def einsum(
    *operands: Any, out: Any = None, optimize: Any = False, dtype: Any = None, order: str = "K", casting: Any = "safe"
) -> Any:
    """Compose an Einstein sum of pairwise contractions in the order of `np.einsum_path`, or in that of a given path.

    Takes subscripts as a string, or interleaved with the operands as lists of integers. An index repeated within one
    operand takes a diagonal; an extent of 1 broadcasts.
    """
    subscripts, arrays = _interleaved(operands) if not isinstance(operands[0], str) else (operands[0], list(operands[1:]))
    arrays = [as_operand(a) for a in arrays]
    if dtype is not None:
        for a in arrays:
            if not np.can_cast(a.dtype, dtype, casting):
                raise TypeError(
                    f"cannot cast an operand of einsum from {a.dtype} to {dtype} according to the rule {casting!r}"
                )
        arrays = [a if a.dtype == dtype else a.astype(dtype) for a in arrays]
    terms, result = _parse(subscripts, [a.ndim for a in arrays])
    pool = _without_broadcasting([_without_repeats(t, a) for t, a in zip(terms, arrays, strict=True)], result)
    pool = _contracted(pool, _path(pool, result, optimize), result)
    term, y = _summed(*pool, set(result))
    y = np.transpose(y, [term.index(label) for label in result]) if term != result else y
    return _in_numpys_order(y, terms, result, arrays, optimize) if order == "K" else laid_out(y, order, arrays)


def _in_numpys_order(y: Any, terms: list[str], result: str, arrays: list, optimize: Any) -> Any:
    """Return the result with its axes in memory as NumPy has them, which depends on how the operands lie and on the path."""
    if len(result) < 2 or len(arrays) == 1 and len(set(terms[0])) == len(result):  # of one operand, a view
        return y
    names = {label: chr(0x61 + k) if k < 26 else chr(0x41 + k - 26) for k, label in enumerate(sorted({*"".join(terms)}))}
    if len(names) > 52:
        return y
    text = f"{','.join(terms)}->{result}".translate({ord(label): name for label, name in names.items()})
    path = optimize
    if optimize is not False:
        path = tuple(np.einsum_path(text, *(phantom.contiguous(a.shape, a.dtype) for a in arrays), optimize=optimize)[0])
    shapes = tuple(tuple(min(n, 2) for n in a.shape) for a in arrays)
    axes = _result_axes(text, shapes, tuple(phantom.memory_axes(layout(a).strides) for a in arrays), path)
    return in_order_of(y, phantom.in_axes(y.shape, y.dtype, axes))


@lru_cache(maxsize=1024)
def _result_axes(text: str, shapes: tuple, axes: tuple, path: Any) -> tuple[int, ...]:
    """Return the axes of NumPy's result as they lie in memory, found on operands of two elements along each axis."""
    small = [np.empty_like(phantom.in_axes(shape, float, order)) for shape, order in zip(shapes, axes, strict=True)]
    for a in small:
        a[...] = 0
    made = np.einsum(text, *small, optimize=list(path) if isinstance(path, tuple) else path)
    return phantom.memory_axes(made.strides)


@implements(np.einsum_path)
def einsum_path(*operands: Any, **keywords: Any) -> Any:
    """Return the order of contractions, for which NumPy looks at shapes alone."""
    shaped = [phantom.contiguous(a.shape, a.dtype) if type(a) is Array else a for a in operands]
    return np.einsum_path(*shaped, **keywords)


def _interleaved(operands: tuple) -> tuple[str, list]:
    """Return the subscripts, as a string, and the arrays of ``einsum(a, [0, 1], b, [1, 2], [0, 2])``."""

    def spelled(labels: Any) -> str:
        return "".join("..." if k is Ellipsis else string.ascii_letters[operator.index(k)] for k in labels)

    pairs = len(operands) // 2
    arrays = list(operands[: 2 * pairs : 2])
    used = {k for labels in operands[1 : 2 * pairs : 2] for k in labels if k is not Ellipsis}
    if any(not 0 <= operator.index(k) < 52 for k in used):
        raise ValueError("einsum: a label in a list of integers is from 0 to 51")
    subscripts = ",".join(spelled(labels) for labels in operands[1 : 2 * pairs : 2])
    return (subscripts + "->" + spelled(operands[-1]) if len(operands) % 2 else subscripts), arrays


def _parse(subscripts: str, ranks: list[int]) -> tuple[list[str], str]:
    """Return one string of labels per operand and the result's, with ellipses and an implicit result spelled out.

    The axes of an ellipsis get labels of their own, from beyond the alphabet.
    """
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum: {len(terms)} terms in {subscripts!r} for {len(ranks)} operands")
    if set(text.replace("...", "").replace("->", "").replace(",", "")) - set(string.ascii_letters):
        raise ValueError(f"einsum: {subscripts!r} holds more than letters, commas, '...' and '->'")
    most = max(
        (rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True) if "..." in term),
        default=0,
    )
    labels = "".join(chr(0x100 + k) for k in range(most))
    spelled = []
    for term, rank in zip(terms, ranks, strict=True):
        count = rank - len(term.replace("...", ""))
        spelled.append(term.replace("...", labels[most - count :] if count > 0 else ""))
        if len(spelled[-1]) != rank:
            raise ValueError(f"einsum: the term {term!r} does not fit an operand of {rank} dimensions")
    joined = "".join(spelled)
    if not arrow:
        return spelled, labels + "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in labels))
    if labels and "..." not in right:
        raise ValueError("einsum: the output subscripts must hold '...' where the operands have axes under it")
    result = right.replace("...", labels)
    if len(set(result)) != len(result) or not set(result) <= set(joined):
        raise ValueError(f"einsum: the output subscripts {right!r} repeat a label or hold one that no operand has")
    return spelled, result


def _without_repeats(term: str, a: Any) -> tuple[str, Any]:
    """Take diagonals until each label stands once."""
    for label in sorted(set(term)):
        while term.count(label) > 1:
            first = term.index(label)
            second = term.index(label, first + 1)
            if a.shape[first] != a.shape[second]:
                raise ValueError(f"einsum: the label {label!r} has the extents {a.shape[first]} and {a.shape[second]}")
            a = np.diagonal(a, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + label
    return term, a


def _without_broadcasting(pool: list[tuple[str, Any]], result: str) -> list[tuple[str, Any]]:
    """Index away the axes of extent 1 that other operands stretch: the products are then the same without them."""
    extent: dict[str, int] = {}
    for term, a in pool:
        for label, n in zip(term, a.shape, strict=True):
            known = extent.setdefault(label, n)
            if known != n and 1 not in (known, n):
                raise ValueError(f"einsum: the label {label!r} has the extents {known} and {n}")
            extent[label] = n if known == 1 else known
    found = []
    for term, a in pool:
        kept = [k for k, label in enumerate(term) if a.shape[k] == extent[label]]
        if len(kept) < len(term):
            a = np.reshape(a, tuple(a.shape[k] for k in kept))
        found.append(("".join(term[k] for k in kept), a))
    return found


def _path(pool: list[tuple[str, Any]], result: str, optimize: Any) -> list[tuple[int, ...]]:
    """Return which operands to contract, step by step; those of a step leave the pool and their product joins its end."""
    if isinstance(optimize, (list, tuple)) and optimize and optimize[0] == "einsum_path":
        return [tuple(step) for step in optimize[1:]]
    if len(pool) < 3:
        return [tuple(range(len(pool)))]
    names = {label: chr(0x61 + k) if k < 26 else chr(0x41 + k - 26) for k, label in enumerate(_labels(pool))}
    if len(names) > 52:
        return [(0, 1)] * (len(pool) - 1)
    text = ",".join("".join(names[label] for label in term) for term, _ in pool)
    dummies = [phantom.contiguous(a.shape, a.dtype) for _, a in pool]
    return np.einsum_path(f"{text}->{''.join(names[label] for label in result)}", *dummies, optimize="greedy")[0][1:]


def _labels(pool: list[tuple[str, Any]]) -> list[str]:
    return sorted({label for term, _ in pool for label in term})


def _contracted(pool: list[tuple[str, Any]], path: list[tuple[int, ...]], result: str) -> tuple[str, Any]:
    for places in path:
        chosen = [pool[k] for k in places]
        pool = [item for k, item in enumerate(pool) if k not in places]
        needed = set(result).union(*(term for term, _ in pool))
        while len(chosen) > 1:
            (s, a), (t, b), *rest = chosen
            chosen = [_contract(s, a, t, b, needed.union(*(term for term, _ in rest))), *rest]
        pool.append(chosen[0])
    if len(pool) > 1:
        raise ValueError(f"einsum: the path leaves {len(pool)} operands uncontracted")
    return pool[0]


def _summed(term: str, a: Any, keep: set) -> tuple[str, Any]:
    gone = tuple(k for k, label in enumerate(term) if label not in keep)
    return "".join(label for label in term if label in keep), (np.sum(a, axis=gone) if gone else a)


def _contract(s: str, a: Any, t: str, b: Any, keep: set) -> tuple[str, Any]:
    s, a = _summed(s, a, keep | set(t))
    t, b = _summed(t, b, keep | set(s))
    batch = [label for label in s if label in t and label in keep]
    inside = [label for label in s if label in t and label not in keep]
    rows = [label for label in s if label not in t]
    columns = [label for label in t if label not in s]
    extent = dict(zip(t, b.shape, strict=True)) | dict(zip(s, a.shape, strict=True))

    def arranged(term: str, x: Any, *groups: list[str]) -> Any:
        order = [term.index(label) for group in groups for label in group]
        x = np.transpose(x, order) if order != list(range(len(order))) else x
        shape = [extent[label] for label in batch] + [math.prod(extent[label] for label in g) for g in groups[1:]]
        return np.reshape(x, tuple(shape))

    if inside:
        y = matmul(arranged(s, a, batch, rows, inside), arranged(t, b, batch, inside, columns))
    else:  # an outer product, or an elementwise one: a matrix product of one column and one row each would be slow
        y = np.multiply(arranged(s, a, batch, rows, []), arranged(t, b, batch, [], columns))
    labels = [*batch, *rows, *columns]
    return "".join(labels), np.reshape(y, tuple(extent[label] for label in labels))
