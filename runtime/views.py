"""In-place writes: which traced arrays share memory, and how a write to one is seen by the others.

A tape has no writes, only new slots. An in-place update lets a traced array stand for a new slot; arrays that NumPy
would have made views of one another form a family (one root, its views) and are carried along. A view that is a strided
part of its root is known by its window, so that a write through views of views is one write to the root, as long as
what is written.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import phantom
from .array import NUMBER, Array, apply, record, tied, ties_of, traced
from .op import HOOKS, OPS


@dataclass(slots=True, eq=False, weakref_slot=True)
class Family:
    """A root and its views. The views hold the family, and with it the root; the root holds it weakly.

    `views` are held weakly, by the row of the root that they lie in; under None are those that do not lie in one row.
    """

    root: Array
    views: dict[int | None, list[weakref.ref]]

    def add(self, view: Array, row: int | None) -> None:
        """Take in a view of one row, or of more."""
        references = self.views.get(row)
        if references is None:
            references = self.views[row] = []
        count = len(references)
        if count > 3 and count & (count - 1) == 0:
            references[:] = [reference for reference in references if reference() is not None]
        references.append(weakref.ref(view))

    def live_views(self, row: int | None) -> Iterator[Array]:
        """Yield the views that the program still holds and that may show a part of one row, or of any."""
        for key in tuple(self.views) if row is None else (None, row):
            for reference in tuple(self.views.get(key, ())):
                view = reference()
                if view is not None:
                    yield view


@dataclass(frozen=True, slots=True)
class Window:
    """An index that is a strided part: `offset` and `strides` count elements of the whole array as they lie in memory.

    `axes` are the whole array's from the outermost in memory to the innermost, or None where it is in C order.
    """

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    axes: tuple[int, ...] | None


@dataclass(slots=True, eq=False)
class Link:
    """How a view hangs on its root: `derive(root)` makes it, `put(root, value)` returns the root with it replaced.

    `put` is None where NumPy's view cannot be written. `parent` and `index` say of what array it was made, and by which
    index object. `part` says of memory what `derive` says of values: it takes the phantom of the parent to that of the
    view, and is None where the view is no strided part; `above` is the link of a parent that is a view itself.
    """

    derive: Callable
    put: Callable | None
    parent: weakref.ref
    index: Any
    row: int | None
    part: Callable | None
    above: Link | None
    _window: Any = ()  # until it is known

    def window(self, root: Array) -> np.ndarray | None:
        """Return the phantom of the part of the root that the view shows, or None where it is no strided part."""
        if type(self._window) is tuple:
            whole = _whole(root) if self.above is None else self.above.window(root)
            try:
                self._window = None if whole is None or self.part is None else self.part(whole)
            except ValueError:  # a reshape that takes a copy
                self._window = None
        return self._window


def held(array: Any) -> np.ndarray:
    """Return an array that lies in memory as the value of `array` does: that, or its phantom where values come and go."""
    while type(array) is Array and array._level.keeper is None:
        array = array._value
    return np.asarray(array._level.phantoms[array._slot] if type(array) is Array else array)


def layout(array: Any) -> np.ndarray:
    """Return an array that lies in memory as NumPy's would: by this it is decided what is a view and what a copy."""
    while type(array) is Array:
        memory = tied(array).memory
        if memory is not None:
            return memory
        if array._level.keeper is not None:
            return array._level.phantoms[array._slot]
        array = array._value
    return np.asarray(array)


def lies_as(array: Any, memory: np.ndarray) -> Any:
    """Note of a traced array that NumPy's lies in memory as `memory` does, in which order its value does too."""
    if type(array) is Array and array.shape and held(array).strides != memory.strides:
        ties_of(array).memory = phantom.like(memory)
    return array


def in_order_of(array: Any, memory: np.ndarray) -> Any:
    """Return `array`, or a copy of it, with its axes in memory in the order in which they lie in `memory`."""
    found = held(array)
    if not found.shape or found.flags.c_contiguous and memory.flags.c_contiguous:
        return array
    axes = phantom.memory_axes(memory.strides)
    if np.transpose(found, axes).flags.c_contiguous:
        return array
    return np.transpose(np.copy(np.transpose(array, axes), "C"), np.argsort(axes))  # pyright: ignore


def in_c_order(array: Any) -> Any:
    """Return `array`, or a copy of it, in C order, as NumPy has a result whatever its operands' order is."""
    return array if held(array).flags.c_contiguous else in_order_of(array, phantom.contiguous(array.shape, array.dtype))


def in_same_order(array: Any, other: Any) -> Any:
    """Return `array`, or a copy of it, in C or in Fortran order, as `other` is: Fortran order must be its only one."""
    if not layout(other).flags.fnc:
        return in_c_order(array)
    return in_order_of(array, phantom.in_axes(array.shape, array.dtype, tuple(reversed(range(array.ndim)))))


def keep_layout(root: Array) -> None:
    """Note, before the first write to a root, where it and its views lie: the copy that is written has no gaps."""
    memory = layout(root)
    if not memory.flags.c_contiguous and phantom.copied(memory).strides != memory.strides:
        family = family_of(root)
        for array in (root, *(family.live_views(None) if family is not None else ())):
            ties_of(array).memory = phantom.like(layout(array))


def _whole(root: Array) -> np.ndarray:
    """Return the phantom of a root's value as it lies in memory once it has been written to."""
    return phantom.copied(held(root))


