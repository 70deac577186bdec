"""Products of matrices: matmul and what is composed of it (dot, inner, outer, tensordot, einsum, norm)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import phantom
from ..array import Array, apply
from ..errors import MissingRuleError
from ..op import define, implements


def _infer_matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: the inner extents of {a.shape} and {b.shape} differ")
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return phantom.contiguous((*batch, a.shape[-2], b.shape[-1]), np.result_type(a, b))


def _matmul_rule_a(g: Any, b: Any, a_shape: tuple[int, ...]) -> Any:
    if len(b.shape) == 2 and len(a_shape) > 2:
        rows = math.prod(a_shape[:-1])
        return np.reshape(np.matmul(np.reshape(g, (rows, g.shape[-1])), np.swapaxes(b, 0, 1)), a_shape)
    return np.matmul(g, np.swapaxes(b, -1, -2))


def _matmul_rule_b(g: Any, a: Any, b_shape: tuple[int, ...]) -> Any:
    if len(b_shape) == 2 and len(a.shape) > 2:
        # One large product instead of a batch of products that would be summed.
        rows = math.prod(a.shape[:-1])
        return np.matmul(np.swapaxes(np.reshape(a, (rows, a.shape[-1])), 0, 1), np.reshape(g, (rows, g.shape[-1])))
    return np.matmul(np.swapaxes(a, -1, -2), g)


def is_blas_ready(x: np.ndarray) -> bool:
    """Tell whether BLAS can read the last two axes of `x` as they lie."""
    if x.ndim < 2 or x.dtype.kind not in "fc":
        return True
    rows, columns = x.strides[-2:]
    item = x.itemsize
    return (columns == item and rows >= x.shape[-1] * item and rows % item == 0) or (
        rows == item and columns >= x.shape[-2] * item and columns % item == 0
    )


def _matmul_workspace(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> int:
    """NumPy copies an operand that BLAS cannot read, one matrix at a time, and casts one of another dtype whole."""
    copied = sum(math.prod(x.shape[-2:]) * out.itemsize for x in (a, b) if not is_blas_ready(x))
    return copied + sum(x.size * out.itemsize for x in (a, b) if x.dtype != out.dtype)


MATMUL = define(
    "matmul",
    np.matmul,
    inputs="a b",
    rules=(_matmul_rule_a, _matmul_rule_b),
    infer=_infer_matmul,
    flops=lambda out, a, b: 2.0 * out.size * a.shape[-1],
    workspace=_matmul_workspace,
    run_into=lambda out, a, b: np.matmul(a, b, out=out),
)


@implements(np.matmul)
def matmul(a: Any, b: Any) -> Any:
    """Record a matrix product; vectors become rows and columns as in NumPy."""
    a = a if type(a) is Array else np.asarray(a)
    b = b if type(b) is Array else np.asarray(b)
    if not a.ndim or not b.ndim:
        raise ValueError("matmul: an operand has no dimensions; multiply by a scalar with *")
    if a.ndim > 1 and b.ndim > 1:
        return apply(MATMUL, (a, b))
    rows = np.reshape(a, (1, -1)) if a.ndim == 1 else a
    columns = np.reshape(b, (-1, 1)) if b.ndim == 1 else b
    y = apply(MATMUL, (rows, columns))
    shape = y.shape[:-2] + (() if a.ndim == 1 else y.shape[-2:-1]) + (() if b.ndim == 1 else y.shape[-1:])
    return np.reshape(y, shape)


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Compose `np.dot` of multiply, matmul or tensordot."""
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    if np.ndim(b) <= 2:
        return matmul(a, b)
    return tensordot(a, b, ((np.ndim(a) - 1,), (np.ndim(b) - 2,)))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    """Compose the product of two flattened arrays."""
    return matmul(np.ravel(a), np.ravel(b))


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """Compose the product over the last axes."""
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return np.multiply(a, b)
    return tensordot(a, b, ((np.ndim(a) - 1,), (np.ndim(b) - 1,)))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """Compose the outer product of two flattened arrays."""
    return np.multiply(np.reshape(a, (-1, 1)), np.reshape(b, (1, -1)))


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Compose a contraction of transposes, reshapes and one matmul."""
    na, nb = np.ndim(a), np.ndim(b)
    if isinstance(axes, int):
        left, right = list(range(na - axes, na)), list(range(axes))
    else:
        left, right = ([k] if isinstance(k, int) else list(k) for k in axes)
    left, right = [k % na for k in left], [k % nb for k in right]
    shape_a, shape_b = np.shape(a), np.shape(b)
    if [shape_a[k] for k in left] != [shape_b[k] for k in right]:
        raise ValueError(f"tensordot: the extents of {shape_a} over {left} and of {shape_b} over {right} differ")
    free_a = [k for k in range(na) if k not in left]
    free_b = [k for k in range(nb) if k not in right]
    inside = math.prod(shape_a[k] for k in left)
    rows, columns = [shape_a[k] for k in free_a], [shape_b[k] for k in free_b]
    y = matmul(
        np.reshape(np.transpose(a, (*free_a, *left)), (math.prod(rows), inside)),
        np.reshape(np.transpose(b, (*right, *free_b)), (inside, math.prod(columns))),
    )
    return np.reshape(y, (*rows, *columns))


@implements(np.einsum)
def einsum(*operands: Any, optimize: Any = True, out: Any = None, **keywords: Any) -> Any:
    """Compose an Einstein sum of pairwise contractions, each a batched matmul, in the order of `np.einsum_path`.

    The subscripts form only; an index repeated within one operand takes a diagonal.
    """
    if not isinstance(operands[0], str):
        raise MissingRuleError("numpy.einsum of traced arrays takes its subscripts as a string, such as 'ij,jk->ik'")
    if keywords:
        raise MissingRuleError(f"numpy.einsum of traced arrays takes no {', '.join(sorted(keywords))}=: cast the operands")
    subscripts, *arrays = operands
    arrays = [a if type(a) is Array else np.asarray(a) for a in arrays]
    terms, result = _parse(subscripts, [a.ndim for a in arrays])
    pool = list(zip(terms, arrays, strict=True))
    if len(pool) > 2:
        dummies = [phantom.contiguous(a.shape, a.dtype) for a in arrays]
        order = np.einsum_path(",".join(terms) + "->" + result, *dummies, optimize="greedy")[0][1:]
    else:
        order = [tuple(range(len(pool)))]
    for places in order:
        chosen = [pool[k] for k in places]
        pool = [item for k, item in enumerate(pool) if k not in places]
        needed = set(result).union(*(term for term, _ in pool))
        while len(chosen) > 1:
            (s, a), (t, b), *rest = chosen
            keep = needed.union(*(term for term, _ in rest))
            chosen = [_contract(s, a, t, b, keep), *rest]
        pool.append(chosen[0])
    term, y = _summed(*pool[0], set(result))
    return np.transpose(y, [term.index(label) for label in result]) if term != result else y


def _parse(subscripts: str, ranks: list[int]) -> tuple[list[str], str]:
    """Return one string of labels per operand and the result's, with ellipses and an implicit result spelled out."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum: {len(terms)} terms in {subscripts!r} for {len(ranks)} operands")
    unused = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in text]
    most = max(
        (rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True) if "..." in term),
        default=0,
    )
    labels = "".join(unused[:most])
    spelled = []
    for term, rank in zip(terms, ranks, strict=True):
        count = rank - len(term.replace("...", ""))
        spelled.append(term.replace("...", labels[most - count :] if count else ""))
        if len(spelled[-1]) != rank:
            raise ValueError(f"einsum: the term {term!r} does not fit an operand of {rank} dimensions")
    if arrow:
        return spelled, right.replace("...", labels)
    joined = "".join(spelled)
    return spelled, labels + "".join(sorted(c for c in set(joined) if joined.count(c) == 1 and c not in labels))


