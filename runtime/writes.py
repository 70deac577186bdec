"""In-place writes: how a write to one traced array is seen by the others that share its memory.

A tape has no writes, only new slots. An in-place update lets a traced array stand for a new slot; its root and the views of
that are carried along. A write through views of views is one write to the root, as long as what is written.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import phantom
from .array import Array, apply, record, tied, ties_of
from .layouts import held, in_order_of, layout
from .op import HOOKS, OPS
from .views import Family, Link, alias, cut, family_of, move, window_index


def keep_layout(root: Array) -> None:
    """Note, before the first write to a root, where it and its views lie: the copy that is written has no gaps."""
    memory = layout(root)
    if not memory.flags.c_contiguous and phantom.copied(memory).strides != memory.strides:
        family = family_of(root)
        for array in (root, *(family.live_views(None) if family is not None else ())):
            ties_of(array).memory = phantom.like(layout(array))


def repoint(target: Array, result: Any) -> Array:
    """Let `target` stand for `result` from now on, in its root and its family's views too.

    Raises `ValueError` for a view that is read-only in NumPy, `TypeError` and `ValueError` as NumPy does.
    """
    if type(result) is not Array:
        result = record(target._level, OPS["astype"], (np.asarray(result),), {"dtype": target.dtype})
    if result.shape != target.shape:
        raise ValueError(f"cannot write a result of shape {result.shape} in place into shape {target.shape}")
    if result.dtype != target.dtype:
        if not np.can_cast(result.dtype, target.dtype, "same_kind"):
            raise TypeError(f"cannot write a result of dtype {result.dtype} in place into dtype {target.dtype}")
        result = result.astype(target.dtype)
    family = family_of(target)
    memory = layout(target)
    result = in_order_of(result, memory)
    link: Link | None = tied(target).link
    if link is None:
        keep_layout(target)
    elif target.shape and held(result).strides != memory.strides:
        ties_of(target).memory = phantom.like(memory)
    if family is None:
        return move(target, result)
    if link is None:
        move(target, result)
        _renew(family, None, except_for=target)
        return target
    _require_writable(link)
    root = family.root
    window = link.window(root)
    if window is None:
        keep_layout(root)
        move(root, link.put(root, result))  # pyright: ignore[reportOptionalCall]
        move(target, result)
        _renew(family, link.row, except_for=target)
    else:
        _write_root(family, link.row, window_index(root, window), (result,), target)
    return target


def write(target: Array, template: tuple, arrays: tuple, value: Any) -> None:
    """Carry out ``target[template] = value``; `value` has the target's dtype and the shape of the part."""
    family = family_of(target)
    link: Link | None = tied(target).link
    if type(value) is Array and family_of(value) is not None:  # stays as it is, whatever becomes of the view that it may be
        value = alias(value)
    if link is None:
        if family is None:
            if not tied(target).written:
                keep_layout(target)
            give_up(target)
            move(target, HOOKS["set"](target, template, arrays, value))
            ties_of(target).written = True
        else:
            row = template[0] % target.shape[0] if template and type(template[0]) is int else None
            _write_root(family, row, template, (value, *arrays))
        return
    _require_writable(link)
    assert family is not None
    root = family.root
    window = None if arrays else link.window(root)
    if window is None:
        repoint(target, HOOKS["set"](target, template, arrays, value))
    else:
        _write_root(family, link.row, window_index(root, cut(window, template)), (value,))


def give_up(array: Array) -> None:
    """Tell the keeper, where there is one, that the program drops the value of an array, which will stand for another."""
    if array._level.keeper is not None:
        array._level.keeper.unwatch(array)


def _require_writable(link: Link) -> None:
    if link.put is None:
        raise ValueError("assignment destination is read-only")


def _write_root(
    family: Family,
    row: int | None,
    index: Any,
    operands: tuple,
    target: Array | None = None,
) -> None:
    """Write ``operands[0]`` at an index of the root (with the index arrays that follow); renew the views that show it.

    They let go of their memory first: a root that only they share is then written in place. A `target` given is the view
    that stands for what is written.
    """
    root = family.root
    root._level.require_open()
    if not tied(root).written:
        keep_layout(root)
    views = list(family.live_views(row))
    for view in views:
        give_up(view)
        if view._level.holds_values:
            view._value = view._slot = None
    give_up(root)
    try:
        move(root, HOOKS["set"](root, index, operands[1:], operands[0]))
        ties_of(root).written = True
        if target is not None:
            move(target, operands[0])
    finally:
        for view in views:
            if view is not target or view._value is None and view._slot is None:
                _show(view, root)


def _renew(family: Family, row: int | None, *, except_for: Array) -> None:
    for view in family.live_views(row):
        if view is not except_for:
            _show(view, family.root)


def _show(view: Array, root: Array) -> None:
    """Let a view show what its root is now."""
    link: Link = view._ties.link
    window = link.window(root)
    if window is None:
        move(view, link.derive(root))
    else:
        move(view, apply(OPS["getitem"], (root,), {"index": window_index(root, window)}))
