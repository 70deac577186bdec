"""Flat lists of leaves from nested containers (dicts, lists, tuples, named tuples, dataclasses), and back.

A thin layer over `optree`; dataclasses are registered with it when they are first seen. Their texts and functions, and
fields that are marked static (``field(metadata={"static": True})``, of hashable values), are no leaves: results carry them.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import optree

_NAMESPACE = "retape"


def _is_unregistered_dataclass(node: Any) -> bool:
    return dataclasses.is_dataclass(node) and not isinstance(node, type)


def _register(cls: type) -> None:
    fields = dataclasses.fields(cls)
    children = tuple(field.name for field in fields if not field.metadata.get("static", False))
    fixed = tuple(field.name for field in fields if field.metadata.get("static", False))

    def flatten_node(node: Any) -> tuple[tuple, tuple, tuple]:
        names, settings = [], [(name, getattr(node, name)) for name in fixed]
        for name in children:
            value = getattr(node, name)
            if isinstance(value, _SETTINGS):
                settings.append((name, value))
            else:
                names.append(name)
        return tuple(getattr(node, name) for name in names), (tuple(names), tuple(settings)), tuple(names)

    def unflatten_node(kind: tuple, children: tuple) -> Any:
        node = object.__new__(cls)
        names, settings = kind
        for name, value in (*zip(names, children, strict=True), *settings):
            object.__setattr__(node, name, value)
        return node

    optree.register_pytree_node(cls, flatten_node, unflatten_node, namespace=_NAMESPACE)  # pyright: ignore


# What a dataclass holds beside its parameters: a text or a function has no derivative, and belongs to the definition.
_SETTINGS = (str, bytes, enum.Enum, type, np.ufunc, FunctionType, BuiltinFunctionType, MethodType, functools.partial)
LEAF = optree.tree_structure(0, namespace=_NAMESPACE)  # pyright: ignore[reportArgumentType]


def flatten(tree: Any) -> tuple[list, Any]:
    """Return the leaves of `tree` and its definition, from which `unflatten` builds it again."""
    while True:
        leaves, treedef = optree.tree_flatten(tree, namespace=_NAMESPACE)
        unseen = {type(leaf) for leaf in leaves if _is_unregistered_dataclass(leaf)}
        if not unseen:
            return leaves, treedef
        for cls in unseen:
            _register(cls)


def unflatten(treedef: Any, leaves: list) -> Any:
    """Return the container that `treedef` describes, filled with `leaves`."""
    return leaves[0] if treedef is LEAF else optree.tree_unflatten(treedef, leaves)


def flatten_with_paths(tree: Any) -> tuple[list[str], list, Any]:
    """Return a readable path for each leaf (such as ``['layers'][0].weight``), the leaves and the definition."""
    leaves, treedef = flatten(tree)
    accessors = optree.tree_accessors(tree, namespace=_NAMESPACE)
    return [accessor.codify("") for accessor in accessors], leaves, treedef


def children(tree: Any) -> tuple[list, Any] | None:
    """Return what stands right inside a container, None included, and its kind with its keys; None for a leaf."""
    is_inside = lambda node: node is not tree  # noqa: E731
    flatten(tree)  # for dataclasses that are seen for the first time
    found, kind = optree.tree_flatten(tree, is_leaf=is_inside, none_is_leaf=True, namespace=_NAMESPACE)
    return None if kind.is_leaf() else (found, kind)


def map_leaves(function: Callable, tree: Any, *rest: Any) -> Any:
    """Return a tree like `tree` whose leaves are `function(leaf, *leaves of the others)`."""
    leaves, treedef = flatten(tree)
    others = [flatten(other)[0] for other in rest]
    return unflatten(treedef, [function(*group) for group in zip(leaves, *others, strict=True)])