def _without_repeats(term: str, a: Any) -> tuple[str, Any]:
    for label in sorted(set(term)):
        while term.count(label) > 1:
            first = term.index(label)
            second = term.index(label, first + 1)
            if a.shape[first] != a.shape[second]:
                raise ValueError(f"einsum: the label {label!r} has the extents {a.shape[first]} and {a.shape[second]}")
            a = np.diagonal(a, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + label
    return term, a


def _summed(term: str, a: Any, keep: set) -> tuple[str, Any]:
    term, a = _without_repeats(term, a)
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
    for label, n in zip(t, b.shape, strict=True):
        if n != extent[label] and 1 not in (n, extent[label]):
            raise ValueError(f"einsum: the label {label!r} has the extents {extent[label]} and {n}")
    if any(n != extent[label] for label, n in zip(t, b.shape, strict=True)):
        raise MissingRuleError("numpy.einsum of traced arrays does not broadcast extents of 1: sum or index them away first")

    def arranged(term: str, x: Any, *groups: list[str]) -> Any:
        order = [term.index(label) for group in groups for label in group]
        x = np.transpose(x, order) if order != list(range(len(order))) else x
        shape = [extent[label] for label in batch] + [math.prod(extent[label] for label in g) for g in groups[1:]]
        return np.reshape(x, tuple(shape))

    y = matmul(arranged(s, a, batch, rows, inside), arranged(t, b, batch, inside, columns))
    labels = [*batch, *rows, *columns]
    return "".join(labels), np.reshape(y, tuple(extent[label] for label in labels))


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Compose vector norms and the Frobenius norm; the gradient of the 2-norm at 0 is 0 (the least subgradient)."""
    axes = x.ndim if axis is None else len(axis) if isinstance(axis, tuple) else 1
    if ord not in (None, 2, 1, math.inf, "fro") or axes != 1 and ord in (1, 2, math.inf) or axes != 2 and ord == "fro":
        raise MissingRuleError(
            f"numpy.linalg.norm of a traced array with ord={ord!r} over {axes} dimensions has no rule here: vector norms "
            "have 1, 2 and inf, matrix norms 'fro'"
        )
    if ord == 1:
        return np.sum(np.absolute(x), axis=axis, keepdims=keepdims)
    if ord == math.inf:
        return np.max(np.absolute(x), axis=axis, keepdims=keepdims)
    squares = np.sum(x * x, axis=axis, keepdims=keepdims)
    is_zero = np.equal(squares, 0)
    return np.where(is_zero, 0, np.sqrt(np.where(is_zero, 1, squares)))


SOLVE = define(
    "solve",
    np.linalg.solve,
    inputs="a b",
    rules=(
        lambda g, a, y: -np.matmul(np.linalg.solve(np.swapaxes(a, -1, -2), g), np.swapaxes(y, -1, -2)),
        lambda g, a: np.linalg.solve(np.swapaxes(a, -1, -2), g),
    ),
    infer=lambda a, b: phantom.contiguous(
        (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:]), np.result_type(a, b)
    ),
    flops=lambda out, a, b: 0.67 * a.shape[-1] ** 3 * math.prod(a.shape[:-2]) + 2.0 * out.size * a.shape[-1],
    workspace=lambda out, a, b: a.nbytes + b.nbytes,
)
INVERSE = define(
    "inv",
    np.linalg.inv,
    inputs="a",
    rules=lambda g, y: -np.matmul(np.swapaxes(y, -1, -2), np.matmul(g, np.swapaxes(y, -1, -2))),
    infer=lambda a: phantom.contiguous(a.shape, a.dtype),
    flops=lambda out, a: 2.0 * out.size * a.shape[-1],
    workspace=lambda out, a: 2 * a.nbytes,
)


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """Record the solution of linear systems."""
    if np.ndim(b) == 1:
        return solve(a, np.reshape(b, (-1, 1)))[..., 0]
    return apply(SOLVE, (a, b))


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    """Record an inverse."""
    return apply(INVERSE, (a,))