def window_index(root: Array, part: np.ndarray) -> Window:
    """Return a phantom within that of its root as an index."""
    whole = _whole(root)
    size = whole.itemsize
    start = (part.__array_interface__["data"][0] - whole.__array_interface__["data"][0]) // size
    strides = tuple(stride // size for stride in part.strides)
    axes = None if whole.flags.c_contiguous else phantom.memory_axes(whole.strides)
    return Window(start if part.size else 0, part.shape, strides, axes)


def family_of(array: Any) -> Family | None:
    """Return the family of a root or a view, or None where there are no views."""
    held = tied(array).family
    return held() if type(held) is weakref.ref else held


_NO_VIEWS = weakref.ref(Family(traced(None, None, None), {}))  # pyright: ignore[reportArgumentType]


def is_number(array: Any) -> bool:
    """Tell whether a traced array stands where NumPy has a number (a scalar), which is never written to nor viewed."""
    return not array.shape and tied(array).family is None


def as_memory(array: Any) -> Any:
    """Note of a traced array without dimensions that NumPy has an array in its place, and no number."""
    if type(array) is Array and is_number(array):
        ties_of(array).family = _NO_VIEWS
    return array


def as_number(array: Array) -> Array:
    """Return an array without dimensions as NumPy's functions return one: a number, which is nobody's view."""
    return array if tied(array).family is None else alias(array)


def alias(array: Array) -> Array:
    """Return another array that stands for the same value, and stays when the first is written to."""
    return _move(traced(array._level, array._slot, array._value), array)


def as_given(array: Any, leaf: Any) -> Any:
    """Note of a traced array made for `leaf`, an argument, whether that is an array without dimensions or a number."""
    return as_memory(array) if isinstance(leaf, np.ndarray) or type(leaf) is Array and not is_number(leaf) else array


def as_view(
    parent: Any,
    result: Any,
    derive: Callable,
    put: Callable | None,
    *,
    index: Any = None,
    row: int | None = None,
    part: Callable | None = None,
) -> Any:
    """Note that `result` is `derive(parent)`, a view; `put(parent, value)` returns the parent with the view replaced.

    `row` is the row of the parent that the view lies in, if it lies in one; see `Link` for the rest.
    """
    if type(parent) is not Array or type(result) is not Array or result is parent:
        return result
    held = tied(parent).family
    if type(held) is Family:
        family = held
        link = _chained(parent, derive, put, index, part)
    else:
        if put is not None and held is None and not parent.shape:
            return as_memory(result)  # of a number, NumPy makes a copy
        family = held() if held is not None else None
        if family is None:
            family = Family(parent, {})
            ties_of(parent).family = weakref.ref(family)
        link = Link(derive, put, weakref.ref(parent), index, row, part, None)
    ties = ties_of(result)
    ties.family, ties.link = family, link
    family.add(result, link.row)
    if part is not None and parent._ties.memory is not None:
        ties.memory = part(parent._ties.memory)
    return result


def _chained(parent: Array, derive: Callable, put: Callable | None, index: Any, part: Callable | None) -> Link:
    above: Link = parent._ties.link

    def put_above(root: Any, value: Any) -> Any:
        return above.put(root, put(above.derive(root), value))  # pyright: ignore[reportOptionalCall]

    def derive_above(root: Any) -> Any:
        return derive(above.derive(root))

    link = Link(derive_above, put_above if put and above.put else None, weakref.ref(parent), index, above.row, part, above)
    link.window(parent._ties.family.root)  # now, so that a long chain of views is never gone through at once
    return link


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
        return _move(target, result)
    if link is None:
        _move(target, result)
        _renew(family, None, except_for=target)
        return target
    _require_writable(link)
    root = family.root
    window = link.window(root)
    if window is None:
        keep_layout(root)
        _move(root, link.put(root, result))  # pyright: ignore[reportOptionalCall]
        _move(target, result)
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
            _move(target, HOOKS["set"](target, template, arrays, value))
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


def written_root(view: Array) -> Array | None:
    """Return the root of a view that is a strided part of it, once that has been written to; else None.

    What is read of the view is then read of the root, so that its cotangent is as long as what is read.
    """
    link: Link | None = tied(view).link
    if link is None:
        return None
    root = view._ties.family.root
    return root if tied(root).written and link.window(root) is not None else None


def part_of(view: Array, root: Array, template: tuple) -> Window:
    """Return the part of a view at an index without index arrays as an index of its root."""
    window = view._ties.link.window(root)
    return window_index(root, cut(window, template))


def give_up(array: Array) -> None:
    """Tell the keeper, where there is one, that the program drops the value of an array, which will stand for another."""
    if array._level.keeper is not None:
        array._level.keeper.unwatch(array)


def cut(whole: np.ndarray, template: tuple) -> np.ndarray:
    """Return the view of an array that an index without index arrays names, be it a single element."""
    return whole[template if Ellipsis in template else (*template, ...)]


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
        if view._level.keeper is None:
            view._value = view._slot = None
    give_up(root)
    try:
        _move(root, HOOKS["set"](root, index, operands[1:], operands[0]))
        ties_of(root).written = True
        if target is not None:
            _move(target, operands[0])
    finally:
        for view in views:
            if view is not target or view._value is None and view._level.keeper is None:
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
        _move(view, link.derive(root))
    else:
        _move(view, apply(OPS["getitem"], (root,), {"index": window_index(root, window)}))


def _move(target: Array, result: Array) -> Array:
    target._level, target._slot, target._value = result._level, result._slot, result._value
    target._kind = None if result._kind is NUMBER else result._kind  # what is written to is an array
    if target._level.keeper is not None:
        target._level.keeper.watch(target)
    return target
