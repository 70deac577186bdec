"""Which traced arrays share memory: a root, its views, and where in the root each of them lies.

Arrays that NumPy would have made views of one another form a family. A view that is a strided part of its root is known by
its window, however many views it was made through.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import phantom
from .array import NUMBER, Array, tied, ties_of, traced
from .layouts import held


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
    return move(traced(array._level, array._slot, array._value), array)


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


def cut(whole: np.ndarray, template: tuple) -> np.ndarray:
    """Return the view of an array that an index without index arrays names, be it a single element."""
    return whole[template if Ellipsis in template else (*template, ...)]


def move(target: Array, result: Array) -> Array:
    """Let `target` stand for what `result` does from now on."""
    target._level, target._slot, target._value = result._level, result._slot, result._value
    target._kind = None if result._kind is NUMBER else result._kind  # what is written to is an array
    if target._level.keeper is not None:
        target._level.keeper.watch(target)
    return target
