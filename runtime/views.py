"""In-place writes: which traced arrays share memory, and how a write to one is seen by the others.

A tape has no writes, only new slots. An in-place update lets a traced array stand for a new slot; arrays that NumPy
would have made views of one another form a family (one root, its views) and are carried along.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .array import Array, record
from .errors import NotDifferentiableError
from .op import OPS


@dataclass(slots=True, eq=False)
class Family:
    """A root array and its views, all held weakly; each member holds its family."""

    root: weakref.ref
    views: list[weakref.ref] = field(default_factory=list)

    def live_views(self) -> list[Array]:
        """Return the views that the program still holds."""
        return [view for reference in self.views if (view := reference()) is not None]


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """How a view hangs on its root: `derive(root)` makes it, `put(root, value)` returns the root with it replaced.

    `put` is None where NumPy itself might have made a copy; `index` is the index object of a plain ``root[index]``.
    """

    derive: Callable
    put: Callable | None
    index: Any = None


def as_view(parent: Any, result: Any, derive: Callable, put: Callable | None, index: Any = None) -> Any:
    """Note that `result` is `derive(parent)`, a view; `put(parent, value)` returns the parent with the view replaced."""
    if type(parent) is not Array or type(result) is not Array or result is parent:
        return result
    above: Link | None = getattr(parent, "_link", None)
    if above is None:
        link = Link(derive, put, index)
        family = getattr(parent, "_family", None)
        if family is None:
            family = parent._family = Family(weakref.ref(parent))
    else:
        family = parent._family

        def put_above(root: Any, value: Any) -> Any:
            return above.put(root, put(above.derive(root), value))  # pyright: ignore[reportOptionalCall]

        link = Link(lambda root: derive(above.derive(root)), put_above if put and above.put else None)
    result._family, result._link = family, link
    if len(family.views) > 64 and len(family.views) & (len(family.views) - 1) == 0:
        family.views[:] = [reference for reference in family.views if reference() is not None]
    family.views.append(weakref.ref(result))
    return result


def repoint(target: Array, result: Any) -> Array:
    """Let `target` stand for `result` from now on, in its root and its family's views too.

    Raises `NotDifferentiableError` where a write cannot be carried to the root, `TypeError` and `ValueError` as NumPy does.
    """
    if type(result) is not Array:
        result = record(target._tape, OPS["astype"], (np.asarray(result),), {"dtype": target.dtype})
    if result.shape != target.shape:
        raise ValueError(f"cannot write a result of shape {result.shape} in place into shape {target.shape}")
    if result.dtype != target.dtype:
        if not np.can_cast(result.dtype, target.dtype, "same_kind"):
            raise TypeError(f"cannot write a result of dtype {result.dtype} in place into dtype {target.dtype}")
        result = result.astype(target.dtype)
    family: Family | None = getattr(target, "_family", None)
    if family is None:
        return _move(target, result)
    link: Link | None = getattr(target, "_link", None)
    root = target if link is None else family.root()
    others = [view for view in family.live_views() if view is not target]
    if link is not None and (root is not None or others):
        if link.put is None or root is None:
            raise NotDifferentiableError(
                "an in-place write through a view whose base cannot be updated with it: write to the base itself by "
                "index (x[i, j] = v), or copy the view first"
            )
        _move(root, link.put(root, result))
    _move(target, result)
    for view in others:
        _move(view, view._link.derive(root))
    return target


def write_index(target: Array, index: Any, value: Any, updated: Callable) -> None:
    """Carry out ``target[index] = value``; `updated(target, index, value)` records the changed copy."""
    if type(value) is Array:
        link: Link | None = getattr(value, "_link", None)
        if link is not None and link.index is index and value._family.root() is target:
            return  # `x[i] += v`: the view has been written through already
    repoint(target, updated(target, index, value))
    target._written = True


def _move(target: Array, result: Array) -> Array:
    target._tape, target._slot, target._value = result._tape, result._slot, result._value
    if target._tape.keeper is not None:
        target._tape.keeper.watch(target)
    return target
